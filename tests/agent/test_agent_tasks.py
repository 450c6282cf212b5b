"""Tasks on a running agent: what a program says over the socket, what the ledger keeps, what SIGKILL does not lose."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys

import pytest

from evenwatt_agent.cgroups import find_root
from evenwatt_agent.task_client import SOCKET_VARIABLE, TaskRefusedError, ask, new_id, task
from evenwatt_wire import Kind, Topic, decode
from tests.site import NODE, ZONE, Site
from tests.support import wait_for

SPIN = "import sys, time\nend = time.process_time() + float(sys.argv[1])\nwhile time.process_time() < end: pass\n"
IN_TASK = f"""
import json, sys
from evenwatt_agent import task
with task(sys.argv[2], workload="w", model="m", phase="train", required=True) as t:
    {SPIN.replace(chr(10), chr(10) + "    ")}
    t.units(float(sys.argv[1]) * 100, "images")
print(json.dumps(t.result))
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    made = Site(tmp_path, 1)  # nobody listens there: tasks need no broker
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "run" / "task.sock"))
    with made.twin():
        made.await_twin()
        yield made


def ready(site):
    path = site.folder / "run" / "task.sock"

    def answers():
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    wait_for(answers, "the task socket answers")


def records(site):
    with sqlite3.connect(f"file:{site.folder / 'state' / 'agent.db'}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT payload FROM ledger ORDER BY row").fetchall()
    return [decode(Topic(ZONE, NODE, Kind.LEDGER), row[0]) for row in rows]


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "evenwatt_cli", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def check_sums(kept):
    for record in kept:
        assert sum(p.cpu_j + p.gpu_j + p.idle_j for p in record.parts) == pytest.approx(record.total.energy_j, abs=1e-5)


def test_programs_that_run_side_by_side_share_by_their_processor_time(site):
    with site.agent():
        ready(site)
        programs = [
            subprocess.Popen([sys.executable, "-c", IN_TASK, seconds, name], stdout=subprocess.PIPE, text=True)
            for seconds, name in (("1.5", "three"), ("0.5", "one"))
        ]
        three, one = (json.loads(program.communicate()[0]) for program in programs)
        assert three["cpu_s"] == pytest.approx(1.5, abs=0.1)
        assert one["cpu_s"] == pytest.approx(0.5, abs=0.1)
        assert three["energy_j_per_unit"]["images"] == pytest.approx(three["energy_j"] / 150)
        wait_for(lambda: len({t.name for r in records(site) for t in r.tasks if t.state == "ended"}) == 2, "both kept")
    kept = records(site)
    check_sums(kept)
    ended = {t.name: t for r in kept for t in r.tasks if t.state == "ended"}
    assert ended["three"].energy_j == pytest.approx(three["energy_j"], abs=1e-5)
    assert (ended["one"].workload, ended["one"].model, ended["one"].phase) == ("w", "m", "train")
    for summary in (three, one):
        rows = [p for r in kept for p in r.parts if p.name == summary["id"]]
        assert sum(p.cpu_j for p in rows) == pytest.approx(summary["energy_j"], abs=1e-5)


def test_a_task_survives_the_death_of_the_agent(site):
    code = f"import subprocess, sys\ninput()\n{SPIN}\nprint('done', flush=True)\ninput()"
    runner = [sys.executable, "-m", "evenwatt_cli", "run", "--json", "--", sys.executable, "-c", code, "1.0"]
    with site.agent() as first:
        ready(site)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(runner, **pipes) as child:
            wait_for(lambda: any(r.tasks for r in records(site)), "the ledger has the task")
            child.stdin.write("\n")
            child.stdin.flush()
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert child.stdout.readline() == "done\n"
            with site.agent():
                ready(site)
                child.stdin.write("\n")
                child.stdin.close()
                said = json.loads(child.stdout.readline())
                assert child.wait() == 0
                assert said["task"]["state"] == "ended"
                assert said["task"]["cpu_s"] >= 0.95, "what it used while no agent ran is counted"
                wait_for(lambda: any(t.state == "ended" for r in records(site) for t in r.tasks), "its end is kept")
    kept = records(site)
    check_sums(kept)
    assert all(a.end_mono_ns == b.start_mono_ns for a, b in itertools.pairwise(kept))


