"""What happened to the data folder is told to root alone; that nothing can be saved is told to everybody."""

from __future__ import annotations

import pytest
from flask import Flask

from chatapp.storage.memory import MemoryStore
from tests.cast import Browser, services_of

NOTICE = "One damaged chat was set aside: data/quarantine/<7>."


def test_root_sees_what_the_store_has_to_say(app: Flask, alice: Browser) -> None:
    services_of(app).store.notices.append(NOTICE)

    assert "quarantine/&lt;7&gt;" in alice.get("/dashboard").get_data(as_text=True)


def test_others_do_not(app: Flask, bob: Browser) -> None:
    services_of(app).store.notices.append(NOTICE)

    assert "quarantine" not in bob.get("/dashboard").get_data(as_text=True)


@pytest.mark.parametrize("page", ["/dashboard", "/chat/new", "/settings"])
def test_everybody_reads_on_every_page_that_nothing_can_be_saved(app: Flask, bob: Browser, page: str) -> None:
    store = services_of(app).store
    assert isinstance(store, MemoryStore)
    assert "nothing new can be saved" not in bob.get(page).get_data(as_text=True)

    store.problem = "The server's disk is <full>."

    assert "nothing new can be saved" in bob.get(page).get_data(as_text=True)
    assert "disk is &lt;full&gt;." in bob.get(page).get_data(as_text=True)
