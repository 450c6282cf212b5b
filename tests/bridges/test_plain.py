"""The recipes for cron, systemd and a plain shell: their own lines are run, with the real command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bridges.grid_server import GridServer
from tests.bridges.loading import BRIDGES
from tests.support import free_port, need, wait_for

PLAIN = BRIDGES / "plain"
EVENWATT = Path(sys.executable).with_name("evenwatt")
UNITS = [*sorted(PLAIN.glob("*.service")), *sorted(PLAIN.glob("*.timer")), BRIDGES / "slurm" / "evenwatt-slurm.service"]


@pytest.fixture
def grid():
    made = GridServer([])
    made.shift_to(6)
    with made.serving():
        yield made


@pytest.fixture
def environment(grid, tmp_path):
    settings = tmp_path / "operator.toml"
    settings.write_text(f'zone = "here"\ncollector_url = "{grid.url}"\n')
    return {
        **os.environ, "EVENWATT_CONFIG": str(settings), "PATH": f"{EVENWATT.parent}:{os.environ['PATH']}",
        "EVENWATT_EVERY": "1", "TZ": "UTC",
    }  # fmt: skip


def unreachable(tmp_path):
    (tmp_path / "operator.toml").write_text(f'collector_url = "http://127.0.0.1:{free_port()}"\n')


def lines_of(unit, key):
    return re.findall(rf"^{key}=(.*)$", (PLAIN / unit).read_text(), re.MULTILINE)


# --- a plain shell --------------------------------------------------------------------------------------------------


def test_the_loop_waits_and_then_runs_the_command(grid, environment, tmp_path):
    with subprocess.Popen(
        [PLAIN / "until-clean", "2h", "+12h", "sh", "-c", f"touch {tmp_path}/done; exit 3"], env=environment
    ) as loop:
        wait_for(lambda: len(grid.asked) >= 2, "it asks again")
        assert not (tmp_path / "done").exists()
        deadlines = {asked["deadline"] for asked in grid.asked}
        assert len(deadlines) == 1  # +12h counts from the beginning of the wait
        grid.shift_to(0)
        assert loop.wait(60) == 3
    assert (tmp_path / "done").exists()


def test_the_loop_ends_on_any_trouble(environment, tmp_path):
    unreachable(tmp_path)
    for length in ("2h", "nonsense"):
        done = subprocess.run([PLAIN / "until-clean", length, "+12h", "echo", "worked"], env=environment,
                              capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "worked")


# --- cron -----------------------------------------------------------------------------------------------------------


def test_the_line_of_the_crontab(grid, environment, tmp_path):
    (line,) = [text for text in (PLAIN / "clean-hours.crontab").read_text().splitlines() if text[:1].isdigit()]
    fields = line.split(maxsplit=5)
    assert "%" not in fields[5]  # cron would make it a new line
    work = tmp_path / "backup"
    work.write_text(f"#!/bin/sh\ntouch {tmp_path}/done\n")
    work.chmod(0o755)
    command = fields[5].replace("/usr/local/bin/backup", str(work)).replace("/tmp/backup.lock", f"{tmp_path}/lock")
    grid.shift_to(0)
    done = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")  # cron mails whatever is said
    assert (tmp_path / "done").exists()


# --- systemd --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong(unit, tmp_path):
    need(shutil.which("systemd-analyze"), "systemd-analyze", "systemd")
    for path in UNITS:
        text = re.sub(r"/opt/evenwatt/bin/[\w-]+|/usr/local/bin/[\w-]+", "/bin/true", path.read_text())
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / unit.name],
                          capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "clean-" in line or "evenwatt" in line] == []


def as_systemd(line, state):
    """Return the command of an Exec line, with systemd's own replacements."""
    words = shlex.split(line.removeprefix("-"))
    return [
        word.replace("%S", str(state)).replace("$$", "$").replace("/opt/evenwatt/bin/evenwatt", str(EVENWATT))
        for word in words
    ]


def condition(environment, state):
    """Run ExecCondition; return its exit code: 0 runs the unit, 1 to 254 skip it without a failure."""
    (line,) = lines_of("clean-index.service", "ExecCondition")
    return subprocess.run(
        as_systemd(line, state), env=environment, capture_output=True, check=False, timeout=60
    ).returncode


def test_the_condition_skips_until_it_is_time_and_again_after_the_work(grid, environment, tmp_path):
    (tmp_path / "clean-index").mkdir()  # StateDirectory
    stamp = tmp_path / "clean-index" / "done"
    assert condition(environment, tmp_path) == 1  # the first run: 20 h after the first question
    day_ago = time.time() - 21 * 3600
    os.utime(stamp, (day_ago, day_ago))
    assert condition(environment, tmp_path) == 1  # the clean hour comes in 3 h, the deadline in 7
    grid.shift_to(0)
    assert condition(environment, tmp_path) == 0
    (touch,) = lines_of("clean-index.service", "ExecStartPost")
    subprocess.run(as_systemd(touch, tmp_path), check=True)
    assert condition(environment, tmp_path) == 1


def test_the_condition_does_not_let_the_work_lie(environment, tmp_path):
    (tmp_path / "clean-index").mkdir()
    stamp = tmp_path / "clean-index" / "done"
    stamp.touch()
    for hours in (27.4, 100):  # what would be too late by the next question is now; the grid is dirty
        past = time.time() - hours * 3600
        os.utime(stamp, (past, past))
        assert condition(environment, tmp_path) == 0
    unreachable(tmp_path)
    past = time.time() - 21 * 3600
    os.utime(stamp, (past, past))
    assert condition(environment, tmp_path) == 0
    assert condition(environment, tmp_path / "no-state-directory") == 0  # a fault of the call is no reason to skip


def test_what_waits_before_the_work_ends_when_it_is_clean(grid, environment, tmp_path):
    (line,) = lines_of("clean-backup.service", "ExecStartPre")
    assert line.startswith("-")  # whatever it says, the work starts
    assert lines_of("clean-backup.service", "TimeoutStartSec") == ["infinity"]
    grid.shift_to(0)
    subprocess.run(as_systemd(line, tmp_path), env=environment, check=True, capture_output=True, timeout=60)
