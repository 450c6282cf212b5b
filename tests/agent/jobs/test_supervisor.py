"""A supervisor sees its run through: with what rights, within what bounds, and nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from evenwatt_agent.jobs import launch
from evenwatt_agent.jobs.output import excerpt, pieces
from evenwatt_agent.jobs.plan import Phase, Standing, Why
from tests.agent.jobs.made import RUN, Made
from tests.agent.jobs.yard import UID, fill, need_root, processes_of, processes_with
from tests.support import need, wait_for

SH = "/bin/sh"
PYTHON = "/usr/bin/python3"


def sh(text):
    return [SH, "-c", text]


def python(text):
    need(Path(PYTHON).exists(), PYTHON, "python3")
    return [PYTHON, "-I", "-c", text]


@pytest.fixture
def make(open_folder):
    need_root()
    made = []

    def one(argv, **changes):
        folder = open_folder / str(len(made))
        folder.mkdir(mode=0o755)
        made.append(Made(folder, argv, **changes))
        return made[-1]

    yield one
    for each in made:
        each.close()


both = pytest.mark.parametrize("tree", [False, True], ids=["cgroup", "tree"])


@both
def test_exit_codes_are_kept(make, tree):
    run = make(sh("echo out; echo err >&2; exit 7"), tree=tree).start()
    end = run.ended()
    assert (end.exit_code, end.why, end.kept) == (7, Why.ITSELF, False)
    assert sorted(run.output().split()) == ["err", "out"]
    assert not run.scratch.exists()
    assert run.state.exists()


def test_a_signal_is_told_as_a_negative_code(make):
    assert make(sh("kill -KILL $$")).start().ended().exit_code == -signal.SIGKILL


def test_it_runs_as_the_user_with_nothing_of_ours(make):
    code = (
        "import os, json, signal\n"
        "status = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines())\n"
        "keys = ('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'NoNewPrivs', 'SigIgn', 'SigBlk')\n"
        "fds = {fd: os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') "
        "if os.path.exists(f'/proc/self/fd/{fd}') or fd in '123'}\n"
        "print(json.dumps({'ids': [*os.getresuid(), *os.getresgid()], 'groups': os.getgroups(), "
        "'status': {k: status[k].strip() for k in keys}, 'fds': sorted(fds), 'sid': os.getsid(0) == os.getpid(), "
        "'umask': os.umask(0), 'environ': sorted(os.environ), 'cwd': os.getcwd()}))"
    )
    run = make(python(code)).start()
    assert run.ended().exit_code == 0
    said = json.loads(run.output())
    assert set(said["ids"]) == {UID}
    assert said["groups"] == []
    assert said["status"]["NoNewPrivs"] == "1"
    assert {int(said["status"][key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapAmb", "SigBlk")} == {0}
    assert not int(said["status"]["SigIgn"], 16) & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)  # Python's own
    assert said["fds"] in (["0", "1", "2", "3"], ["0", "1", "2", "3", "4"])  # the last is the listing itself
    assert said["sid"]
    assert said["umask"] == 0o077
    assert set(said["environ"]) <= {"PATH", "EVENWATT_RUN", "EVENWATT_UNITS_FD", "LC_CTYPE"}
    assert said["cwd"] == str(run.scratch)


def test_root_cannot_be_regained(make, open_folder):
    copy = open_folder / "suid-id"
    subprocess.run(["cp", "/usr/bin/id", str(copy)], check=True)
    copy.chmod(0o4755)
    run = make(sh(f"{copy} -u; id -u")).start()
    run.ended()
    assert run.output().split() == [str(UID), str(UID)]


@pytest.mark.parametrize("changes", [{"uid": 0}, {"gid": 0}, {"groups": [0, 5]}], ids=str)
def test_it_never_runs_as_root_whatever_the_plan_says(make, changes):
    run = make(sh("echo ran"), **changes).start()
    end = run.ended()
    assert end.why is Why.START
    assert "never runs as root" in end.detail
    assert run.output() == ""


@pytest.mark.parametrize(
    ("argv", "changes", "why"),
    [
        (["/no/such/program"], {}, "/no/such/program: No such file or directory"),
        (["/etc/passwd"], {}, "/etc/passwd: Permission denied"),
        ([SH, "-c", "echo ran"], {"directory": "/no/such/folder"}, "directory /no/such/folder: No such file"),
        ([SH, "-c", "echo ran"], {"directory": "/proc/1/root"}, "directory /proc/1/root: Permission denied"),
        ([SH, "-c", "echo ran"], {"cgroup": "/no/such/cgroup"}, "/no/such/cgroup: No such file"),
    ],
)
def test_what_cannot_be_started_says_at_which_step(make, argv, changes, why):
    end = make(argv, **changes).start().ended()
    assert (end.why, end.phase, end.exit_code) == (Why.START, Phase.ENDED, None)
    assert end.detail.startswith(f"cannot be started: {why}")


DAEMONS = """
import os, signal, sys, time
for n in range(4):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, signal.SIG_IGN)
        os.environ.clear()
        while True:
            if os.fork() == 0:
                os.setsid()
                time.sleep(MARK)
                os._exit(0)
            time.sleep(0.05)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(MARK)
