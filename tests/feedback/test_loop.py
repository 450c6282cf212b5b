"""The whole loop over eight weeks: decide on a forecast, run, weigh, learn, watch, and see whether it got better."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest

from evenwatt_collector.feedback.actual import used_by_runs
from evenwatt_collector.feedback.counterfactual import Facts, counterfactual
from evenwatt_collector.feedback.guard import BASELINE, Guard
from evenwatt_collector.feedback.learned import Learned
from evenwatt_collector.feedback.weeks import improvement
from tests.feedback.made import DAY, HOUR, T0, came, decision, job, option, run

DAYS, A_DAY, POWER_KW = 56, 4, 2.0
NOW = T0 + DAYS * DAY + 2 * DAY
"""In the ninth week: the last jobs waited for its first day."""


def play(seed, *, stated=0.5, wise=True):
    """Run jobs of two true hours whose owner says one; return outcomes, lessons, the guard, and grams truly saved.

    Args:
        seed: Of everything that happens by chance.
        stated: What the owner says, as a share of the truth.
        wise: Whether the policy looks for the cleanest hours; else for the dirtiest.
    """
    random = np.random.default_rng(seed)
    hours = np.arange(24 * (DAYS + 3))
    truth = 300 + 150 * np.cos(2 * np.pi * (hours - 18) / 24) + 20 * random.standard_normal(len(hours))
    intensities = {"home": came(*truth, pue=1.2)}
    learned, guard, found, true_g = Learned(), Guard(), [], 0.0
    guard.adopt("v1")
    for number in range(DAYS * A_DAY):
        submitted_h = 24 * (number // A_DAY) + 6 * (number % A_DAY)
        seen = truth * (1 + 0.05 * random.standard_normal(len(hours)))
        length_s, known = 2 * HOUR, learned.length("night", stated * 2 * HOUR)
        guess_s = known.value if known else stated * length_s
        ahead = [float(seen[h : h + 2].mean()) for h in range(submitted_h, submitted_h + 24)]
        start_h = submitted_h + int(np.argmin(ahead) if wise else np.argmax(ahead))
        id_ = f"{seed:04x}{number:08x}"
        chosen = guard.choose(id_, pressed=False)
        begins_h = submitted_h if chosen.policy == BASELINE else start_h
        kwh = POWER_KW * guess_s / HOUR * 1.2
        options = []
        for at in (begins_h, submitted_h):
            grams = kwh * float(seen[at : at + 2].mean())
            low, high = learned.interval("night", grams, 0.9 * grams, 1.1 * grams)
            options.append(option(kwh=kwh, grams=grams, low=low, high=high, start_s=T0 + HOUR * at))
        actual_h = length_s / HOUR * exp(0.03 * float(random.standard_normal()))
        made = decision(*options, policy=chosen.policy, version=chosen.version, job=id_)
        record = job(
            run(begins_h, actual_h, POWER_KW * actual_h), id=id_, decision=made, length_s=guess_s,
            submitted_s=T0 + HOUR * submitted_h, deadline_s=T0 + HOUR * (submitted_h + 30),
        )  # fmt: skip
        facts = Facts(stated_length_s=stated * length_s, stated_power_w=1000 * POWER_KW)
        outcome = counterfactual(record, used_by_runs(record), intensities, facts)
        learned.observe(outcome)
        guard.observe(outcome)
        found.append(outcome)
        true_g += 1.2 * POWER_KW * (_under(truth, submitted_h, actual_h) - _under(truth, begins_h, actual_h))
    return found, learned, guard, true_g


def _under(truth, start_h, hours):
    """Return the sum of hourly values from a full hour on."""
    whole = int(hours)
    return truth[start_h : start_h + whole].sum() + (hours - whole) * truth[start_h + whole]


def test_it_saves_gets_better_and_says_so():
    found, learned, guard, _ = play(1)
    said = improvement(found, NOW, weeks=9)
    assert said.total.saved.jobs == DAYS * A_DAY
    total = said.total.saved
    assert total.saved_pct > 20
    assert total.low_pct < total.saved_pct < total.high_pct
    assert total.late == 0
    # Those who drew the lot of a control say the same, without a model.
    assert said.controls.low_pct < total.saved_pct < said.controls.high_pct
    first, last = said.weeks[0].predicted, said.weeks[-2].predicted
    assert first.mape_pct["grams"] > 2 * last.mape_pct["grams"]
    assert last.mape_pct["length"] < 8
    assert said.error_trend["length"].verdict == "falling"
    assert max(first.wrong, key=first.wrong.get) == "length"
    assert learned.length("night", HOUR).value == pytest.approx(2 * HOUR, rel=0.05)
    assert learned.power_w("night", 1000.0).value == pytest.approx(1000, rel=0.05)
    later = improvement(found, NOW, weeks=6).total.predicted
    assert 0.8 <= later.coverage <= 1
    assert guard.active == "v1"


def test_a_policy_that_looks_for_dirty_hours_is_taken_back_and_the_rest_runs_at_once():
    found, _, guard, _ = play(2, wise=False)
    assert guard.active == BASELINE
    first = next(i for i, outcome in enumerate(found) if outcome.version == BASELINE)
    assert first < 60
    assert all(outcome.saved_g == 0 for outcome in found[first:])
    assert "policy v1 was rolled back" in guard.alarm
    assert improvement(found, NOW, weeks=9).total.saved.saved_pct < 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stated", [0.3, 1.0])
def test_what_is_claimed_is_what_would_have_happened(seed, stated):
    """However wrong the predictions were: they have no part in what is claimed."""
    found, _, _, true_g = play(seed, stated=stated)
    said = improvement(found, NOW, weeks=9).total.saved
    assert said.saved_g == pytest.approx(true_g, rel=1e-9)
    assert said.low_g < true_g < said.high_g
