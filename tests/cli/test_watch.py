"""watch: a real stream, followed through a restart; completion of names from the same collector."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_cli.live.lines import about, line
from evenwatt_cli.live.sse import Reader, Said, StreamError
from evenwatt_wire import Kind
from tests.cli.terminal import EVENWATT, Office, evenwatt
from tests.collector.middle import speaking, stop
from tests.collector.said import event
from tests.support import eventually, process

pytestmark = pytest.mark.timeout(600)  # real processes, which a busy machine starts slowly
MESSAGES = (
    b'retry: 3000\n\n: still here\n\nevent: zones\ndata: {"zone": "hall"}\n\n'
    b'id: aa-1\nevent: events\ndata: {"name": "a\\u001b[2J"}\n\nid: aa-2\nevent: gap\ndata: {"lost": 3}\n\n'
)  # fmt: skip


@given(st.lists(st.integers(0, len(MESSAGES)), max_size=8), st.booleans())
def test_messages_are_whole_however_they_come_in(cuts, windows):
    text = MESSAGES.replace(b"\n", b"\r\n") if windows else MESSAGES
    reader, said, edges = Reader(), [], [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in itertools.pairwise(edges):
        said += reader.feed(text[start:end])
    assert said == [
        Said("zones", {"zone": "hall"}),
        Said("events", {"name": "a?[2J"}, "aa-1"),
        Said("gap", {"lost": 3}, "aa-2"),
    ]


@pytest.mark.parametrize("text", [b"data: {\n\n", b"data: \xff\n\n", b"data: " + b"[" * 5_000 + b"\n\n"])
def test_what_is_no_message_is_said(text):
    with pytest.raises(StreamError, match="not JSON"):
        Reader().feed(text)


def test_lines():
    row = {
        "zone": "hall",
        "node": "n1",
        "wall_ms": 0,
        "name": "cap.changed",
        "subject": "node",
        "facts": {"cap_w": 9.5},
    }
    said = line(Said("events", row), 0.0)
    assert said.endswith("event hall:n1: cap.changed node (cap_w 9.5)")
    decided = {
        "id": "a-1",
        "kind": "cap",
        "wall_s": 0.0,
        "words": "less\nfor all",
        "zone": "hall",
        "nodes": ["hall:n1"],
    }
    assert line(Said("decisions", decided), 0.0).endswith("decision hall: less for all [cap]")
    assert {"n1", "hall", "hall:n1"} <= about(Said("decisions", decided))
    assert line(Said("gap", {"lost": None, "why": "x"}), 0.0).endswith("missed here: nobody knows how much (x)")
    assert "hall:n1 is no more" in line(Said("nodes", {"key": "hall:n1", "gone": True}), 0.0)
    assert about(Said("nodes", {"key": "hall:n1", "gone": True})) == {"hall:n1", "hall", "n1"}


@pytest.fixture
def office(tmp_path, broker):
    return Office(tmp_path, broker.port)


async def test_happenings_come_line_by_line_through_a_restart_and_names_choose(office, tmp_path):
    command = [*EVENWATT, "watch", "--json", *office.config_option]

    def told(name="all"):
        return [json.loads(row) for row in (tmp_path / f"{name}.out").read_text().splitlines() if row.startswith("{")]

    async def until(condition, node):
        """Let events happen until one of them is told: when a reader is there only it knows."""
        for _ in range(300):
            await node.say(event(), Kind.EVENT)
            await asyncio.sleep(0.2)
            if condition():
                return
        pytest.fail(f"in vain; told was {told()}")

    with office.run() as child:
        await office.ready()
        async with speaking(office) as node:
            await node.join()
            with process(command, tmp_path / "all.out") as all_, process([*command, "n2"], tmp_path / "n2.out"):
                await until(lambda: any(row["topic"] == "events" for row in told()), node)
                assert told()[-1]["id"]
                assert not [row for row in told("n2") if row["topic"] != "gap"]
                stop(child)
                before = len(told())
                with office.run():
                    await office.ready()
                    await until(lambda: any(row["topic"] == "events" for row in told()[before:]), node)
                    assert any(row["topic"] == "gap" for row in told()), "another run: nobody knows what was missed"
                    assert "again in" in (tmp_path / "all.out").read_text()
                    all_.send_signal(signal.SIGTERM)
                    await eventually(lambda: all_.poll() is not None, "it ends", 60)
                    assert all_.returncode == 0


async def test_states_a_number_of_lines_and_completion(office):
    with office.run():
        await office.ready()
        async with speaking(office) as node:
            await node.join()
            node.start_speaking(100.0)
            await eventually(lambda: (office.node() or {}).get("power_w"), "the node is heard", 60)
            (code, out, err), nothing = await asyncio.gather(
                evenwatt("watch", "status", "nodes", "n1", "--count", "2", *office.config_option),
                evenwatt("watch", "alerts", "--for", "0.1s", *office.config_option),
            )
            assert (code, err) == (0, "")
            assert out.count("node hall:n1: 100 W") == 2
            assert nothing[:2] == (0, "")

            async def completed(*words):
                return await evenwatt(
                    COMP_WORDS="\n".join(("evenwatt", *words)), COMP_CWORD=str(len(words)),
                    _EVENWATT_COMPLETE="complete_bash", EVENWATT_CONFIG=str(office.person),
                )  # fmt: skip

            async def comes():
                return (await completed("cap", "n"))[1] == "n1\n"

            for _ in range(10):  # it gives up after a second, which a busy machine may need for less
                if await comes():
                    break
            else:
                pytest.fail("no name came")
            assert (await completed("watch", "dec"))[1].startswith("decisions\n")
            office.person.write_text("not = [toml")
            assert await completed("cap", "n") == (0, "\n", "")
