"""Hot reload on a real disk, and the verbs."""

import json
import os
import subprocess
import sys

import pytest

from evenwatt_collector.policy import Watcher
from evenwatt_daemon import Failure
from tests.policy.texts import limit_override

GOOD = '[[zones]]\nname = "site"\nbudget_w = {}\n'
NOW = 1_768_392_000.0


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(GOOD.format(5000))
    return file


def site_w(watcher):
    return watcher.rules.limits(NOW)["site"].budget_w


def test_a_change_takes_effect(path):
    watcher = Watcher(path)
    assert not watcher.poll()
    path.write_text(GOOD.format(4000))
    assert watcher.poll()
    assert site_w(watcher) == 4000
    assert not watcher.poll()


def test_a_change_of_the_same_size_at_the_same_time_is_seen(path):
    watcher = Watcher(path)
    about = path.stat()
    path.write_text(GOOD.format(4000))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert watcher.poll()
    assert site_w(watcher) == 4000


def test_a_broken_change_is_refused_and_the_policy_before_stays(path):
    watcher = Watcher(path)
    path.write_text(GOOD.format('"much"'))
    assert not watcher.poll()
    assert site_w(watcher) == 5000
    assert ':3: zones[0].budget_w: found "much", expected a number' in watcher.trouble
    assert "the policy before it stays in force" in watcher.trouble
    path.write_text(GOOD.format(5000))
    assert not watcher.poll()
    assert watcher.trouble is None


def test_a_policy_that_is_taken_away_stays_in_force(path):
    watcher = Watcher(path)
    path.unlink()
    assert not watcher.poll()
    assert "no such file" in watcher.trouble
    assert site_w(watcher) == 5000


def test_a_wrong_policy_at_the_start_is_a_failure(path):
    path.write_text("zones = 3")
    with pytest.raises(Failure, match="write \\[\\[zones\\]\\]"):
        Watcher(path)


def test_a_policy_that_changes_keeps_its_overrides_and_carbon_limits(path):
    watcher = Watcher(path)
    watcher.rules.set_overrides([limit_override("site", 100, NOW, NOW + 600)])
    watcher.rules.set_carbon("site", 50.0)
    path.write_text(GOOD.format(4000) + "carbon = { grams_per_day = 5 }\n")
    assert watcher.poll()
    assert site_w(watcher) == 50
    watcher.rules.set_carbon("site", None)
    assert site_w(watcher) == 100
    watcher.rules.set_overrides([])
    assert site_w(watcher) == 4000


class TestVerbs:
    def run(self, *arguments):
        command = [sys.executable, "-m", "evenwatt_cli", "policy", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_check_says_what_holds(self, path):
        path.write_text(
            GOOD.format(5000)
            + '[[zones.schedule]]\nfrom = "00:00"\nto = "24:00"\nbudget_w = 4000\nwhy = "low tariff"\n'
        )
        said = self.run("check", path, "--at", "2026-01-14T12:00:00Z")
        assert said.returncode == 0, said.stderr
        assert "zone site: 4000 W, by its schedule, 00:00 to 24:00 UTC (low tariff)" in said.stdout
        document = json.loads(self.run("check", path, "--json").stdout)
        assert document["ok"]
        assert [bound["budget_w"] for bound in document["zones"][0]["bounds"]] == [4000, 5000]

    def test_check_lists_problems_and_exits_with_2(self, path):
        path.write_text("dry_run = 1\n" + GOOD.format(-1))
        said = self.run("check", path)
        assert said.returncode == 2
        assert said.stdout.splitlines() == [
            f"{path}:1: dry_run: found 1, expected true or false",
            f"{path}:4: zones[0].budget_w: found -1, expected a number >= 0.0",
            f"{path}: 2 errors; a collector would not take it",
        ]
        document = json.loads(self.run("check", path, "--json").stdout)
        assert [problem["line"] for problem in document["problems"]] == [1, 4]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["site"], "say one of --budget W (of a zone), --cap W and --pause (of a node), and --cancel"),
            (["site", "--budget", 5, "--cancel"], "say one of"),
            (["site", "--budget", 5, "--for", "25h"], "lasts 10s to 24h"),
            (["site", "--budget", 5, "--for", "soon"], "not a duration"),
            (["gpu-1", "--cap", 5], "no token: set token_file"),
        ],
    )
    def test_a_wrong_call_is_one_line_and_exit_2(self, path, arguments, said):
        (path.parent / "operator.toml").write_text("")
        result = self.run("override", *arguments, "--config", path.parent / "operator.toml")
        assert result.returncode == 2
        assert said in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
