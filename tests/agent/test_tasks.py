"""Tasks: who gets which joule when they nest, run side by side, fork away, are killed; and that looking is exact."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent import cgroups
from evenwatt_agent.attribution import Owner, Part
from evenwatt_agent.cpu_use import CpuWatch, TaskRoot
from evenwatt_agent.processes import parse_stat, read_busy_ns, read_process
from evenwatt_agent.tasks import MAX_TASKS, TaskBook, TaskError, TaskSpec, TaskState
from tests.support import wait_for

PROC = Path("/proc")
S = 1_000_000_000


def spec(id_, parent="", uid=0, reserve=0.0):
    return TaskSpec(id=id_, name=f"n-{id_}", parent=parent, uid=uid, pid=1, start=1, reserve=reserve)


def book(*specs):
    made = TaskBook()
    for each in specs:
        made.start(each, 0, 0)
    return made


def test_a_tasks_whole_energy_includes_the_tasks_inside_it():
    tasks = book(spec("a"), spec("b", "a"), spec("c", "b"))
    tasks.account({Owner("task", "a"): Part(cpu_uj=1), Owner("task", "c"): Part(cpu_uj=10, gpu_uj=5)}, 1.0, S)
    summaries = {task.spec.id: task.summary() for task in tasks.all()}
    assert [summaries[i]["energy_j"] for i in "abc"] == pytest.approx([16e-6, 15e-6, 15e-6])
    assert [summaries[i]["own_energy_j"] for i in "abc"] == pytest.approx([1e-6, 0, 15e-6])
    assert summaries["b"]["peak_power_w"] == pytest.approx(15e-6)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**9)), max_size=40))
def test_own_energies_sum_to_what_was_given_however_tasks_nest(steps):
    tasks = book(spec("0"), spec("1", "0"), spec("2", "1"), spec("3", "0"), spec("4"), spec("5", "4"))
    for at, uj in steps:
        tasks.account({Owner("task", str(at)): Part(cpu_uj=uj)}, 1.0, S)
    everything = tasks.all()
    assert sum(task.own.energy_uj for task in everything) == sum(uj for _, uj in steps)
    assert sum(task.whole.energy_uj for task in everything if not task.spec.parent) == sum(uj for _, uj in steps)


def test_units_give_joules_per_unit_and_count_for_the_task_around():
    tasks = book(spec("a"), spec("b", "a"))
    tasks.account({Owner("task", "b"): Part(cpu_uj=8_000_000)}, 1.0, S)
    tasks.count("b", 0, 3, "tokens")
    tasks.count("b", 0, 1, "tokens")
    assert tasks.get("a", 0).summary()["energy_j_per_unit"] == {"tokens": pytest.approx(2.0)}


def test_only_its_owner_and_root_speak_for_a_task():
    tasks = book(spec("a", uid=1000))
    with pytest.raises(TaskError, match="another user"):
        tasks.end("a", 1001)
    assert tasks.end("a", 1000).state is TaskState.ENDED
    with pytest.raises(TaskError, match="no task"):
        tasks.get("z", 0)


def test_refusals_say_what_would_help():
    tasks = book(*(spec(f"{n}") for n in range(MAX_TASKS)))
    with pytest.raises(TaskError, match="end one"):
        tasks.start(spec("more"), 0, 0)
    with pytest.raises(TaskError, match="exists already"):
        book(spec("a")).start(spec("a"), 0, 0)
    with pytest.raises(TaskError, match="start it first"):
        book().start(spec("a", "nobody"), 0, 0)


def test_a_task_without_processes_for_five_seconds_is_gone_and_then_in_the_ledger_once():
    tasks = book(spec("a"), spec("b"))
    assert tasks.notice({"a": 0, "b": 1}, 1 * S) == []
    assert tasks.notice({"a": 1, "b": 1}, 5 * S) == []
    assert tasks.notice({"a": 0, "b": 1}, 8 * S) == []
    assert tasks.notice({"a": 0, "b": 1}, 12 * S) == []
    assert [task.spec.id for task in tasks.notice({"a": 0, "b": 1}, 13 * S)] == ["a"]
    assert {row.id: row.state for row in tasks.rows()} == {"a": "gone", "b": "running"}
    assert [row.id for row in tasks.rows()] == ["b"]


# --- looking at real processes -----------------------------------------------------------------------------------

TICKS_S = 0.02
"""The kernel shows user and system time in ticks of 10 ms, each rounded down."""
SAY_AND_WAIT = "print(flush=True)\ninput()\n"
SPIN = "import sys, time\nend = time.process_time() + float(sys.argv[1])\nwhile time.process_time() < end: pass\n"


def python(code, *arguments, **options):
    return subprocess.Popen([sys.executable, "-c", code, *arguments], **options)


def root(id_, process, **more):
    return TaskRoot(id_, process.pid, read_process(PROC, process.pid).start, **more)


def used_s(look, id_):
    return look.use.get(Owner("task", id_), 0) * 1e-9


@pytest.fixture
def watch():
    made = CpuWatch(PROC, None, os.cpu_count())
    made.look()
    return made


def held(code, *arguments):
    """A process that has started and waits for a line before it runs, so that it can be made a task first."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = python("print(flush=True)\ninput()\n" + code, *arguments, **pipes)
    await_word(process)
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def await_word(process):
    """Wait until it has written a line: that it has started, or worked."""
    assert process.stdout.readline(), "it has ended before its time"


