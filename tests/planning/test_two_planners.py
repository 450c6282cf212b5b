"""Two collectors plan for one zone: the newer one acts, the other one only watches."""

from __future__ import annotations

import asyncio
import copy

from evenwatt_wire.command import Op
from tests.planning.test_planning_live import Planned, in_state, working
from tests.support import eventually, free_port


async def test_of_two_planners_only_the_one_with_the_higher_epoch_starts_anything(tmp_path, broker):
    first = Planned(tmp_path, broker.port, dirty_s=5)
    with first.run():
        await first.ready()
        second = copy.copy(first)
        second.port, second.config = free_port(), tmp_path / "second.toml"
        text = first.config.read_text().replace(f"port = {first.port}", f"port = {second.port}")
        second.config.write_text(
            text.replace(str(tmp_path / "state"), str(tmp_path / "other")).replace("[mqtt]", '[mqtt]\nclient_id = "b"')
        )
        await asyncio.sleep(1.5)  # epochs are seconds
        with second.run():
            await second.ready()
            async with working(first) as hand:
                await eventually(first.node, "the node is heard")
                id_ = "a1b2c3d4e5f6"
                for middle in (first, second):
                    assert middle.submit(id=id_, length="3s", deadline="+2m") == id_
                await in_state(second, id_, "done", 60.0)
                starts = [command for command in hand.node.commands if command.op is Op.START]
                assert len(starts) == 1
                assert first.job(id_)["state"] == "waiting"
                assert first.job(id_)["runs"] == []
