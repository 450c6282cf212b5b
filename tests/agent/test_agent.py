"""The agent as a real process on a simulated machine, with a real broker: what it says, obeys, and leaves behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time

import pytest

from evenwatt_agent import restore
from evenwatt_agent.local import read_status
from evenwatt_agent.transport import connect
from evenwatt_wire import (
    Ack,
    Birth,
    Event,
    Ledger,
    Live,
    State,
)
from evenwatt_wire.command import Code, Op
from evenwatt_wire.messages import LeaseState, NodeState
from tests.site import NODE, Listener, Site
from tests.support import eventually, make_key, process, wait_for


@pytest.fixture
def site(tmp_path, broker):
    made = Site(tmp_path, broker.port)
    with made.twin():
        made.await_twin()
        yield made


async def waiting_on_disk(site, records):
    """Return when the local socket says that so many records wait for the broker."""
    async with asyncio.timeout(60):
        while json.loads(await read_status(site.folder / "run" / "agent.sock"))["summary"]["spooled"] < records:
            await asyncio.sleep(0.05)


async def joined(listener, boots=1):
    def ready():
        return len({s.boot for s in listener.said[State] if s.state is NodeState.READY}) >= boots

    await eventually(ready, "the node is ready")
    await eventually(lambda: listener.said[Live], "a window is told")


async def said_farewell(listener):
    """Return when the last word of a node that has stopped is heard: what it said before has come by then."""
    await eventually(lambda: listener.said[State][-1].state is NodeState.DISCONNECTED, "its last word is heard")


async def test_a_node_says_what_it_has_and_counts_what_it_draws(site, listener):
    with site.agent() as agent:
        await joined(listener)
        await eventually(lambda: len(listener.said[Ledger]) >= 3, "three records came")
        agent.send_signal(signal.SIGTERM)
        await eventually(lambda: agent.poll() is not None, "the agent has stopped")
        assert agent.returncode == 0
    await said_farewell(listener)
    birth = listener.said[Birth][0]
    assert birth.total_formula == "package-0 + package-0/dram + package-1 + package-1/dram"
    assert len(birth.domains) == 8
    assert birth.controllable
    assert [s.state for s in listener.said[State]] == [NodeState.INIT, NodeState.READY, NodeState.DISCONNECTED]
    assert [live.seq for live in listener.said[Live]] == list(range(1, len(listener.said[Live]) + 1))
    records = listener.said[Ledger]
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert all(a.end_mono_ns == b.start_mono_ns for a, b in itertools.pairwise(records))
    counted_j = sum(record.total.energy_j for record in records)
    assert counted_j == pytest.approx(records[-1].total.total_j)
    assert sum(live.total.energy_j for live in listener.said[Live]) == pytest.approx(counted_j)
    site.check_truth(records, 0.01)


async def test_it_starts_in_its_fallback_obeys_a_lease_and_falls_back_when_it_ends(site, listener):
    with site.agent():
        await joined(listener)
        await eventually(lambda: listener.said[Live], "a window came")
        assert listener.said[Live][0].lease.state is LeaseState.FALLBACK
        assert listener.said[Live][0].lease.cap_w == pytest.approx(250, abs=2)
        command, payload = site.command(Op.CAP, cap_w=400.0, fallback_w=230.0, ttl_s=1.0)
        await listener.ask(payload)
        ack = await listener.answer(command)
        assert ack.code is Code.APPLIED
        assert ack.after_w == pytest.approx(400, abs=2)
        states = lambda: [live.lease.state for live in listener.said[Live]]  # noqa: E731
        await eventually(lambda: LeaseState.RAMPING in states(), "the lease ended")
        await eventually(lambda: states()[-1] is LeaseState.FALLBACK, "the ramp ended")
        held = lambda: listener.said[Live][-1].lease.cap_w == pytest.approx(230, abs=2)  # noqa: E731
        await eventually(held, "the fallback is read back")
        names = lambda: [event.name for event in listener.said[Event]]  # noqa: E731
        await eventually(lambda: "lease-expired" in names(), "the end of the lease is told")
        names = names()
        assert names.index("lease-granted") < names.index("lease-expired")


async def test_a_lease_goes_on_with_its_zones_and_ends_where_the_renewal_is_not_meant_for_it(site, listener):
    with site.agent():
        await joined(listener)
        command, payload = site.command(Op.CAP, cap_w=300.0, fallback_w=230.0, ttl_s=5.0)
        asked_ns = time.monotonic_ns()
        await listener.ask(payload)
        await listener.renew(site.renewal(ttl_s=20.0))
        assert (await listener.answer(command)).code is Code.APPLIED
        latest_ns = lambda: listener.said[Live][-1].end_mono_ns if listener.said[Live] else 0  # noqa: E731
        for _ in range(2):
            until_ns = max(asked_ns, latest_ns()) + 3 * 10**9
            await listener.renew(site.renewal(ttl_s=20.0))
            await eventually(lambda ns=until_ns: latest_ns() >= ns, "seconds have passed")
        leases = [live.lease for live in listener.said[Live] if live.lease.seq == command.seq]
        assert latest_ns() - asked_ns >= 5.5e9, "the lease alone would have ended"
        assert {lease.state for lease in leases} == {LeaseState.LEASED}
        assert [lease.cap_w for lease in leases] == [pytest.approx(300, abs=2)] * len(leases)
        stranger, _ = make_key(site.folder / "stranger.pem")
        refused = {
            "unknown-key": {"key": stranger},
            "role": {"key": site.operator},
            "addressee": {"zone": "elsewhere"},
            "ttl": {"ttl_s": 86_400.0},
        }
        for fields in refused.values():
            await listener.renew(site.renewal(**fields))
        for fields in ({"left_out": [NODE]}, {"epoch": 0}, {"seq": command.seq}):  # not meant for this lease
            await listener.renew(site.renewal(**{"ttl_s": 60.0} | fields))
        await listener.renew(site.renewal(ttl_s=60.0), retain=True)  # heard as it is said, and not retained then
        last = lambda: listener.said[Live][-1].lease  # noqa: E731
        await eventually(lambda: last().remaining_s > 30, "that one was good")
        told = lambda: {dict(e.facts)["code"] for e in listener.said[Event] if e.name == "command-refused"}  # noqa: E731
        await eventually(lambda: told() >= set(refused), "the others were refused")


async def test_a_lease_that_is_left_out_ends(site, listener):
    with site.agent():
        await joined(listener)
        command, payload = site.command(Op.CAP, cap_w=300.0, fallback_w=230.0, ttl_s=2.0)
        await listener.ask(payload)
        assert (await listener.answer(command)).code is Code.APPLIED
        state = lambda: listener.said[Live][-1].lease.state  # noqa: E731

        async def renewing():
            while True:
                await listener.renew(site.renewal(left_out=["m2", NODE]))
                await asyncio.sleep(0.2)

        task = asyncio.create_task(renewing())
        await eventually(lambda: state() is LeaseState.FALLBACK, "the lease has ended")
        task.cancel()


async def test_only_fresh_commands_of_trusted_keys_to_this_node_change_anything(site, listener):
    stranger, _ = make_key(site.folder / "stranger.pem")
    with site.agent():
        await joined(listener)
        good, payload = site.command(Op.CAP, cap_w=300.0, ttl_s=60.0)
        await listener.ask(payload)
        assert (await listener.answer(good)).code is Code.APPLIED
        before = site.limits()
        forged = [
            site.command(Op.CAP, key=stranger, cap_w=480.0, ttl_s=60.0)[1],
            payload[:-1] + bytes([payload[-1] ^ 1]),
            b"\x00" * 100,
            b"\x94" * 5_000,
        ]
        for bad in forged:
            await listener.ask(bad)
        stale, stale_payload = site.command(Op.CAP, cap_w=480.0, ttl_s=60.0, epoch=0)
        replayed, replayed_payload = site.command(Op.CAP, cap_w=480.0, ttl_s=60.0, seq=1)
        await listener.ask(stale_payload)
        await listener.ask(replayed_payload)
        assert (await listener.answer(stale)).detail.startswith("stale-epoch")
        assert (await listener.answer(replayed)).detail.startswith("replay")
        await listener.ask(payload)  # the very same command again: the same answer, and no second action
        await eventually(lambda: sum(a.command_id == good.id for a in listener.said[Ack]) == 2, "it answers again")
        assert [a.code for a in listener.said[Ack] if a.command_id == good.id] == [Code.APPLIED] * 2
        # What no knob reaches has its own small life, and the rest of the cap is shared anew: by watts, not by 180.
        moved_w = [
            abs(int(now) - int(then)) / 1e6 for now, then in zip(site.limits().values(), before.values(), strict=True)
        ]
        assert max(moved_w) < 5
        refused = lambda: [dict(e.facts)["code"] for e in listener.said[Event] if e.name == "command-refused"]  # noqa: E731
        await eventually(lambda: len(refused()) >= 6, "all that was refused is told")
        assert sorted(refused()) == ["malformed", "replay", "signature", "stale-epoch", "too-large", "unknown-key"]


async def test_a_retained_command_is_refused(site, listener):
    _, payload = site.command(Op.CAP, cap_w=300.0, ttl_s=60.0)
    await listener.ask(payload, retain=True)
    with site.agent():
        await joined(listener)
        refusals = lambda: [dict(e.facts)["code"] for e in listener.said[Event] if e.name == "command-refused"]  # noqa: E731
        await eventually(lambda: "retained" in refusals(), "it is refused")
    await listener.ask(b"", retain=True)


async def test_stopping_gives_the_machine_its_limits_back(site, listener):
    before = site.limits()
    with site.agent() as agent:
        await joined(listener)
        assert site.limits() != before
        agent.send_signal(signal.SIGTERM)
        await eventually(lambda: agent.poll() is not None, "the agent has stopped")
    assert site.limits() == before


async def test_after_a_sigkill_nothing_is_lost_doubled_or_left_capped(site, listener):
    """Kill, restore as the unit does, start again: the ledger touches, every joule is there once."""
    before = site.limits()
    with site.agent() as agent:
        await joined(listener)
        await eventually(lambda: len(listener.said[Ledger]) >= 2, "two records came")
        agent.kill()
        agent.wait()
    restore.restore(restore.originals_path(site.folder / "state"))
    assert site.limits() == before
    await eventually(lambda: listener.said[State][-1].state is NodeState.LOST, "the will is read")
    with site.agent() as agent:
        await joined(listener, boots=2)
        first = len(listener.said[Ledger])
        await eventually(lambda: len(listener.said[Ledger]) >= first + 2, "two more records came")
        agent.send_signal(signal.SIGTERM)
        await eventually(lambda: agent.poll() is not None, "the agent has stopped")
    await said_farewell(listener)
    unique = {(record.boot, record.seq): record for record in listener.said[Ledger]}
    records = sorted(unique.values(), key=lambda record: record.start_mono_ns)
    assert len({record.boot for record in records}) == 2
    assert all(a.end_mono_ns == b.start_mono_ns for a, b in itertools.pairwise(records))
    bridged = [gap for record in records for gap in record.gaps]
    assert {gap.quality for gap in bridged} == {"measured"}
    site.check_truth(records, 0.005)


async def test_a_broker_outage_costs_resolution_and_no_joule(site, broker):
    """The broker dies under the agent; records wait on disk and come in order when it is back."""
    with site.agent() as agent:
        async with connect(site.mqtt, "first") as connection:
            await connection.subscribe("evenwatt/v1/#")
            first = Listener(connection, site.ring)
            task = asyncio.create_task(first.run())
            await joined(first)
            await eventually(lambda: len(first.said[Ledger]) >= 1, "a record came")
            task.cancel()
        broker.kill()
        log = site.folder / "agent.log"
        await eventually(lambda: "no connection to the broker" in log.read_text(), "the agent noticed")
        await waiting_on_disk(site, 2)
        broker.start()
        async with connect(site.mqtt, "second") as connection:
            await connection.subscribe("evenwatt/v1/#")
            second = Listener(connection, site.ring)
            task = asyncio.create_task(second.run())
            await eventually(lambda: len(second.said[Ledger]) >= 4, "the backlog came", timeout_s=60)
            agent.send_signal(signal.SIGTERM)
            await eventually(lambda: agent.poll() is not None, "the agent has stopped")
            await said_farewell(second)
            task.cancel()
    unique = {record.seq: record for heard in (first, second) for record in heard.said[Ledger]}
    records = [unique[seq] for seq in sorted(unique)]
    assert sorted(unique) == list(range(1, len(unique) + 1))
    assert all(a.end_mono_ns == b.start_mono_ns for a, b in itertools.pairwise(records))
    assert sum(r.total.energy_j for r in records) == pytest.approx(records[-1].total.total_j)


async def gives_up(site, **changed):
    """Start another agent, which only measures, with ``changed`` settings, and see that it does not stay."""
    site.write_settings(**changed)
    settings = site.folder / "agent.toml"
    settings.write_text(settings.read_text().replace("enabled = true", "enabled = false"))
    with site.agent() as second:
        await eventually(lambda: second.poll() is not None, "the second one gives up")
        assert second.returncode == 2


async def test_a_second_agent_of_the_same_name_is_refused_with_the_fix(site, listener):
    with site.agent():
        await joined(listener)
        await gives_up(site, runtime_dir="run2", state_dir="state2")
        assert "another agent is publishing as node 'm1'" in (site.folder / "agent.log").read_text()


async def test_a_second_agent_with_the_same_sockets_is_refused_in_one_line(site, listener):
    with site.agent():
        await joined(listener)
        await gives_up(site, state_dir="state2", node="other")
        log = (site.folder / "agent.log").read_text()
        assert "another agent already runs here and answers on" in log
        assert "Traceback" not in log


@pytest.mark.parametrize(
    ("changed", "said"),
    [({}, "with this state_dir"), ({"state_dir": "state2", "node": "other"}, "already controls this machine")],
)
async def test_a_second_agent_on_the_same_machine_is_refused_before_it_touches_anything(site, listener, changed, said):
    with site.agent():
        await joined(listener)
        held = {path: int(limit) for path, limit in site.limits().items()}
        site.write_settings(**changed)
        with site.agent() as second:
            await eventually(lambda: second.poll() is not None, "the second one gives up")
            assert second.returncode == 2
        assert said in (site.folder / "agent.log").read_text()
        # The first one goes on holding its node, and moves its limits as the power of the rest comes to be known.
        assert {path: int(limit) for path, limit in site.limits().items()} == pytest.approx(held, rel=0.2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('nodee = "x"', "did you mean 'node'?"),
        ("[mqtt]\nport = 99999", "mqtt.port"),
        ("[control]\nenabled = true", "control.private_key"),
        ('node = "Upper Case"', "not an identifier"),
        ("node =", "not TOML"),
        ('[mqtt]\npassword_file = "/nowhere"', "/nowhere"),
        ('[mqtt]\nca_file = "/etc/hostname"', "mqtt.ca_file"),
    ],
)
def test_wrong_settings_are_one_clear_line_and_exit_2(tmp_path, text, said):
    path = tmp_path / "agent.toml"
    prefix = f'state_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
    path.write_text(prefix + text if not text.startswith("node") else text)
    log = tmp_path / "log"
    with process([sys.executable, "-m", "evenwatt_agent", "--config", str(path)], log) as agent:
        wait_for(lambda: agent.poll() is not None, "it gives up")
        assert agent.returncode == 2
    last = log.read_text().strip().splitlines()[-1]
    assert said in last
    assert last.startswith("evenwatt-agent: ")