def test_a_tree_is_charged_for_children_that_come_and_go_between_looks(watch):
    code = (
        "import subprocess, sys\n"
        f"for _ in range(4): subprocess.run([sys.executable, '-c', {SPIN!r}, '0.1'])\n{SAY_AND_WAIT}"
    )
    with held(code) as process:
        task = root("t", process)
        watch.look([task])
        go(process)
        await_word(process)
        used = used_s(watch.look([task]), "t")
        now = read_process(PROC, process.pid)
        assert 0.4 - 4 * TICKS_S <= used <= (now.own_ns + now.waited_ns) / S + TICKS_S
        assert used_s(watch.look([task]), "t") < 0.1, "ended children are not counted again"
        go(process)


def test_an_orphan_stays_in_its_task(watch, tmp_path):
    """The parent forks away and ends; the grandchild, now somebody else's child, is still this task's."""
    pidfile = tmp_path / "pid"
    child = f"import os, time\nopen({str(pidfile)!r}, 'w').write(str(os.getpid()))\nt = time.time()\nwhile True: pass"
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ninput()"
    with held(code) as process:
        task = root("t", process)
        watch.look([task])
        go(process)
        pid = int(wait_for(lambda: pidfile.exists() and pidfile.read_text(), "the grandchild runs"))
        assert watch.look([task]).alive["t"] == 2
        go(process)
        process.wait()
        try:
            before_ns = read_process(PROC, pid).own_ns
            wait_for(lambda: read_process(PROC, pid).own_ns > before_ns + S // 5, "the orphan has worked")
            look = watch.look([task])
            assert look.alive["t"] == 1
            assert used_s(look, "t") >= 0.2
        finally:
            os.kill(pid, 9)
    wait_for(lambda: read_process(PROC, pid) is None or watch.look([task]).alive["t"] == 0, "the orphan is gone")


def test_tasks_of_one_process_nest_or_share(watch):
    with held(SPIN + SAY_AND_WAIT, "0.4") as process:
        outer = root("outer", process)
        inner = [root(i, process, ancestors=frozenset({"outer"})) for i in ("x", "y")]
        watch.look([outer, *inner])
        go(process)
        await_word(process)
        look = watch.look([outer, *inner])
        assert used_s(look, "outer") == 0
        assert used_s(look, "x") == pytest.approx(used_s(look, "y"), abs=1e-8)
        assert used_s(look, "x") + used_s(look, "y") >= 0.4 - TICKS_S - 1e-9
        go(process)


def test_two_tasks_with_a_3_to_1_share_of_processor_time_have_it(watch):
    with held(SPIN + SAY_AND_WAIT, "0.9") as a, held(SPIN + SAY_AND_WAIT, "0.3") as b:
        tasks = [root("a", a), root("b", b)]
        base = {p: read_process(PROC, p.pid).own_ns for p in (a, b)}
        watch.look(tasks)
        go(a)
        go(b)
        await_word(a)
        await_word(b)
        look = watch.look(tasks)
        for id_, process in (("a", a), ("b", b)):
            used_ns = read_process(PROC, process.pid).own_ns - base[process]
            assert used_s(look, id_) == pytest.approx(used_ns * 1e-9, abs=0.021)
        assert look.busy_ns >= (used_s(look, "a") + used_s(look, "b")) * S * 0.9
        go(a)
        go(b)


def test_a_restarted_agent_goes_on_from_what_it_remembers(watch):
    with held(SPIN + SAY_AND_WAIT, "0.3") as process:
        task = root("t", process)
        watch.look([task])
        remembered = watch.memory()
        go(process)
        await_word(process)
        again = CpuWatch(PROC, None, os.cpu_count(), remembered).look([task])
        assert used_s(again, "t") >= 0.25
        assert again.busy_ns >= 0.25 * S
        go(process)


def test_a_reused_pid_is_not_the_task(watch):
    with held("input()") as process:
        stranger = TaskRoot("t", process.pid, read_process(PROC, process.pid).start - 1)
        assert watch.look([stranger]).alive["t"] == 0
        process.kill()


def test_a_tasks_own_cgroup_is_taken_out_of_the_group_around_it(tmp_path):
    def usage(path, usec, populated=1):
        folder = tmp_path / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.stat").write_text(f"usage_usec {usec}\n")
        (folder / "cgroup.events").write_text(f"populated {populated}\n")

    unit, own = "a.slice/s.service", "a.slice/s.service/evenwatt-task-0123456789ab"
    inner = f"{own}/evenwatt-task-ba9876543210"
    for path in (unit, own, inner):
        usage(path, 0)
    around = TaskRoot("0123456789ab", 0, 0, f"/{own}")
    inside = TaskRoot("ba9876543210", 0, 0, f"/{inner}", frozenset({"0123456789ab"}))
    made = CpuWatch(PROC, tmp_path, 2)
    made.look([around, inside])
    usage(unit, 1_000)
    usage(own, 700)
    usage(inner, 300, populated=0)
    look = made.look([around, inside])
    assert look.use[Owner("unit", "s.service")] == 300_000
    assert look.use[around.owner] == 400_000
    assert look.use[inside.owner] == 300_000
    assert (look.alive[around.id], look.alive[inside.id]) == (1, 0)


def test_a_real_cgroup_counts_a_real_process():
    top = cgroups.find_root()
    folder = top / f"evenwatt-test-{os.getpid()}" if top else None
    try:
        folder.mkdir()
    except (OSError, AttributeError) as error:
        pytest.skip(f"needs root and a cgroup v2 that may be written: {error}")
    try:
        with held(SPIN + SAY_AND_WAIT, "0.2") as process:
            (folder / "cgroup.procs").write_text(str(process.pid))
            made = CpuWatch(PROC, top, os.cpu_count())
            made.look()
            go(process)
            await_word(process)
            look = made.look()
            assert look.use[Owner("cgroup", folder.name)] >= 0.15 * S
            go(process)
    finally:
        wait_for(lambda: not cgroups.is_populated(folder), "the cgroup is empty")
        folder.rmdir()


@pytest.mark.parametrize("stat", [b"", b"1", b"1 (a) S", b"1 (a) S x " + b"0 " * 50, b") ("])
def test_a_stat_that_is_none_is_no_process(stat):
    assert parse_stat(1, stat) is None


def test_a_command_may_hold_brackets_and_blanks():
    fields = b"S 7 1 1 0 -1 4194304 0 0 0 0 5 6 7 8 20 0 1 0 4242 1 1"
    process = parse_stat(9, b"9 (a) b (c) " + fields)
    assert (process.command, process.parent, process.start) == ("a) b (c", 7, 4242)
    assert (process.own_ns, process.waited_ns) == (110_000_000, 150_000_000)


@pytest.mark.parametrize("text", ["", "intr 1 2 3 4 5 6 7\n", "cpu  a b c d e f g\n"])
def test_a_machine_that_cannot_tell_its_load_says_so(tmp_path, text):
    (tmp_path / "stat").write_text(text)
    with pytest.raises(ValueError):
        read_busy_ns(tmp_path)


def test_looking_is_what_it_says(watch):
    began = time.thread_time_ns()
    look = watch.look()
    assert 0 < look.cost_ns <= time.thread_time_ns() - began