"""


def tree_of(mark):
    return python(f"import os; MARK = {mark}\n{DAEMONS}")


@both
def test_a_tree_that_forks_away_and_ignores_signals_dies_with_its_stop(make, tree, monkeypatch):
    mark = f"{1000 + os.getpid()}.{int(tree)}"
    run = make(tree_of(mark), tree=tree).start()
    run.await_output("up")
    wait_for(lambda: len(processes_with(f"MARK = {mark}")) > 8, "it has forked")
    run.ask("now")
    end = run.ended()
    assert end.why is Why.COMMAND
    assert end.exit_code == -signal.SIGKILL
    assert processes_with(f"MARK = {mark}") == []


BOMB = """
import os, time
MARK = {mark}
print("up", flush=True)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""


@both
def test_a_fork_bomb_is_bounded_and_ends_with_its_limit(make, tree):
    mark = f"{2000 + os.getpid()}.{int(tree)}"
    others = len(processes_of(UID))
    run = make(python(BOMB.format(mark=mark)), tree=tree, limit_s=2.0, processes=others + 100).start()
    run.await_output("up")
    end = run.ended()
    assert end.why is Why.LIMIT
    assert "limit of 2 s" in end.detail
    assert processes_with(f"MARK = {mark}") == []


@both
def test_what_a_run_leaves_behind_when_it_ends_by_itself_is_ended(make, tree):
    mark = f"{3000 + os.getpid()}.{int(tree)}"
    run = make(sh(f"(setsid sleep {mark} &) ; (sleep {mark} & ) ; echo up"), tree=tree).start()
    end = run.ended()
    assert end.exit_code == 0
    assert processes_with(f"sleep\0{mark}") == []


SAVES = 'trap "echo saving; echo 3 > state; exit 0" USR1; echo up; while :; do sleep 0.1; done'


@both
def test_asked_to_keep_its_state_it_gets_the_signal_and_the_time(make, tree):
    run = make(sh(SAVES), tree=tree, signal=int(signal.SIGUSR1), wait_s=20.0).start()
    run.await_output("up")
    run.ask("keep")
    end = run.ended()
    assert (end.why, end.exit_code, end.kept) == (Why.COMMAND, 0, True)
    assert "saving" in run.output()


@both
def test_who_does_not_save_in_time_is_terminated_and_has_kept_nothing(make, tree):
    text = 'trap "" USR1; trap "echo term; exit 0" TERM; echo up; while :; do sleep 0.1; done'
    run = make(sh(text), tree=tree, signal=int(signal.SIGUSR1), wait_s=0.5).start()
    run.await_output("up")
    run.ask("keep")
    end = run.ended()
    assert (end.why, end.kept) == (Why.COMMAND, False)
    assert "term" in run.output()


def test_who_saves_badly_has_kept_nothing(make):
    run = make(sh('trap "exit 3" USR1; echo up; while :; do sleep 0.1; done'), signal=10, wait_s=20.0).start()
    run.await_output("up")
    run.ask("keep")
    end = run.ended()
    assert (end.exit_code, end.kept) == (3, False)


def test_a_stop_at_once_does_not_wait_for_a_state_that_is_being_saved(make):
    run = make(sh('trap "" USR1; echo up; while :; do sleep 0.1; done'), signal=10, wait_s=3_600.0).start()
    run.await_output("up")
    run.ask("keep")
    run.await_phase(Phase.STOPPING)
    run.ask("now")
    assert run.ended().exit_code == -signal.SIGTERM


