"""A cluster of real brokers, collectors and agents: any one broker and any one collector dies, and no joule is lost."""

from __future__ import annotations

import os
import time

import pytest

from tests.scale.nats import NAMES
from tests.scale.rig import ZONES, listening

_LONG = "EVENWATT_SCALE"
"""Set it to kill every broker and both collectors of every shard."""


@pytest.mark.timeout(600)
async def test_a_broker_and_a_collector_die_and_nothing_is_lost(rig):
    await rig.begin()
    assert {zone["zone"] for zone in rig.said(rig.active_of("north"))["zones"]} == {ZONES["north"]}
    async with listening(rig) as ear:
        since_s = time.monotonic()
        broker = rig.nats.leaders()["$MQTT_sess"]  # without it nobody can log in for some seconds
        print("broker", broker, await rig.kill_broker(broker, ear))
        rig.nats.start(broker)
        await rig.nats.ready()
        await rig.spares(ear)  # one death at a time: a standby that cannot log in cannot follow
        print("collector", await rig.kill_collector("north", ear))
        assert ear.dropped(since_s) == []
    print(await rig.judge())


@pytest.mark.skipif(_LONG not in os.environ, reason=f"takes minutes; set {_LONG}=1")
@pytest.mark.timeout(900)
async def test_each_broker_and_each_collector_dies_in_turn(rig):
    await rig.begin()
    async with listening(rig) as ear:
        since_s = time.monotonic()
        for broker in NAMES:
            print(rig.nats.leaders(), broker, await rig.kill_broker(broker, ear))
            rig.nats.start(broker)
            await rig.nats.ready()
        for shard in [*ZONES, *ZONES]:
            print(shard, await rig.kill_collector(shard, ear))
        assert ear.dropped(since_s) == []
    print(await rig.judge())
