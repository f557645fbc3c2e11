"""The services of one running application, and the end of its life."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import structlog

from chatapp.config import Config
from chatapp.jobs.registry import JobRegistry
from chatapp.services.accounts import Accounts
from chatapp.services.chats import Chats
from chatapp.services.library import Library
from chatapp.services.limits import StreamSlots
from chatapp.services.replies import Replies
from chatapp.storage.base import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work with. Kept in ``app.extensions["chatapp"]``."""

    config: Config
    store: Store
    jobs: JobRegistry
    accounts: Accounts
    chats: Chats
    library: Library
    replies: Replies
    streams: StreamSlots
    _ending: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    def shutdown(self, grace_s: float = 5.0) -> None:
        """Take no new work, give replies ``grace_s`` seconds, save them, write everything down. Safe to repeat."""
        with self._ending:
            if self._ended.is_set():
                return
            self.jobs.shutdown(grace_s)
            self.store.close()
            self._ended.set()
            log.info("stopped")
