"""``evenwatt advise`` against a server that speaks the API, and against nobody; where it waits, as a process."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from evenwatt_cli.main import entry
from tests.bridges.grid_server import NAN, GridServer
from tests.support import free_port, process, wait_for

EVENWATT = Path(sys.executable).with_name("evenwatt")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def grid():
    made = GridServer([])
    made.shift_to(6)
    with made.serving():
        yield made


@pytest.fixture
def advise(grid, tmp_path, monkeypatch, capsys):
    """Run the command's own entry in this process; return exit code, output and errors."""

    def run(*arguments, url=None):
        settings = tmp_path / "operator.toml"
        settings.write_text(f'zone = "here"\ncollector_url = "{url or grid.url}"\n')
        monkeypatch.setenv("EVENWATT_CONFIG", str(settings))
        monkeypatch.setattr(sys, "argv", ["evenwatt", "advise", *arguments])
        with pytest.raises(SystemExit) as ended:
            entry()
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_wait_is_exit_code_10_and_a_plain_line(advise, grid):
    done = advise("--length", "2h", "--deadline", "+12h")
    assert done.returncode == 10
    assert re.match(r"start at \d\d:\d\d \(in (2 h 59 min|3 h)\): saves 75 %, 300 g of 400 g\n", done.stdout)
    assert "in a loop give a moment, or --since FILE" in done.stderr
    assert grid.asked[0]["zones"] == ["here"]


def test_now_is_exit_code_0(advise, grid):
    grid.shift_to(0)
    done = advise("--length", "2h", "--deadline", "2099-01-01T00:00:00Z")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("start now\n")


def test_json_is_one_document(advise, grid):
    done = advise("--length", "2h", "--deadline", "+12h", "--json", "--interruptible", "--zones", "here,there")
    said = json.loads(done.stdout)
    assert done.returncode == 10
    assert said["start_now"] is False
    assert said["advised"] is True
    assert abs(said["start_s"] - grid.start_s - 3 * 3600) < 2
    assert said["saved_pct"] == pytest.approx(75)
    assert grid.asked[0]["interruptible"]
    assert grid.asked[0]["zones"] == ["here", "there"]


def test_at_exit_nothing_is_printed(advise):
    done = advise("--length", "2h", "--deadline", "+12h", "--at-exit")
    assert (done.returncode, done.stdout, done.stderr) == (10, "", "")


@pytest.mark.parametrize(
    "answer", [(500, {"error": "broken"}), (200, b"<html>"), (422, {"error": "no zone"}), NAN, None]
)
def test_without_advice_it_says_so_and_the_work_starts(advise, grid, answer):
    grid.broken = answer
    done = advise("--length", "2h", "--deadline", "+12h", url=None if answer else f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 0
    assert "start now; nobody advised" in done.stdout
    assert "work comes first" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--length", "2x", "--deadline", "+8h"], "--length '2x'"),
        (["--length", "2h", "--deadline", "tomorrow"], "--deadline 'tomorrow'"),
        (["--length", "2h", "--deadline", "+8h", "--earliest", "+7h"], "end after --deadline"),
        (["--length", "2h", "--deadline", "+8h", "--", "true"], "--sleep"),
        (["--length", "2h", "--deadline", "+8h", "--sleep", "--json", "--", "true"], "leave one of them out"),
        (["--length", "2h", "--deadline", "+8h", "--since", "/nowhere/file"], "--since /nowhere/file"),
        (["--length", "2h", "--deadline", "+8h", "--every", "never"], "--every 'never'"),
    ],
)
def test_a_wrong_call_is_exit_code_2_and_one_line(advise, arguments, said):
    done = advise(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_since_counts_from_the_file_and_makes_it(advise, grid, tmp_path):
    stamp = tmp_path / "begun"
    arguments = ["--length", "2h", "--deadline", "+12h", "--since", str(stamp), "--json"]
    first = json.loads(advise(*arguments).stdout)
    begun = time.time() - 9 * 3600
    os.utime(stamp, (begun, begun))
    later = json.loads(advise(*arguments).stdout)
    assert abs(later["deadline_s"] - begun - 12 * 3600) < 1
    assert first["deadline_s"] - later["deadline_s"] > 8 * 3600
    begun = time.time() - 10 * 3600
    os.utime(stamp, (begun, begun))
    assert advise(*arguments, "--at-exit").returncode == 0


def test_a_time_of_day_is_the_next_one(advise):
    said = json.loads(advise("--length", "1m", "--deadline", "07:00", "--json").stdout)
    moment = datetime.fromtimestamp(said["deadline_s"]).astimezone()
    assert (moment.hour, moment.minute) == (7, 0)
    assert 0 < said["deadline_s"] - time.time() <= 86400


def start(grid, tmp_path, *arguments, log="log"):
    settings = tmp_path / "operator.toml"
    settings.write_text(f'zone = "here"\ncollector_url = "{grid if isinstance(grid, str) else grid.url}"\n')
    environment = {"EVENWATT_CONFIG": str(settings)}
    return process([EVENWATT, "advise", "--sleep", *arguments], tmp_path / log, **environment)


def test_it_sleeps_asks_again_and_becomes_the_command(grid, tmp_path):
    work = ["sh", "-c", f"echo done > {tmp_path}/out; exit 7"]
    with start(grid, tmp_path, "--length", "2h", "--deadline", "+12h", "--every", "0.2s", "--", *work) as waiting:
        wait_for(lambda: len(grid.asked) >= 2, "it asks again")
        assert waiting.poll() is None
        assert not (tmp_path / "out").exists()
        grid.shift_to(0)
        assert waiting.wait(60) == 7
    assert (tmp_path / "out").read_text() == "done\n"
    log = (tmp_path / "log").read_text()
    assert log.count("start at ") == 1  # the same answer is said once
    assert "start now" in log


def test_with_little_time_left_it_starts(grid, tmp_path):
    with start(grid, tmp_path, "--length", "2h", "--deadline", "+7203s", "--", "echo", "worked") as waiting:
        assert waiting.wait(60) == 0
    assert "worked" in (tmp_path / "log").read_text()


def test_while_the_collector_is_away_the_latest_advice_holds(grid, tmp_path):
    with start(grid, tmp_path, "--length", "2h", "--deadline", "+12h", "--every", "0.2s", "--", "true") as waiting:
        wait_for(lambda: len(grid.asked) >= 1, "it asks")
        grid.broken = (503, {"error": "restarting"})
        wait_for(lambda: "503" in (tmp_path / "log").read_text(), "the trouble is said")
        assert waiting.poll() is None
        grid.broken = None
        grid.shift_to(0)
        assert waiting.wait(60) == 0


def test_with_nobody_to_ask_it_starts_in_time(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    with start(url, tmp_path, "--length", "2h", "--deadline", "+12h", "--", "echo", "worked") as waiting:
        assert waiting.wait(60) == 0
    assert "worked" in (tmp_path / "log").read_text()


def test_a_command_that_is_not_there_is_said(grid, tmp_path):
    grid.shift_to(0)
    with start(grid, tmp_path, "--length", "2h", "--deadline", "+12h", "--", "no-such-program") as waiting:
        assert waiting.wait(60) == 127
    assert "no-such-program" in (tmp_path / "log").read_text()