def test_the_exit_code_is_the_commands_and_the_units_are_counted(site):
    with site.agent():
        ready(site)
        code = (
            "import os, sys\nos.write(int(os.environ['EVENWATT_UNITS_FD']), b'128 images\\nnonsense\\n')\nsys.exit(7)"
        )
        done = run("--name", "job", "--json", "--", sys.executable, "-c", code)
        said = json.loads(done.stdout)
        assert (done.returncode, said["exit_code"]) == (7, 7)
        assert said["task"]["units"] == {"images": 128.0}
        assert "'nonsense' is not '<amount> <unit>'" in done.stderr
        assert run("--", "sh", "-c", "kill -9 $$").returncode == 137
        assert run("--", "/no/such/command").returncode == 127


def test_the_cgroup_of_a_task_whose_runner_was_killed_is_removed(site):
    root = find_root()
    if os.geteuid() != 0 or root is None or not os.access(root, os.W_OK):
        pytest.skip("needs root and a cgroup v2 that may be written")
    with site.agent():
        ready(site)
        command = [sys.executable, "-m", "evenwatt_cli", "run", "--name", "doomed", "--", "sleep", "60"]
        with subprocess.Popen(command) as runner:
            row = wait_for(lambda: next((t for r in records(site) for t in r.tasks), None), "the ledger has it")
            folder = next(root.rglob(f"evenwatt-task-{row.id}"), None)
            runner.kill()
        if folder is None:
            pytest.skip("no cgroup may be made here: tasks are process trees")
        for pid in (folder / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_for(lambda: not folder.exists(), "the agent has tidied up")
        wait_for(lambda: any(t.state == "gone" for r in records(site) for t in r.tasks), "its end is kept")


def test_without_an_agent_the_work_is_done_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "nobody.sock"))
    done = run("--", "echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert "does the agent run here?" in done.stderr
    with pytest.warns(UserWarning, match="is not measured"), task("t") as unmeasured:
        unmeasured.units(1, "x")
    assert unmeasured.result is None
    with pytest.raises(TaskRefusedError, match="is not measured"), task("t", required=True):
        pass


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"op": "start"}, "missing required field"),
        ({"op": "start", "id": "0123456789ab", "name": "x", "colour": "red"}, "unknown field `colour`"),
        ({"op": "dance"}, "Invalid value 'dance'"),
        ({"op": "end", "id": "0123456789ab"}, "no task 0123456789ab"),
        ({"op": "units", "id": "0123456789ab", "amount": -1, "unit": "x"}, ">= 0"),
        ({"op": "start", "id": "0123456789ab", "name": "x", "cgroup": "/system.slice"}, "cgroup"),
        ({"op": "start", "id": "0123456789ab", "name": "x", "parent": "nobody"}, "start it first"),
        ({"op": "start", "id": "0123456789ab", "name": "x" * 5_000}, "hung up"),
    ],
)
def test_a_wrong_request_gets_one_clear_answer_and_the_agent_lives(site, request_, why):
    with site.agent() as agent:
        ready(site)
        with pytest.raises((TaskRefusedError, OSError), match=why if "hung up" not in why else ".*"):
            ask(request_)
        assert ask({"op": "start", "id": (id_ := new_id()), "name": "good"})["state"] == "running"
        assert ask({"op": "look", "id": id_})["name"] == "good"
        assert agent.poll() is None


def test_nobody_speaks_for_anothers_task(site):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    with site.agent():
        ready(site)
        ask({"op": "start", "id": (id_ := new_id()), "name": "mine"})
        path = site.folder / "run" / "task.sock"
        for folder in [path, *path.parents]:
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o005:
                folder.chmod(0o777)
        path.chmod(0o666)
        code = (
            "import os\nfrom evenwatt_agent.task_client import ask\nos.setuid(65534)\n"
            f"ask({{'op': 'end', 'id': '{id_}'}}, {str(path)!r})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "started by another user" in done.stderr
