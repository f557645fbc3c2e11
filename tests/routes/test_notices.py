"""What happened to the data folder is told to root, and to nobody else."""

from __future__ import annotations

from flask import Flask

from tests.cast import Browser, services_of

NOTICE = "One damaged chat was set aside: data/quarantine/<7>."


def test_root_sees_what_the_store_has_to_say(app: Flask, alice: Browser) -> None:
    services_of(app).store.notices.append(NOTICE)

    assert "quarantine/&lt;7&gt;" in alice.get("/dashboard").get_data(as_text=True)


def test_others_do_not(app: Flask, bob: Browser) -> None:
    services_of(app).store.notices.append(NOTICE)

    assert "quarantine" not in bob.get("/dashboard").get_data(as_text=True)
