"""The one way to run something that blocks (fdatasync, scrypt) without holding up other streams.

With ordinary threads a blocking call that releases the interpreter lock holds up nobody, and is simply made.
Under gevent every stream shares one thread; there the call moves to gevent's pool of real threads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def offload(call: Callable[..., T], *arguments: Any) -> T:
    """Return ``call(*arguments)``, run where waiting for it blocks only the caller. Exceptions pass through."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return call(*arguments)
    import gevent

    result: T = gevent.get_hub().threadpool.apply(call, arguments)
    return result
