"""What the app holds of the machine's memory: ``python -m bench.memory [--times 3]``.

For the supervisor, gunicorn's master and the worker together: PSS (shared pages divided among who shares them) and
private memory, after the start and after use.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bench.measured import conditions, fake_ollama, line, new_folder, running
from tests.start.processes import Person, Server

_PAGES = ("/dashboard", "/settings", "/models/list", "/chat/{chat_id}", "/chat/{chat_id}/export.json")
_ROUNDS_OF_PAGES = 20
_REST_S = 4.0  # the checkpoint after the last change is over by then
_NAMES = ("supervisor", "gunicorn", "worker")
_PRIVATE = ("Private_Clean", "Private_Dirty")

Megabytes = dict[str, float]


def memory_mb(server: Server) -> Megabytes:
    """Return PSS by process, its sum, and the sum of what is private."""
    found: Megabytes = {}
    private = 0.0
    for name, pid in zip(_NAMES, server.family(), strict=True):
        fields = rollup_mb(pid)
        found[f"PSS {name}"] = fields["Pss"]
        private += sum(fields[each] for each in _PRIVATE)
    return {"PSS": sum(found.values()), "private": private, **found}


def rollup_mb(pid: int) -> Megabytes:
    """Return the sums that Linux keeps for a process (proc_pid_smaps_rollup(5))."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) / 1000 for name, _, rest in (each.partition(":") for each in lines)}


def use(server: Server) -> None:
    """Register, chat and look at every page a few times."""
    person = Person(server, "alice")
    chat_id = person.new_chat()
    for number in range(5):
        body = {"content": f"Question {number}"}
        assert person.send(f"/chat/{chat_id}/message?wait=1", body).ok
    for _ in range(_ROUNDS_OF_PAGES):
        for path in _PAGES:
            assert person.http.get(server.url + path.format(chat_id=chat_id), timeout=10).ok
    time.sleep(_REST_S)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=3)
    arguments = parser.parse_args()
    print(conditions())
    started, used = [], []
    with fake_ollama(tokens=100, tokens_per_s=1000) as ollama_url:
        for _ in range(arguments.times):
            with new_folder(ollama_url) as folder, running(folder) as server:
                time.sleep(1)
                started.append(memory_mb(server))
                use(server)
                used.append(memory_mb(server))
    for moment, figures in (("after the start", started), ("after use", used)):
        for name in figures[0]:
            print(line(f"{moment}: {name}", [each[name] for each in figures], "MB"))


if __name__ == "__main__":
    main()
