"""Counters wrap, fall back to 0, vanish, come back, lie."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import contextmanager
from math import fsum

from evenwatt_wire import Quality
from tests.chaos.rig import TOLERANCE, shown_j
from tests.chaos.rows.words import energy
from tests.support import eventually, process, wait_for

_MOST_UJ = 262_143_328_850
_MOST_W = 250.0
"""What one package of these machines can draw."""
_LATE_S = 1.5
"""For so long at most, a counter that came back or lied is not believed after it shows the truth again."""


def _counter(rig, name, zone="intel-rapl:0"):
    sysfs = rig.folder / "twin" / name / "sys"
    return next(path for path in sysfs.rglob("energy_uj") if path.parent.name == zone).resolve()


async def wrap(rig, full):
    """Start a counter two seconds before its wrap."""
    rig.twin(**{rig.names[0]: {"powercap": {"zones": {"0": {"start_uj": _MOST_UJ - 3_000_000_000}}}}})
    await rig.begin(twin=False)
    counter = _counter(rig, rig.names[0])
    await eventually(lambda: int(counter.read_text()) < _MOST_UJ // 2, "the counter has wrapped", 60.0)
    await asyncio.sleep(60.0 if full else 3.0)
    return energy(await rig.judge())


async def vanish(rig, full):
    """Take a counter's folder away, restart the agent without it, bring it back, and restart the agent with it."""
    await rig.begin()
    name = rig.names[0]
    zone = _counter(rig, name, "intel-rapl:1").parent
    aside = zone.with_name(f"{zone.name}.gone")
    zone.rename(aside)
    gone_ns = time.monotonic_ns()
    await asyncio.sleep(2.0)
    rig.kill(f"agent-{name}")
    rig.agent(name)
    await asyncio.sleep(60.0 if full else 6.0)
    aside.rename(zone)
    rig.kill(f"agent-{name}")
    rig.agent(name)
    await rig.leased(60.0)
    back_ns = time.monotonic_ns()

    def counted():
        return "package-1" in {domain.id for domain in rig.records(name)[-1].domains}

    await eventually(counted, "it is counted again")
    return await _bounded(rig, name, gone_ns, back_ns, "gone", machine_w=2 * _MOST_W)


async def reset(rig, full):
    """Let a counter begin at 0 again, as after a suspension of the machine or a reset of its package."""
    name = rig.names[0]
    with _lying(rig, name) as say:
        await rig.begin(twin=False)
        counter, told = _counter(rig, name), []
        for _ in range(10 if full else 1):
            await asyncio.sleep(2.0)
            from_ns = time.monotonic_ns()
            say(say.said - int(counter.read_text()))
            await eventually(lambda: int(counter.read_text()) < _MOST_UJ // 10, "it is at 0")
            told.append((from_ns, time.monotonic_ns()))
        await asyncio.sleep(2.0)
        return await _bounded(rig, name, told[0][0], told[-1][1], "from 0 again", moments=told)


async def lies(rig, full):
    """Let a counter jump by 10 MJ, run backwards, and stand still while the others move."""
    name = rig.names[0]
    with _lying(rig, name) as say:
        await rig.begin(twin=False)
        told = []
        for _ in range(10 if full else 1):
            await asyncio.sleep(2.0)
            from_ns = time.monotonic_ns()
            say(say.said + 10_000_000_000_000)
            await asyncio.sleep(1.0)
            told.append((from_ns, time.monotonic_ns()))
            from_ns = time.monotonic_ns()
            for _ in range(20):
                say(say.said - 200_000_000)
                await asyncio.sleep(0.1)
            told.append((from_ns, time.monotonic_ns()))
            await asyncio.sleep(2.0)
            say("stuck")
            await asyncio.sleep(3.0)
            say(say.said)
        await asyncio.sleep(2.0)
        return await _bounded(rig, name, told[0][0], told[-1][1], "lied", moments=told)


class _Liar:
    """Tells the program in front of a counter what to add to the truth."""

    def __init__(self, orders):
        self._orders, self.said = orders, 0

    def __call__(self, order):
        aside = self._orders.with_suffix(".new")
        aside.write_text(str(order))
        aside.replace(self._orders)
        if order != "stuck":
            self.said = order


@contextmanager
def _lying(rig, name):
    """Start the machines, and a program in front of a counter of one of them before anybody reads it."""
    rig.twin(**{name: {"powercap": {"zones": {"0": {"start_uj": 100_000_000_000}}}}})
    orders = rig.folder / "orders"
    command = [sys.executable, "-m", "tests.chaos.liar", str(_counter(rig, name)), str(orders)]
    with process(command, rig.folder / "liar.log"):
        wait_for(orders.exists, "the counter can lie")
        yield _Liar(orders)


async def _bounded(rig, name, from_ns, until_ns, what, *, moments=(), machine_w=_MOST_W):
    """Hold a node's ledger against the truth where a counter could not be believed between two moments.

    Nothing is invented, and what is missing is no more than the counter's domain can have drawn meanwhile; each of the
    ``moments`` is told as a gap, and the others' ledgers are exact.
    """
    await rig.until_stored()
    records, missing = rig.records(name), rig.rows()[name]["missing"]
    assert missing == 0
    log = await rig.truth_until(name, records[-1].end_mono_ns)
    counted_j = fsum(record.total.energy_j for record in records)
    true_j, _ = shown_j(log, records[0].start_mono_ns, records[-1].end_mono_ns)
    for moment in moments or ((from_ns, until_ns),):
        told = [gap for gap in rig.gaps(name, *moment) if gap.quality is Quality.UNKNOWN]
        assert told, f"{what} between {moment}, and no gap says so: {rig.gaps(name)}"
    slack_j = TOLERANCE * true_j + 2.0
    most_lost_j = machine_w * ((until_ns - from_ns) / 1e9 + _LATE_S)
    lost_j = true_j - counted_j
    assert -slack_j <= lost_j <= most_lost_j + slack_j, (counted_j, true_j, most_lost_j)
    reasons = sorted({gap.reason for gap in rig.gaps(name, from_ns, until_ns)})
    return (f"{counted_j:.0f} J counted of {true_j:.0f}, {max(lost_j, 0.0):.0f} J not known and none invented; "
            f"told as: {'; '.join(reasons)}")  # fmt: skip
