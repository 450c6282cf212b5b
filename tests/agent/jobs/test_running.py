"""Work runs on command: started, told, counted, stopped; through the death of the agent and an absent collector."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sqlite3
import subprocess
from contextlib import asynccontextmanager

import msgspec
import pytest

from evenwatt_agent.cgroups import find_root
from evenwatt_wire import ControllerState, Kind, RunState, Stored, Topic, decode, encode
from evenwatt_wire.command import Code
from evenwatt_wire.messages import NodeState
from tests.agent.jobs.yard import fill, processes_with
from tests.site import NODE, ZONE
from tests.support import eventually

COUNTS = """
n=0
[ "$EVENWATT_RESUME" = 1 ] && read n < "$EVENWATT_STATE_DIR/n"
trap 'echo "$n" > "$EVENWATT_STATE_DIR/n"; echo "saved $n"; exit 0' USR1
echo "begins with $n"
while :; do n=$((n + 1)); sleep 0.05; done
"""
ENDS = frozenset({RunState.ENDED, RunState.STOPPED, RunState.FAILED, RunState.LOST})


async def born(heard):
    return (await eventually(lambda: heard.births, "the node is born"))[-1]


@asynccontextmanager
async def at_work(yard, ear):
    """An agent that has joined, and an ear."""
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            yield heard, agent


async def begin(heard, yard, template, values=(), **fields):
    command, payload = yard.start(template, values, **fields)
    answer = await heard.ask((command, payload))
    assert answer.code is Code.ACCEPTED, answer.detail
    return command.job.run


def records(yard):
    with sqlite3.connect(f"file:{yard.folder / 'state' / 'agent.db'}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT payload FROM ledger ORDER BY row").fetchall()
    return [decode(Topic(ZONE, NODE, Kind.LEDGER), row[0]) for row in rows]


async def test_a_command_runs_is_told_and_is_counted(yard, ear):
    spin = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done"
    program = yard.program("work", f'echo "hello $1"; echo "128 images" >&$EVENWATT_UNITS_FD; {spin}; env; exit 3')
    yard.write_jobs({"name": "greet", "command": [program, "{who}"], "values": {"who": "[a-z]+"}})
    async with at_work(yard, ear) as (heard, _):
        assert [t.name for t in heard.births[-1].templates] == ["greet"]
        assert heard.births[-1].job_slots == 4
        run = await begin(heard, yard, "greet", [("who", "world")], name="demo", workload="w", team="t")
        end = await heard.report(run, RunState.FAILED)
        assert (end.exit_code, end.detail, end.kept) == (3, "exit code 3", False)
        assert dict(end.units) == {"images": 128.0}
        assert end.energy_j > 0
        log = heard.log(run)
        assert log.startswith("hello world\n")
        told = dict(line.partition("=")[::2] for line in log.splitlines() if "=" in line)
        assert (told["EVENWATT_JOB"], told["EVENWATT_RUN"], told["EVENWATT_RESUME"]) == (end.job, run, "0")
        assert told["USER"] == "nobody"

        def kept():
            rows = [task for record in records(yard) for task in record.tasks if task.id == run]
            return [row for row in rows if row.state == "ended"]

        task = (await eventually(kept, "the ledger has its task"))[-1]
        assert (task.name, task.workload, task.team) == ("demo", "w", "t")
        assert task.energy_j == pytest.approx(end.energy_j, abs=1e-5)
        assert [r.seq for r in heard.of(run)] == sorted(r.seq for r in heard.of(run))


async def test_a_run_stops_keeps_its_state_and_goes_on(yard, ear):
    program = yard.program("count", COUNTS)
    checkpoint = {"signal": "SIGUSR1", "wait_s": 20.0}
    yard.write_jobs({"name": "count", "command": [program], "interruptible": True, "checkpoint": checkpoint})
    async with at_work(yard, ear) as (heard, _):
        assert heard.births[-1].templates[0].interruptible
        first = await begin(heard, yard, "count")
        await eventually(lambda: "begins with 0" in heard.log(first), "it has begun")
        assert (await heard.ask(yard.stop(first, keep=True))).code is Code.ACCEPTED
        end = await heard.report(first, RunState.STOPPED)
        assert (end.exit_code, end.kept) == (0, True)
        saved = int(heard.log(first).rpartition("saved ")[2])
        second = await begin(heard, yard, "count", resume=True)
        await eventually(lambda: f"begins with {saved}" in heard.log(second), "it goes on from there")
        assert (await heard.ask(yard.stop(second))).code is Code.ACCEPTED
        end = await heard.report(second, RunState.STOPPED)
        assert (end.kept, end.exit_code) == (False, -signal.SIGTERM)
        again = await heard.ask(yard.stop(second))
        assert (again.code, again.detail) == (Code.ACCEPTED, f"run {second} has stopped already")


async def test_a_run_goes_on_when_the_agent_is_killed_and_its_end_is_told(yard, ear):
    program = yard.program(
        "work", 'echo up; while [ ! -e "$EVENWATT_STATE_DIR/go" ]; do sleep 0.1; done; echo done; exit 4'
    )
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            during = await begin(heard, yard, "work", job="a" * 12)
            after = await begin(heard, yard, "work", job="b" * 12)
            for run in (during, after):
                await eventually(lambda r=run: "up" in heard.log(r), "it is up")
            agent.kill()
            agent.wait()
        state = yard.folder / "state" / "jobs" / "state"
        (state / ("a" * 12) / "go").touch()
        await eventually(lambda: yard.standing(during).get("phase") == "ended", "one ends while no agent is there")
        assert yard.standing(after)["phase"] == "running"
        told = len(heard.reports)
        with yard.agent():
            end = await heard.report(during, *ENDS)
            assert (end.state, end.exit_code) == (RunState.FAILED, 4)
            assert heard.log(during) == "up\ndone\n"
            await eventually(lambda: [r for r in heard.reports[told:] if r.run == after], "the other is taken up")
            assert heard.of(after)[-1].state is RunState.RUNNING
            (state / ("b" * 12) / "go").touch()
            end = await heard.report(after, *ENDS)
            assert (end.state, end.exit_code) == (RunState.FAILED, 4)
            seqs = [report.seq for report in heard.of(after) if report.seq < end.seq]
            assert seqs == sorted(set(seqs)), "numbers grow, also over a restart"


async def test_runs_go_on_when_the_agent_is_stopped(yard, ear):
    program = yard.program("work", "echo up; exec sleep 4711.1")
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            run = await begin(heard, yard, "work")
            await eventually(lambda: "up" in heard.log(run), "it is up")
            agent.send_signal(signal.SIGTERM)
            agent.wait(60)
        assert processes_with("sleep\x004711.1")
        with yard.agent():
            await asyncio.sleep(0)
            told = len(heard.reports)
            await eventually(lambda: len(heard.reports) > told, "it is taken up")
            assert (await heard.ask(yard.stop(run))).code is Code.ACCEPTED
            assert (await heard.report(run, *ENDS)).state is RunState.STOPPED
        await eventually(lambda: not processes_with("sleep\x004711.1"), "nothing is left of it")


async def test_a_run_whose_supervisor_is_killed_is_lost_and_wholly_ended(yard, ear):
    program = yard.program("work", "setsid sleep 4712.1 & echo up; exec sleep 4712.1")
    yard.write_jobs({"name": "work", "command": [program]})
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "work")
        await eventually(lambda: "up" in heard.log(run), "it is up")
        os.kill(yard.standing(run)["pid"], signal.SIGKILL)
        end = await heard.report(run, *ENDS)
        assert (end.state, end.exit_code) == (RunState.LOST, None)
        assert "without a word" in end.detail
        await eventually(lambda: not processes_with("sleep\x004712.1"), "nothing is left of it")
        again = await begin(heard, yard, "work")
        assert (await heard.ask(yard.stop(again))).code is Code.ACCEPTED
        await heard.report(again, RunState.STOPPED)


async def test_a_reboot_loses_runs_and_says_so(yard, ear):
    program = yard.program("work", "echo up; exec sleep 4713.1")
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            run = await begin(heard, yard, "work")
            await eventually(lambda: "up" in heard.log(run), "it is up")
            agent.kill()
            agent.wait()
        os.kill(yard.standing(run)["pid"], signal.SIGKILL)
        with sqlite3.connect(yard.folder / "state" / "agent.db") as db:
            ((body,),) = db.execute("SELECT body FROM runs")
            record = msgspec.json.decode(body) | {"kernel_boot": "another boot"}
            db.execute("UPDATE runs SET body = ?", (msgspec.json.encode(record),))
        with yard.agent():
            end = await heard.report(run, *ENDS)
        assert (end.state, end.detail) == (RunState.LOST, "this machine was restarted while it ran")


@pytest.mark.parametrize("content", [b"", b"{", b'{"phase": "ended"}'])
async def test_a_torn_state_file_is_not_believed(yard, ear, content):
    program = yard.program("work", "echo up; exec sleep 4714.1")
    yard.write_jobs({"name": "work", "command": [program]})
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "work")
        await eventually(lambda: "up" in heard.log(run), "it is up")
        (yard.run_folder(run) / "state.json").write_bytes(content)
        assert (await heard.ask(yard.stop(run))).code is Code.ACCEPTED
        assert (await heard.report(run, *ENDS)).state is RunState.STOPPED, "its supervisor has written it anew"


async def test_a_torn_record_of_a_run_stops_nobody(yard, ear):
    program = yard.program("work", "echo up")
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            await heard.report(await begin(heard, yard, "work"), RunState.ENDED)
            agent.kill()
            agent.wait()
        with sqlite3.connect(yard.folder / "state" / "agent.db") as db:
            db.execute("UPDATE runs SET body = '{\"order\": 1'")
        heard.births.clear()
        with yard.agent():
            await born(heard)
            await heard.report(await begin(heard, yard, "work"), RunState.ENDED)
        assert "cannot be read" in (yard.folder / "agent.log").read_text()


async def test_the_limit_holds_without_agent_and_collector(yard, ear):
    program = yard.program("work", "echo up; exec sleep 4715.1")
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            run = await begin(heard, yard, "work", limit_s=3.0)
            agent.kill()
            agent.wait()
        await eventually(lambda: yard.standing(run).get("phase") == "ended", "it is ended")
        await eventually(lambda: not processes_with("sleep\x004715.1"), "nothing is left of it")
        with yard.agent():
            end = await heard.report(run, *ENDS)
        assert (end.state, end.kept) == (RunState.FAILED, False)
        assert end.detail == "limit: it reached its limit of 3 s"


async def test_an_end_that_nobody_heard_is_told_when_the_broker_is_back_and_when_a_collector_comes(yard, ear, broker):
    program = yard.program("work", "echo up; sleep 1; echo down")
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent():
            await born(heard)
            run = await begin(heard, yard, "work")
            broker.kill()
            await eventually(lambda: yard.standing(run).get("phase") == "ended", "it has ended")
            await asyncio.sleep(1.5)
            broker.start()
            async with ear() as later:
                end = await later.report(run, RunState.ENDED)
                assert end.exit_code == 0
                told = len(later.of(run))
                ready = ControllerState(zone=ZONE, state=NodeState.READY, epoch=1, wall_ms=1)
                await later.connection.publish(str(Topic(ZONE, "_ctl", Kind.STATE)), encode(ready), qos=1, retain=False)
                await eventually(lambda: len(later.of(run)) > told, "it is told again", 60.0)
                assert later.of(run)[-1] == end


async def test_reports_come_at_most_once_a_second_and_what_is_left_out_shows(yard, ear):
    program = yard.program(
        "work", "i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i + 1)); done; sleep 3; echo end"
    )
    yard.write_jobs({"name": "work", "command": [program]})
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "work")
        await heard.report(run, RunState.ENDED)
    told = heard.of(run)
    assert told[0].log_start == 0
    assert max(len(report.log) for report in told) <= 2_000
    assert [report.log for report in told if report.log][-1].endswith("end\n")  # the last one may have nothing to add
    written = len("".join(f"line {i}\n" for i in range(60_000))) + 4
    assert written <= told[-1].log_start + len(told[-1].log) <= written + 200
    assert any(b.log_start > a.log_start + len(a.log) for a, b in itertools.pairwise(told)), "a gap shows"
    assert len(told) <= told[-1].duration_s + 4


async def test_what_a_run_writes_is_told_clean(yard, ear):
    text = r"printf '\033[31mred\033[0m \007bell \000nul \377\376 \303\274 \342\200\256rtl\r\nnext\033]0;title\007\n'"
    yard.write_jobs({"name": "work", "command": [yard.program("work", text, "/bin/bash")]})
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "work")
        await heard.report(run, RunState.ENDED)
        assert heard.log(run) == "red bell nul \ufffd\ufffd \u00fc rtl\nnext\n"


async def test_a_run_counts_tasks_of_its_own_and_cannot_end_its_own_account(yard, ear):
    code = (
        "import json, os, socket\n"
        "def ask(**r):\n"
        "    s = socket.socket(socket.AF_UNIX); s.connect(os.environ['EVENWATT_TASK_SOCKET'])\n"
        "    s.sendall(json.dumps(r).encode() + b'\\n'); return json.loads(s.makefile().readline())\n"
        "me = os.environ['EVENWATT_TASK']\n"
        "inner = ask(op='start', id='0' * 12, name='inner', parent=me)\n"
        "print('inner', inner['ok'], inner.get('error'))\n"
        "ask(op='units', id='0' * 12, amount=5, unit='steps'); ask(op='end', id='0' * 12)\n"
        "print('outer', ask(op='end', id=me)['error'])\n"
    )
    program = yard.program("work", code, "/usr/bin/python3 -I")
    yard.write_jobs({"name": "work", "command": [program]})
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "work")
        end = await heard.report(run, *ENDS)
        log = heard.log(run)
        assert "inner True" in log
        assert "outer task" in log
        assert "started by another user" in log
        assert dict(end.units) == {"steps": 5.0}


async def test_where_jobs_are_switched_off_what_still_runs_is_ended(yard, ear):
    program = yard.program("work", "echo up; exec sleep 4716.1")
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            run = await begin(heard, yard, "work")
            await eventually(lambda: "up" in heard.log(run), "it is up")
            agent.kill()
            agent.wait()
        yard.write_jobs({"name": "work", "command": [program]}, enabled=False)
        heard.births.clear()
        with yard.agent():
            assert (await born(heard)).templates == []
            await eventually(lambda: not processes_with("sleep\x004716.1"), "it is ended")
            assert (await heard.ask(yard.start("work"))).detail.startswith("jobs-off: ")


async def test_a_template_that_is_gone_ends_what_runs_of_it(yard, ear):
    program = yard.program("work", "echo up; exec sleep 4717.1")
    yard.write_jobs({"name": "work", "command": [program]})
    async with ear() as heard:
        with yard.agent() as agent:
            await born(heard)
            run = await begin(heard, yard, "work")
            await eventually(lambda: "up" in heard.log(run), "it is up")
            agent.kill()
            agent.wait()
        yard.write_jobs({"name": "other", "command": [program]})
        with yard.agent():
            assert (await heard.report(run, *ENDS)).state is RunState.STOPPED


async def test_nothing_is_left_of_a_run_but_its_log_and_its_jobs_state(yard, ear):
    program = yard.program("work", 'echo up > here; echo kept > "$EVENWATT_STATE_DIR/state"')
    yard.write_jobs({"name": "work", "command": [program]})
    async with at_work(yard, ear) as (heard, _):
        run = await begin(heard, yard, "work", job="c" * 12)
        await heard.report(run, RunState.ENDED)
        jobs = yard.folder / "state" / "jobs"
        assert list((jobs / "scratch").iterdir()) == []
        assert (jobs / "state" / ("c" * 12) / "state").read_text() == "kept\n"
        root = find_root()
        if root is not None:
            await eventually(lambda: not list(root.rglob(f"evenwatt-task-{run}")), "its cgroup is gone")


async def test_the_states_of_too_many_jobs_are_forgotten_oldest_first(yard, ear):
    program = yard.program("work", 'echo kept > "$EVENWATT_STATE_DIR/state"')
    yard.write_jobs({"name": "work", "command": [program]}, states=2)
    async with at_work(yard, ear) as (heard, _):
        for letter in "abcd":
            await heard.report(await begin(heard, yard, "work", job=letter * 12), RunState.ENDED)
        states = yard.folder / "state" / "jobs" / "state"
        await eventually(lambda: sorted(path.name[0] for path in states.iterdir()) == ["c", "d"], "two are kept")


async def test_on_a_full_disk_nothing_is_started_the_agent_lives_and_starts_again_when_there_is_room(yard, ear):
    state = yard.folder / "small"
    state.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "none", state], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        program = yard.program("work", "echo up")
        yard.write_jobs({"name": "work", "command": [program]}, state_dir="small")
        async with at_work(yard, ear) as (heard, agent):
            await heard.report(await begin(heard, yard, "work"), RunState.ENDED)
            fill(state / "filler")
            refusals = []
            while len(refusals) < 3:
                answer = await heard.ask(yard.start("work"))
                refusals += [answer.detail.partition(":")[0]] if answer.code is Code.REJECTED else []
                fill(state / "filler")
            assert set(refusals) <= {"storage", "start"}
            (state / "filler").unlink()
            await heard.report(await begin(heard, yard, "work"), RunState.ENDED)
            assert agent.poll() is None
    finally:
        subprocess.run(["umount", "-l", state], check=True)


async def test_a_disk_that_fills_while_a_run_begins_ends_neither_the_run_nor_the_agent(yard, ear):
    yard.write_jobs({"name": "sleep", "command": ["/bin/sleep", "2"]})
    async with at_work(yard, ear) as (heard, agent):
        with sqlite3.connect(yard.folder / "state" / "agent.db") as db:
            db.execute(
                "CREATE TRIGGER full BEFORE INSERT ON runs WHEN EXISTS (SELECT 1 FROM runs WHERE id = NEW.id) "
                "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
        run = await begin(heard, yard, "sleep")
        await eventually(
            lambda: any(told.run == run and told.state is RunState.ENDED for told in heard.reports), "it has ended"
        )
        assert agent.poll() is None


async def test_a_full_disk_on_which_nothing_can_be_forgotten_does_not_end_the_agent(yard, ear):
    yard.write_jobs({"name": "true", "command": ["/bin/true"]})
    async with at_work(yard, ear) as (heard, agent):
        await eventually(lambda: records(yard), "a record is kept", 90.0)
        with sqlite3.connect(yard.folder / "state" / "agent.db") as db:
            db.execute("CREATE TRIGGER full BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
        (record, *_) = records(yard)
        topic = str(Topic(ZONE, NODE, Kind.STORED))
        await heard.connection.publish(topic, encode(Stored(record.boot, record.seq)), qos=1, retain=False)
        await begin(heard, yard, "true")
        assert agent.poll() is None
        assert records(yard)
