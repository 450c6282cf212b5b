"""A real collector whose database, reports and controls are troubled: no run twice, none after a cancel, none moved."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from contextlib import contextmanager

from evenwatt_collector.feedback.guard import _draw
from evenwatt_wire import Kind, RunReport, RunState, seal
from evenwatt_wire.command import Op
from tests.collector.said import BOOT, WALL_MS, ZONE
from tests.planning.test_planning_live import Planned, in_state, working
from tests.support import eventually


@contextmanager
def locked(middle):
    """Let nobody write to the collector's database."""
    other = sqlite3.connect(middle.folder / "state" / "collector.db", isolation_level=None, timeout=60)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_nothing_is_started_that_cannot_be_remembered(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=5)
    with middle.run() as child:
        await middle.ready()
        async with working(middle, length_s=6.0) as hand:
            await eventually(middle.node, "the node is heard")
            id_ = middle.submit(length="6s", deadline="+4m", earliest="+4s")
            with locked(middle):
                await eventually(lambda: middle.job(id_)["runs"], "it is due")
                await asyncio.sleep(2.0)
                assert not hand.runs
                child.kill()
                child.wait(60)
            with middle.run():
                await middle.ready()
                await in_state(middle, id_, "done")
                assert len(hand.runs) == 1


async def test_what_is_cancelled_before_its_start_was_sent_is_never_started(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=5)
    with middle.run():
        await middle.ready()
        async with working(middle) as hand:
            await eventually(middle.node, "the node is heard")
            id_ = middle.submit(length="4s", deadline="+4m", earliest="+4s")
            with locked(middle):
                await eventually(lambda: middle.job(id_)["runs"], "it is due")
                asking = asyncio.create_task(asyncio.to_thread(middle.ask, "DELETE", f"/jobs/{id_}"))
                await eventually(lambda: middle.job(id_)["cancelling"], "it is to be given up")
            await asking
            await in_state(middle, id_, "cancelled")
            await asyncio.sleep(2.0)
            assert not hand.runs


async def test_a_control_is_neither_moved_nor_paused(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=60)
    middle.config.write_text(middle.config.read_text().replace("control_share = 0.0", "control_share = 0.5"))
    with middle.run():
        await middle.ready()
        async with working(middle, length_s=10.0) as hand:
            await eventually(middle.node, "the node is heard")
            version = middle.status()["planning"]["policy"]
            id_ = next(one for one in iter(lambda: secrets.token_hex(6), "") if _draw(one, version) < 0.5)
            assert middle.submit(id=id_, length="10s", deadline="+4m", interruptible=True) == id_
            found = await in_state(middle, id_, "done")
            assert found["decision"]["policy"] == "baseline"
            assert found["runs"][0]["asked_s"] < middle.clean_s - 5, "it did not wait for clean hours"
            assert not any(command.op is Op.STOP for command in hand.node.commands)


async def test_a_report_that_names_another_job_is_no_trouble(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=5)
    with middle.run():
        await middle.ready()
        async with working(middle, length_s=6.0) as hand:
            await eventually(middle.node, "the node is heard")
            first, second = (middle.submit(length="6s", deadline="+4m") for _ in range(2))
            await eventually(lambda: hand.runs, "one of them runs")
            run = next(iter(hand.runs))
            other = second if hand.runs[run]["order"].job == first else first
            told = RunReport(node="n1", boot=BOOT, job=other, run=run, seq=1, wall_ms=WALL_MS, state=RunState.RUNNING,
                             duration_s=1.0, energy_j=1.0, log="x")  # fmt: skip
            await hand.node.say(seal(told, middle.node_keys["n1"][0]), Kind.RUN)
            await in_state(middle, first, "done")
            await in_state(middle, second, "done")
            assert "StopIteration" not in middle.log.read_text()


async def test_what_is_of_no_use_counts_and_saves_nothing(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=5)
    with middle.run():
        await middle.ready()
        async with working(middle, length_s=60.0) as hand:
            await eventually(middle.node, "the node is heard")
            id_ = middle.submit(length="60s", deadline="+4m")
            await eventually(lambda: any(run["energy_j"] > 0 for run in middle.job(id_)["runs"]), "it uses energy")
            middle.ask("DELETE", f"/jobs/{id_}")
            found = await in_state(middle, id_, "cancelled")
            assert found["outcome"]["energy_j"] > 0
            assert found["outcome"]["counterfactual_g"] <= found["outcome"]["grams"]
            assert found["outcome"]["predicted_g"] == 0
            whole = lambda: middle.get("/api/v1/improvement").json()["whole"]["total"]["saved"]  # noqa: E731
            await eventually(lambda: whole()["jobs"] == 1, "it is in the sum")
            assert whole()["saved_g"] <= 0
            assert hand.runs


async def test_a_service_says_why_it_has_no_variant_and_a_second_of_its_name_why_not(tmp_path, broker):
    middle = Planned(tmp_path, broker.port)
    with middle.run():
        await middle.ready()
        async with working(middle):
            await eventually(middle.node, "the node is heard")
            chat = {"template": None, "power_w": None, "name": "chat", "service": {"task": "chat", "unit": "tokens"}}
            first, second = (middle.submit(**chat) for _ in range(2))
            await eventually(lambda: "no variant can be chosen" in middle.job(first)["why"], "the first says why")
            await eventually(lambda: first in middle.job(second)["why"], "the second names the first")


async def test_an_external_job_ends_not_before_it_began_and_in_a_known_zone(tmp_path, broker):
    middle = Planned(tmp_path, broker.port)
    with middle.run():
        await middle.ready()
        async with working(middle):
            await eventually(middle.node, "the node is heard")
            id_ = middle.submit(template=None, external="slurm:1", length="10s", deadline="+4m")
            assert middle.ask("POST", f"/jobs/{id_}/report", {"state": "started", "zone": "mars"}).status_code == 409
            assert middle.ask("POST", f"/jobs/{id_}/report", {"state": "started"}).status_code == 200
            ended = {"state": "ended", "energy_j": 3.6e6, "at_s": 0}
            assert middle.ask("POST", f"/jobs/{id_}/report", ended).status_code == 200
            (run,) = middle.job(id_)["runs"]
            assert run["ended_s"] >= run["started_s"]
            assert run["duration_s"] >= 0
            assert run["zone"] == ZONE
