"""A standby shows that it stands by, and who is active."""

from __future__ import annotations

import socket
import threading

import pytest
import uvicorn
from playwright.sync_api import expect

from evenwatt_collector.standby.answers import standby_app
from tests.page.conftest import PATIENCE_MS
from tests.support import wait_for

SAID = {"role": "standby", "name": "two", "active": "one", "reasons": ["it stands by"], "nodes": [{"power_w": 120.0}]}


@pytest.fixture
def standby():
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(standby_app(lambda: SAID), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the standby answers")
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    sock.close()


def test_who_is_active_is_shown(standby, visit):
    page = visit(standby)
    page.get_by_text("This is the standby two.").wait_for(timeout=PATIENCE_MS)
    expect(page.locator("main")).to_contain_text("Open the page of one")
    assert page.title() == "Standby · evenwatt"
