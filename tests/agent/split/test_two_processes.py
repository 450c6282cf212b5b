"""Actuator as root and agent as nobody, real processes: what works as in one, and what is left when either dies."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from pathlib import Path

import pytest

from evenwatt_agent.actuator.protocol import PART_BYTES
from evenwatt_agent.local import read_status
from evenwatt_wire import Birth, Event, Kind, Ledger, Live, Topic
from evenwatt_wire.command import Code, Op
from evenwatt_wire.messages import LeaseState
from tests.agent.split.yard import UID, joined
from tests.site import ZONE
from tests.support import eventually, make_trust, wait_for

TOTAL = "package-0 + package-0/dram + package-1 + package-1/dram"


def events(listener):
    return [event.name for event in listener.said[Event]]


def last_lease(listener):
    return listener.said[Live][-1].lease


async def granted(site, listener, cap_w=320.0, ttl_s=600.0):
    command, payload = site.command(Op.CAP, cap_w=cap_w, fallback_w=240.0, ttl_s=ttl_s)
    await listener.ask(payload)
    return await listener.answer(command)


def check_whole(records):
    assert all(a.end_mono_ns == b.start_mono_ns for a, b in itertools.pairwise(records))


async def test_an_agent_without_any_privilege_counts_every_joule_and_passes_signed_caps_on(site, listener):
    with site.actuator() as actuator, site.agent() as agent:
        await joined(listener)
        assert Path(f"/proc/{agent.pid}").stat().st_uid == UID
        birth = listener.said[Birth][0]
        assert birth.total_formula == TOTAL
        assert birth.controllable
        assert birth.floor_w < birth.ceiling_w
        assert {knob.kind for knob in birth.actuators} == {"powercap"}
        ack = await granted(site, listener)
        assert ack.code is Code.APPLIED
        assert ack.after_w == pytest.approx(320, abs=2)
        assert site.capped()
        await eventually(lambda: last_lease(listener).state is LeaseState.LEASED, "the lease is told")
        assert 0 < last_lease(listener).remaining_s <= 600
        await eventually(lambda: len(listener.said[Ledger]) >= 3, "three records came")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(60) == 0
        assert site.capped()  # a restarted agent finds them
        actuator.send_signal(signal.SIGTERM)
        assert actuator.wait(60) == 0
        assert not site.capped()
    records = listener.said[Ledger]
    check_whole(records)
    site.check_truth(records, 0.01)
    assert not (site.folder / "state" / "originals.json").exists()


async def test_a_lease_behind_an_actuator_goes_on_with_its_zones(site, listener):
    with site.actuator(), site.agent():
        await joined(listener)
        assert (await granted(site, listener, ttl_s=8.0)).code is Code.APPLIED
        await listener.renew(site.renewal(ttl_s=60.0))
        told = lambda: last_lease(listener).remaining_s  # noqa: E731
        await eventually(lambda: told() > 30, "the agent knows how long its lease goes on")
        assert last_lease(listener).state is LeaseState.LEASED


async def test_a_killed_agent_finds_its_lease_again_and_one_that_stays_away_ends_it(site, listener):
    site.set_grace(12.0)  # an agent starts within that time also on a busy machine
    with site.actuator():
        with site.agent() as agent:
            await joined(listener)
            await granted(site, listener)
            agent.kill()
            agent.wait()
            held = site.limits()
        with site.agent() as agent:
            assert site.limits() == held
            await joined(listener, boots=2)
            await eventually(lambda: last_lease(listener).state is LeaseState.LEASED, "the lease goes on")
            assert last_lease(listener).seq == 1
            assert site.capped()
            assert listener.said[Birth][-1].controllable
            agent.kill()
        wait_for(lambda: not site.capped(), "the machine has its own limits")
        with site.agent():
            await joined(listener, boots=3)
            await eventually(lambda: last_lease(listener).state is LeaseState.FALLBACK, "it begins anew")
            assert site.capped()
            ack = await granted(site, listener)
            assert ack.code is Code.APPLIED


async def test_a_killed_actuator_costs_no_joule_and_its_caps_are_put_back(site, listener):
    with site.actuator() as actuator, site.agent() as agent:
        await joined(listener)
        await granted(site, listener)
        actuator.kill()
        actuator.wait()
        site.restore()
        assert not site.capped()
        await eventually(lambda: "actuator-lost" in events(listener), "it is said")
        await eventually(lambda: not listener.said[Birth][-1].controllable, "nothing can be capped")
        await eventually(lambda: last_lease(listener).state is LeaseState.UNMANAGED, "no lease is claimed")
        await listener.ask(site.command(Op.CAP, cap_w=300.0, ttl_s=60.0)[1])
        await eventually(lambda: "command-refused" in events(listener), "a command finds nobody")
        records = len(listener.said[Ledger])
        await eventually(lambda: len(listener.said[Ledger]) > records + 1, "counting goes on")
        with site.actuator():
            site.await_actuator(2)
            assert site.capped()  # the fallback, before an agent is let in
            await eventually(lambda: "actuator-found" in events(listener), "it is said")
            await eventually(lambda: listener.said[Birth][-1].controllable, "it can be capped again")
            assert (await granted(site, listener)).code is Code.APPLIED
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(60) == 0
    records = listener.said[Ledger]
    assert {record.total.quality for record in records} == {listener.said[Birth][0].domains[0].quality}
    check_whole(records)
    site.check_truth(records, 0.01)


async def test_without_an_actuator_the_agent_says_so_once_with_the_fix_and_reads_counters_when_it_comes(site, listener):
    with site.agent():
        await joined(listener)
        birth = listener.said[Birth][0]
        assert not birth.controllable
        problems = [line for line in (site.folder / "agent.log").read_text().splitlines() if "cannot use" in line]
        assert sum("powercap" in line for line in problems) == 1
        assert "systemctl start evenwatt-actuator" in problems[0]
        await eventually(lambda: "actuator-lost" in events(listener), "it is said")
        assert json.loads(await read_status(site.folder / "run" / "agent.sock"))["control_trouble"]
        with site.actuator():
            await eventually(lambda: "actuator-found" in events(listener), "it has come")
            await eventually(lambda: listener.said[Birth][-1].controllable, "it can be capped")
            async with asyncio.timeout(60):
                while json.loads(await read_status(site.folder / "run" / "agent.sock"))["control_trouble"]:
                    await asyncio.sleep(0.05)


async def test_a_counter_that_vanishes_and_comes_back_is_lent_again(site, listener):
    counter = next(path for path in site.sysfs.rglob("energy_uj") if path.parent.name == "intel-rapl:0").resolve()
    with site.actuator(), site.agent():
        await joined(listener)
        await eventually(lambda: len(listener.said[Ledger]) >= 1, "it counts")
        site.hardware.send_signal(signal.SIGSTOP)
        os.waitpid(site.hardware.pid, os.WUNTRACED)  # it writes no more
        counter.write_text("gone\n")
        counter.unlink()
        await eventually(lambda: "source-lost" in events(listener), "it is lost")
        counter.write_text("12345\n")
        counter.chmod(0o400)
        await eventually(lambda: "source-found" in events(listener), "it is found again")


async def test_a_trust_document_that_came_while_the_actuator_was_away_reaches_it(site, listener):
    file = site.folder / "trust.json"
    first = file.read_bytes()
    many = [{"public": f"{n:064x}", "role": "operator", "name": f"operator {n}"} for n in range(1, 600)]
    make_trust(site.folder, [site.keys[1], site.keys[2], *many], version=2)
    second = file.read_bytes()
    file.write_bytes(first)
    assert len(second) > PART_BYTES  # it is passed on in parts
    with site.agent():
        await joined(listener)
        topic = str(Topic(ZONE, "_ctl", Kind.TRUST))
        await listener.connection.publish(topic, second, qos=1, retain=True)
        with site.actuator():
            await eventually(lambda: "trust-changed" in events(listener), "the actuator has it")
            _, payload = site.command(Op.CAP, cap_w=300.0, ttl_s=60.0)  # of a controller that is on it no more
            await listener.ask(payload)
            await eventually(lambda: "command-refused" in events(listener), "its key is not known")
            command, payload = site.command(Op.CAP, key=site.operator, cap_w=300.0, ttl_s=60.0)
            await listener.ask(payload)
            assert (await listener.answer(command)).code is Code.APPLIED
