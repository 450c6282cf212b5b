"""A wall clock that is stepped neither cuts a lease short nor lets it live on: its end is on the monotonic clock."""

from __future__ import annotations

import sys
import time

from evenwatt_wire import Live
from evenwatt_wire.command import Code, Op
from evenwatt_wire.messages import LeaseState
from tests.agent.test_obeying import Machine
from tests.chaos.wall import Wall, life
from tests.support import eventually, process

TTL_S = 5.0
HOUR_S = 3600


class Stepped(Machine):
    """An agent whose wall clock can be stepped."""

    def __init__(self, folder, port):
        super().__init__(folder, port, "xeon_2s")
        self.wall = Wall(folder)

    def agent(self):
        command = [sys.executable, "-m", "evenwatt_agent", "--config", str(self.folder / "agent.toml")]
        return process(command, self.folder / "agent.log", **self.wall.environment)


async def test_a_lease_ends_at_its_time_whatever_the_wall_clock_says(tmp_path, broker):
    site = Stepped(tmp_path, broker.port)
    async with site.running() as (_, heard):
        for offset_s in (HOUR_S, -HOUR_S):
            await eventually(lambda: heard.said[Live], "a window is there")
            asked_s = time.monotonic()
            assert (await site.lease(heard, 300.0, ttl_s=TTL_S)).code is Code.APPLIED
            answered_s = time.monotonic()
            leased = lambda: heard.said[Live][-1].lease.state is LeaseState.LEASED  # noqa: E731
            await eventually(leased, "a window tells of it")
            stepped_s = time.monotonic()
            site.wall.step(offset_s)
            later, payload = site.command(Op.CAP, cap_w=300.0, fallback_w=300.0, ttl_s=60.0)
            await heard.ask(payload)
            assert (await heard.answer(later)).code is not Code.APPLIED, "commands of another hour are refused"

            def ended(since_s=stepped_s):
                return life([(said.end_mono_ns / 1e9, said) for said in heard.said[Live]], since_s)

            _, _, ended_s = await eventually(ended, "the lease ends", 60.0)
            assert asked_s + TTL_S - 1.0 <= ended_s, (
                "a window may close a moment before the lease that it tells of is read"
            )
            remaining = [said.end_mono_ns / 1e9 + said.lease.remaining_s for said in heard.said[Live]
                         if said.lease.state is LeaseState.LEASED and said.end_mono_ns / 1e9 >= asked_s]  # fmt: skip
            assert max(remaining) <= answered_s + TTL_S + 1.0, "what is left of it never grows"
            site.wall.step(0)
