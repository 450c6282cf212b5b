"""A lease counts from the receipt of what grants or renews it, and never longer: over slow disks, suspends, limits."""

from __future__ import annotations

import asyncio

import pytest

from evenwatt_agent import clocks
from evenwatt_agent.memory import Memory
from evenwatt_agent.steering import Steering
from evenwatt_wire.command import Code, Op
from evenwatt_wire.messages import LeaseState
from tests.agent.inside import Inside
from tests.agent.test_throttle import Box
from tests.support import Suspends, make_trust


@pytest.fixture
def node(tmp_path):
    return Inside(tmp_path)


async def follow(node):
    await node.authority._hands.follow(clocks.lease_s())


def state(node):
    return node.authority.in_force().state


async def test_a_disk_that_takes_long_makes_no_lease_longer(node):
    async def slow(call):
        await asyncio.sleep(0.2)
        return call()

    async with node:
        node.in_worker = slow
        node.authority._in_worker = slow
        ack = await node.ask(Op.CAP, cap_w=400.0, fallback_w=230.0, ttl_s=0.2)
        assert ack.code is Code.EXPIRED
        assert state(node) is not LeaseState.LEASED


async def test_a_lease_ends_while_the_machine_is_suspended(node, monkeypatch):
    suspends = Suspends(monkeypatch)
    async with node:
        assert (await node.ask(Op.CAP, cap_w=400.0, fallback_w=230.0, ttl_s=10.0)).code is Code.APPLIED
        suspends.slept_s = 3600.0
        await node.authority.renew(node.renewal(), retained=False)  # said now, of a lease that is long over
        await follow(node)
        assert state(node) is LeaseState.FALLBACK
        assert node.authority.cap_w == pytest.approx(230.0)


async def test_a_suspended_machines_pauses_end_too(tmp_path, monkeypatch):
    suspends = Suspends(monkeypatch)
    node = Inside(tmp_path)
    async with node:
        pauses = node.authority._hands._pauses
        pauses.pause("job", clocks.lease_s() + 10.0)
        assert pauses.expired(clocks.lease_s()) == []
        suspends.slept_s = 60.0
        assert pauses.expired(clocks.lease_s()) == ["job"]
        pauses.resume("job")


async def test_a_renewal_is_no_way_around_the_owners_longest_lease(tmp_path):
    async with Inside(tmp_path, limits="max_ttl_s = 5.0\n") as node:
        assert (await node.ask(Op.CAP, cap_w=300.0, ttl_s=5.0)).code is Code.APPLIED
        await node.authority.renew(node.renewal(ttl_s=60.0), retained=False)
        await follow(node)
        assert node.authority.in_force().remaining_s <= 5.0
        assert [e.facts["code"] for e in node.entries("refused")] == ["ttl"]
        await node.authority.renew(node.renewal(ttl_s=5.0), retained=False)
        assert [e.facts["ttl_s"] for e in node.entries("renewed")] == [5.0]


async def test_a_key_that_was_revoked_while_its_renewal_waited_renews_nothing(node):
    async with node:
        await node.ask(Op.CAP, cap_w=300.0, ttl_s=5.0)
        async with node.authority._hands.turn:
            renewing = asyncio.create_task(node.authority.renew(node.renewal(ttl_s=60.0), retained=False))
            await asyncio.sleep(0)
            keys = [key for key in node.keys if key["role"] != "controller"]
            node.authority._keys.ring.renew(make_trust(node.folder, keys, version=2)._keys.values())
        await renewing
        await follow(node)
        assert node.authority.in_force().remaining_s <= 5.0
        assert [e.facts["code"] for e in node.entries("refused")] == ["unknown-key"]


async def test_a_renewal_that_comes_again_does_nothing_more(node):
    async with node:
        await node.ask(Op.CAP, cap_w=300.0, ttl_s=30.0)
        earlier, later = node.renewal(ttl_s=60.0), node.renewal(ttl_s=60.0)
        checked = []
        check = node.authority._keys.ring.check
        node.authority._keys.ring.check = lambda *args: checked.append(1) or check(*args)
        for payload in [later] * 50 + [earlier] + [later] * 50:
            await node.authority.renew(payload, retained=False)
        assert len(checked) == 2  # the newest is known by its bytes
        assert [e.facts["seq"] for e in node.entries("renewed")] == [node.seq]


async def test_leases_are_followed_where_what_was_learned_cannot_be_kept(tmp_path):
    box = Box(tmp_path, "epyc", control={"ceilings_w": {"package-0": 100}})
    memory = Memory(tmp_path / "small.db")

    async def in_worker(call):
        return call()

    steering = Steering(box.governor, memory, in_worker, lambda *_, **__: None, lambda: None)
    box.run(3.0, 1000.0, "package-0")
    memory._db.execute("PRAGMA query_only = ON")  # as a disk that takes nothing
    for second in range(3):
        outcome = await steering.hold(90.0, float(second))
    assert outcome.requested_w == 90.0
    memory._db.execute("PRAGMA query_only = OFF")
    await steering.hold(90.0, 10.0)
    assert "package-0" in memory.recall("learned")
    memory.close()
    box.close()


async def test_a_node_tells_its_own_fallback_while_a_lower_one_is_in_force(node):
    async with node:
        await node.ask(Op.CAP, cap_w=200.0, fallback_w=200.0, ttl_s=10.0)
        assert node.authority._hands._leases.fallback_w == 200.0
        assert node.authority.standing().fallback_w == 250.0
