"""A real collector plans, starts, stops and closes jobs on nodes that speak to it over a real broker."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager

import httpx

from evenwatt_wire import Ack, JobList, Kind, RunReport, RunState, Submission, Template, seal
from evenwatt_wire.command import Code, Op, open_command
from evenwatt_wire.topics import CONTROLLER_NODE
from tests.collector.middle import Middle, SpeakingNode, speaking, stop
from tests.collector.said import BOOT, WALL_MS, ZONE
from tests.support import eventually, make_key, make_trust

TOKEN = "a-token-that-is-long-enough-0123456789"


class WorkingNode:
    """Starts and stops runs as an agent would, and tells how they stand; it works at 100 W."""

    def __init__(self, node: SpeakingNode):
        self.node, self.runs, self.told, self.mute = node, {}, [], False
        node.obey = self.obey

    async def obey(self, message):
        _, command = open_command(message.payload, self.node.middle.ring)
        self.node.commands.append(command)
        self.node.cap_w = command.cap_w or self.node.cap_w
        if command.op is Op.START:
            self.runs[command.job.run] = {"order": command.job, "began": time.monotonic(), "seq": 0, "state": None}
        if command.op is Op.STOP and command.target in self.runs:
            self.runs[command.target]["stop"] = command.keep
        ack = Ack(self.node.name, command.id, command.epoch, command.seq, Code.ACCEPTED, "", WALL_MS)
        await self.node.say(seal(ack, self.node.middle.node_keys[self.node.name][0]), Kind.ACK)

    async def work(self, length_s):
        while True:
            for run in list(self.runs.values()):
                await self._tell(run, length_s)
            await asyncio.sleep(0.2)

    async def _tell(self, run, length_s):
        if run["state"] in {RunState.ENDED, RunState.STOPPED}:  # said again and again, as an agent does
            await asyncio.sleep(0.5)
            await self._say(run)
            return
        # Its own clock goes in steps of the loop below: a busy machine makes no run longer than that.
        run["done_s"] = done_s = min(time.monotonic() - run["began"], length_s + 0.2)
        run["state"] = RunState.STOPPED if "stop" in run else RunState.ENDED if done_s > length_s else RunState.RUNNING
        if not self.mute:
            await self._say(run)

    async def _say(self, run):
        order, done_s = run["order"], run["done_s"]
        report = RunReport(
            node=self.node.name, boot=BOOT, job=order.job, run=order.run, seq=run["seq"], wall_ms=WALL_MS,
            state=run["state"], duration_s=done_s, energy_j=100.0 * done_s, kept=run.get("stop", False),
            exit_code=0 if run["state"] is RunState.ENDED else None,
            log=f"line {run['seq']}\n", log_start=0 if not run["seq"] else 7 * run["seq"],
        )  # fmt: skip
        run["seq"] += 1
        await self.node.say(seal(report, self.node.middle.node_keys[self.node.name][0]), Kind.RUN)


class Planned(Middle):
    """A collector that starts jobs; its grid is dirty for ``dirty_s`` seconds and clean for long after that."""

    def __init__(self, folder, broker_port, dirty_s=25, **jobs):
        super().__init__(folder, broker_port)
        self.operator, public = make_key(folder / "operator.pem")
        make_trust(folder, [*self.keys, {"public": public, "role": "operator", "name": "olga"}])
        (folder / "tokens").write_text(f"olga jobs {TOKEN}\n")
        (folder / "tokens").chmod(0o600)
        self.clean_s = int(time.time()) // 5 * 5 + dirty_s // 5 * 5
        rows = [(self.clean_s - 3600, self.clean_s, 500.0), (self.clean_s, self.clean_s + 86_400, 50.0)]
        text = "start,end,g_per_kwh\n" + "".join(f"{start},{end},{g}\n" for start, end, g in rows)
        (folder / "grid.csv").write_text(text)
        wanted = {"enabled": True, "slot": "5s", "horizon": "5m", "replan_s": 2}
        table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in (wanted | jobs).items())
        source = f'[[grids.sources]]\ntype = "file"\nname = "made"\npath = "{folder / "grid.csv"}"\n'
        self.write(
            f'[[zones]]\nname = "{ZONE}"\ngrid = "DE"\n[[grids]]\nname = "DE"\n{source}[jobs]\n{table}'
            f"[jobs.policy]\ncontrol_share = 0.0\n",
            http=f'tokens = "{folder / "tokens"}"',
        )

    def ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.request(
            method, f"http://127.0.0.1:{self.port}/api/v1{path}", json=body, headers=headers, timeout=60
        )

    def submit(self, **spec):
        wanted = {"name": "train", "template": "train", "power_w": 100.0, "values": {"size": "9"}} | spec
        if wanted["template"] is None:
            del wanted["values"]
        answer = self.ask("POST", "/jobs", wanted)
        assert answer.status_code < 300, answer.text
        return answer.json()["jobs"][0]["id"]

    def job(self, id_):
        return self.ask("GET", f"/jobs/{id_}").json()


@asynccontextmanager
async def working(middle, name="n1", length_s=4.0):
    async with speaking(middle, name) as node:
        hand = WorkingNode(node)
        await node.client.subscribe(f"evenwatt/v1/{ZONE}/_ctl/jobs", qos=1)
        templates = [Template(name="train", values=["size"], interruptible=True)]
        await node.join(templates=templates, job_slots=1)
        node.start_speaking(100.0)
        node.tasks.append(asyncio.create_task(hand.work(length_s)))
        yield hand


async def in_state(middle, id_, state, timeout_s=60.0):
    await eventually(lambda: middle.job(id_).get("state") == state, f"job {id_} is {state}", timeout_s)
    return middle.job(id_)


async def test_work_waits_for_the_clean_hours_and_what_came_of_it_is_told(tmp_path, broker):
    middle = Planned(tmp_path, broker.port)
    with middle.run():
        await middle.ready()
        async with working(middle) as hand:
            await eventually(middle.node, "the node is heard")
            id_ = middle.submit(length="4s", deadline="+60s", values={"size": "9"})
            found = await in_state(middle, id_, "done")
            (run,) = found["runs"]
            assert run["started_s"] >= middle.clean_s - 1.5
            (start,) = [command for command in hand.node.commands if command.op is Op.START]
            assert start.job.values == [("size", "9")]
            outcome = found["outcome"]
            assert 350 < outcome["energy_j"] < 500
            assert outcome["grams"] < 0.4 * outcome["counterfactual_g"]
            assert outcome["predicted_g"] > 0
            lines = middle.ask("GET", f"/jobs/{id_}/explain").json()["lines"]
            assert any("at once, at home, at full power" in line for line in lines)
            assert any("saved" in line for line in lines)
            pieces = middle.ask("GET", f"/jobs/{id_}/logs").json()["pieces"]
            assert pieces[0]["text"] == "line 0\n"
            listed = hand.node.last(Kind.JOBS, CONTROLLER_NODE)
            assert isinstance(listed, JobList)
            assert listed.jobs[0].id == id_


async def test_urgent_work_does_not_wait_however_dirty_the_grid(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=300)
    with middle.run():
        await middle.ready()
        async with working(middle):
            await eventually(middle.node, "the node is heard")
            began_s = time.time()
            id_ = middle.submit(length="4s", deadline="+60s")
            found = await in_state(middle, id_, "done")
            assert found["ended_s"] - began_s < 60
            assert not found["outcome"]["late"]


async def test_a_collector_that_is_killed_goes_on_with_its_jobs_and_no_run_is_started_twice(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=5)
    with middle.run() as child:
        await middle.ready()
        async with working(middle, length_s=12.0) as hand:
            await eventually(middle.node, "the node is heard")
            id_ = middle.submit(length="12s", deadline="+4m")
            await in_state(middle, id_, "running")
            child.kill()
            child.wait(60)
            with middle.run():
                await middle.ready()
                found = await in_state(middle, id_, "done")
                assert len(found["runs"]) == 1
                assert len(hand.runs) == 1
                assert 1100 < found["outcome"]["energy_j"] < 1500


async def test_a_node_that_vanishes_does_not_take_its_job_with_it(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=5)
    with middle.run():
        await middle.ready()
        async with working(middle, "n1", 300.0) as first:
            await eventually(middle.node, "the node is heard")
            id_ = middle.submit(length="4s", deadline="+4m", quiet="30s")
            await in_state(middle, id_, "running")
            first.mute = True
            async with working(middle, "n2", 4.0) as second:
                found = await in_state(middle, id_, "done", 120.0)
                assert [run["node"] for run in found["runs"]] == ["n1", "n2"]
                assert found["runs"][0]["state"] == "lost"
                assert len(second.runs) == 1
                first.mute = False
                await eventually(
                    lambda: any(c.op is Op.STOP for c in first.node.commands), "what came back is told to end"
                )


async def test_an_operator_submits_and_cancels_over_mqtt_and_nobody_else_can(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=300)
    stranger, _ = make_key(tmp_path / "stranger.pem")
    with middle.run():
        await middle.ready()
        async with working(middle) as hand:
            await eventually(middle.node, "the node is heard")

            async def ask(key, job, spec, number):
                now_ms = int(time.time() * 1000)
                asked = Submission(fleet="f", id=f"{number:032x}", issued_ms=now_ms, expires_ms=now_ms + 100_000,
                                   job=job, spec=spec)  # fmt: skip
                await hand.node.say(seal(asked, key), Kind.SUBMIT, node=CONTROLLER_NODE)

            spec = json.dumps({"name": "by-mqtt", "template": "train", "length": "4s", "values": {"size": "9"}})
            await ask(stranger, "d" * 12, spec, 1)
            await ask(middle.operator, "e" * 12, spec, 2)
            await in_state(middle, "e" * 12, "waiting")
            assert middle.ask("GET", f"/jobs/{'d' * 12}").status_code == 404
            await ask(middle.operator, "c" * 12, json.dumps({"name": "x", "template": "no-such", "length": "4s"}), 4)
            await eventually(
                lambda: any(
                    (line.id, line.state) == ("c" * 12, "refused")
                    for line in getattr(hand.node.last(Kind.JOBS, CONTROLLER_NODE), "jobs", [])
                ),
                "it is told that it was refused",
            )
            await ask(middle.operator, "e" * 12, "", 3)
            await in_state(middle, "e" * 12, "cancelled")


async def test_advice_keeps_nothing_and_says_what_would_be_saved(tmp_path, broker):
    middle = Planned(tmp_path, broker.port, dirty_s=60, enabled=False)
    with middle.run() as child:
        await middle.ready()
        answer = middle.ask("POST", "/advise", {"name": "report", "length": "10s", "deadline": "+4m"})
        assert answer.status_code == 200, answer.text
        decision = answer.json()["decision"]
        assert decision["chosen"]["start_s"] >= middle.clean_s - 5
        assert decision["chosen"]["grams"] < 0.2 * decision["baseline"]["grams"]
        assert decision["rests_on"]
        assert middle.ask("GET", "/jobs").json()["jobs"] == []
        assert stop(child) == 0