def test_what_cannot_save_is_ended_at_once_also_when_asked_to_keep(make):
    run = make(sh("echo up; sleep 600")).start()
    run.await_output("up")
    run.ask("keep")
    end = run.ended()
    assert (end.why, end.kept) == (Why.COMMAND, False)


def test_a_stopped_process_is_woken_for_its_end(make):
    run = make(sh(SAVES), signal=int(signal.SIGUSR1), wait_s=20.0).start()
    run.await_output("up")
    pid = next(iter(processes_with("echo saving")))
    os.kill(pid, signal.SIGSTOP)
    run.ask("keep")
    assert run.ended().kept


def test_the_limit_holds_with_nobody_there_and_lets_it_save(make):
    run = make(sh(SAVES), signal=int(signal.SIGUSR1), wait_s=20.0, limit_s=3.0).start()
    end = run.ended()
    assert (end.why, end.kept) == (Why.LIMIT, True)


def test_a_shutdown_lets_it_save(make):
    run = make(sh(SAVES), signal=int(signal.SIGUSR1), wait_s=20.0).start()
    run.await_output("up")
    run.process.send_signal(signal.SIGTERM)
    end = run.ended()
    assert (end.why, end.kept) == (Why.SYSTEM, True)


@both
def test_the_first_process_dies_with_its_supervisor(make, tree):
    mark = f"{4000 + os.getpid()}.{int(tree)}"
    run = make([SH, "-c", f"echo up; exec sleep {mark}"], tree=tree).start()
    run.await_output("up")
    run.process.kill()
    wait_for(lambda: not processes_with(f"sleep\0{mark}"), "it is gone")


def test_a_plan_is_carried_out_once(make):
    run = make(sh("echo x; sleep 1")).start()
    run.await_phase()
    second = launch.launch(run.folder)
    assert second.wait(60) == 3
    assert run.ended().exit_code == 0


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"run": 1}', b"\xff\xfe"])
def test_a_torn_plan_starts_nothing(make, content):
    run = make(sh("echo ran"))
    (run.folder / "plan.json").write_bytes(content)
    assert run.start().process.wait(60) == 3


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[]", b"null", b'{"phase": "flying"}', b"\xff\xfe", b"0" * 3_000]
)
def test_a_torn_state_says_nothing(open_folder, content):
    (open_folder / "state.json").write_bytes(content)
    assert Standing.read(open_folder) is None


def test_output_without_end_is_bounded_and_its_latest_is_kept(make):
    run = make(python("import sys\nfor n in range(2_000_000): print(n, 'x' * 50)\nprint('the end')"), log_bytes=40_000)
    run.start()
    assert run.ended().exit_code == 0
    assert sum((run.folder / f"log.{piece}").stat().st_size for piece in pieces(run.folder)) < 40_000 + 80_000
    last = excerpt(run.folder, 0, 2_000, last=True)
    assert "the end" in last.text or "bytes left out here" in last.text
    assert len(last.text) <= 2_000
    assert last.skipped > 1_000_000


def test_what_it_keeps_is_bounded(make, monkeypatch):
    from evenwatt_agent.jobs import supervisor

    code = "import sys, pathlib, evenwatt_agent.jobs.supervisor as s; s._SPACE_S = 0.5; s.main(pathlib.Path({!r}))"
    run = make(sh("head -c 3000000 /dev/zero > big; mkdir d; ln -s / d/l; echo up; sleep 600"), state_bytes=2_000_000)
    assert supervisor._SPACE_S > 1
    import sys

    run.process = subprocess.Popen([sys.executable, "-c", code.format(str(run.folder))], start_new_session=True)
    (run.folder / "supervisor.log").touch()
    end = run.ended()
    assert end.why is Why.SPACE
    assert "2 MB are allowed" in end.detail


@pytest.fixture
def small_disk(open_folder):
    need_root()
    folder = open_folder / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "none", folder], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_costs_output_and_not_the_run_or_its_end(small_disk):
    run = Made(small_disk, sh("echo first; sleep 1; exit 5"))
    try:
        run.start()
        run.await_output("first")
        fill(small_disk / "filler")
        run.await_phase(Phase.ENDED)
        assert run.standing().exit_code == 5
    finally:
        run.close()


def test_time_goes_on_being_told(make):
    began = time.monotonic_ns()
    run = make(sh("exit 0")).start()
    end = run.ended()
    assert began <= end.began_ns <= end.ended_ns <= time.monotonic_ns()
    assert RUN in json.dumps(json.loads((run.folder / "plan.claimed").read_text()))
