"""``evenwatt replay`` from end to end, as a user calls it."""

import json
import re
import subprocess
import sys

import pytest

MEASURES = {
    "over_budget_ws", "worst_overshoot_pct", "seconds_above", "work_lost_pct", "peak_to_average", "ramp_p99_w_per_s",
    "settle_s", "jain", "reversals_per_h", "max_lease_to_budget",
}  # fmt: skip
SMALL = ["--nodes", "12", "--seconds", "20"]


def replay(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "evenwatt_cli", "replay", *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def test_a_document_with_every_rule_and_measure_and_a_page_that_needs_nothing_else(tmp_path):
    page = tmp_path / "page.html"
    done = replay(*SMALL, "-s", "sagging-budget", "-p", "all", "--json", "--html", page, "--fault", "collector@5+5")
    assert done.returncode == 0, done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["name"] == "sagging-budget"
    assert len(scenario["policies"]) == 8
    for measures in scenario["policies"].values():
        assert set(measures) >= MEASURES
    bounds = {name: measures["max_lease_to_budget"] for name, measures in scenario["policies"].items()}
    assert min(bounds, key=bounds.__getitem__) == "evenwatt"
    assert bounds["evenwatt"] < 1.15, "a budget that falls is followed within a second"
    assert scenario["policies"]["uncapped"]["work_lost_pct"] == pytest.approx(0.0, abs=1e-6)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 1
    assert "polca-two-threshold" in text
    assert not re.search(r"(src|href)=", text)


def test_the_same_seed_says_the_same_and_another_does_not():
    def said(seed):
        return replay(*SMALL, "-s", "inference", "--json", "--seed", seed).stdout

    assert said(3) == said(3)
    assert said(3) != said(4)


def test_a_trace_on_a_plant_of_ones_own(tmp_path):
    trace, plant = tmp_path / "my-trace.csv", tmp_path / "sweep.csv"
    trace.write_text("t_s,power_w\n0,100\n5,400\n9,120\n", encoding="utf-8")
    head = "dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power\n"
    plant.write_text(head + "d,n,1,sgd,100,30,99\nd,n,1,sgd,200,10,195\n", encoding="utf-8")
    done = replay(*SMALL, "--trace", trace, "--plant", plant, "--json")
    assert done.returncode == 0, done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    assert scenario["name"] == "my-trace"
    assert scenario["policies"]["evenwatt"]["over_budget_ws"] == 0.0


def test_a_length_in_hours():
    done = replay("--nodes", "10", "--hours", "0.3", "-s", "mixed-priorities", "-p", "evenwatt", "--json")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-s", "nothing"], "--scenario 'nothing': not known; use one of inference"),
        (["-p", "best"], "--policy 'best': not known; use one of evenwatt"),
        (["--fault", "flood@3"], "--fault 'flood@3': not understood; write WHAT@SECOND"),
        (["--trace", "/nowhere.csv"], "/nowhere.csv: No such file"),
        (["--plant", "/nowhere.csv"], "/nowhere.csv: No such file"),
        (["--loss", "2"], "--loss"),
    ],
)
def test_a_wrong_call_is_one_clear_line(arguments, said):
    done = replay(*SMALL, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
