"""Each exit code by a real way to it: real processes, a real collector, a socket that never answers."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import pytest

from evenwatt_cli.exits import MEANINGS, Exit
from evenwatt_wire import Kind
from evenwatt_wire.messages import NodeState
from tests.cli.terminal import Office, evenwatt, when_well
from tests.collector.middle import speaking
from tests.collector.said import state, summary
from tests.support import eventually

pytestmark = pytest.mark.timeout(600)  # each call is a process, and a busy machine starts them slowly
DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


@pytest.fixture
def office(tmp_path, broker):
    return Office(tmp_path, broker.port)


def test_every_code_is_in_the_manual():
    assert set(MEANINGS) == {code.value for code in Exit}
    rows = re.findall(r"^\| (\d+) \|", DOCS.read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == sorted(MEANINGS)


async def test_ok_failure_usage_and_degraded(office):
    assert (await evenwatt("status", "--via", "collector", *office.config_option))[0] == Exit.FAILURE
    with office.run():
        await office.ready()
        async with speaking(office) as node:
            await node.join()
            node.start_speaking(100.0)
            await node.say(summary(), Kind.SUMMARY)
            await eventually(lambda: (office.node() or {}).get("power_w"), "the node is heard", 60)
            code, out, err = await when_well("status", *office.config_option)
            assert code == Exit.OK, out + err
            assert (await evenwatt("status", "nobody", *office.config_option))[0] == Exit.USAGE
            assert (await evenwatt("explain", "nobody", *office.config_option))[0] == Exit.USAGE
            assert (await evenwatt("status", "--colour", *office.config_option))[0] == Exit.USAGE
            node.tasks[-1].cancel()
            await node.say(state(what=NodeState.LOST), Kind.STATE)
            await eventually(lambda: office.node()["state"] == "lost", "the node is lost", 60)
            code, out, _ = await evenwatt("status", *office.config_option)
            assert (code, "lost" in out) == (Exit.DEGRADED, True)
            assert (await evenwatt("top", "--once", *office.config_option))[0] == Exit.DEGRADED


async def test_refused_without_a_token(office, tmp_path):
    (tmp_path / "token").write_text("no-such-token-at-all\n")
    office.person.write_text(f'token_file = "{tmp_path / "token"}"\n' + office.person.read_text())
    with office.run():
        await office.ready()
        code, _, err = await evenwatt("submit", "-n", "a", "-t", "t", "-l", "1h", *office.config_option)
        assert code == Exit.REJECTED, err
        assert err.startswith("evenwatt: http://")


async def test_nobody_answers_in_time(office):
    with socket.create_server(("127.0.0.1", office.port)):  # takes connections and says nothing
        calls = (("status", "--via", "collector"), ("explain", "n1"))
        ended = await asyncio.gather(*(evenwatt(*call, *office.config_option) for call in calls))  # each has patience
        for code, _, err in ended:
            assert code == Exit.TIMEOUT
            assert "no answer in time" in err
            assert len(err.splitlines()) == 1


@pytest.mark.parametrize("url", ["127.0.0.1:9730", "http://", "ftp://127.0.0.1"])
async def test_an_address_that_is_none_is_the_callers(office, url):
    office.person.write_text(f'collector_url = "{url}"\n')
    for call in (("status", "--via", "collector"), ("watch", "--count", "1")):
        code, _, err = await evenwatt(*call, *office.config_option)
        assert code == Exit.USAGE, err
        assert f"collector_url '{url}'" in err


async def test_something_else_answers_there(office):
    office.person.write_text(f'collector_url = "http://127.0.0.1:{office.port}/elsewhere"\n')
    with office.run():
        await office.ready()
        for call in (("status", "--via", "collector"), ("watch", "--count", "1")):
            code, _, err = await evenwatt(*call, *office.config_option)
            assert code in {Exit.FAILURE, Exit.USAGE}
            assert len(err.splitlines()) == 1
