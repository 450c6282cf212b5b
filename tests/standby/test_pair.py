"""Two collectors of real processes on one database: one dies, hangs, leaves, and the other goes on."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.ear import listening
from tests.standby.conftest import other
from tests.support import eventually


async def test_the_other_one_goes_on_after_death_hanging_and_leaving(rig):
    await rig.begin()  # both at once
    first = rig.active()
    second = other(first)
    assert rig.said(second)["role"] == "standby"
    async with listening(rig) as ear:
        since_s = time.monotonic()
        epoch = rig.said(first)["epoch"]
        # Death.
        rig.kill(first)
        await eventually(lambda: rig.active() == second, "the standby takes over")
        took = rig.said(second)["epoch"]
        assert took > epoch
        await eventually(lambda: ear.first_of(took), "it renews leases")
        rig.collector(first)
        await eventually(lambda: (rig.status(first) or {}).get("role") == "standby", "the dead one stands by")
        # Hanging, and waking.
        hung = rig.children[second]
        os.kill(hung.pid, signal.SIGSTOP)
        await eventually(lambda: (rig.status(first) or {}).get("role") == "active", "the standby takes over again")
        third = rig.said(first)["epoch"]
        await eventually(lambda: ear.first_of(third), "it renews leases")
        os.kill(hung.pid, signal.SIGCONT)
        await eventually(lambda: (rig.status(second) or {}).get("role") == "standby", "who wakes steps down")
        assert rig.said(first)["role"] == "active"
        assert rig.said(first)["epoch"] == third
        # Leaving.
        assert rig.stop(first) == 0
        await eventually(lambda: rig.active() == second, "the lease was given back")
        last = rig.said(second)["epoch"]
        await eventually(lambda: last in ear.epochs(since_s), "nodes tell that they hold its leases")
        # What nodes held all the while.
        assert ear.dropped(since_s) == []
        assert ear.epochs(since_s) == [epoch, took, third, last]
        assert ear.most_caps_w(since_s) <= rig.budget_w
    await rig.judge()
