"""Scores by hand, and what must not be possible with any figures: to look better without being better."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evenwatt_collector.report.totals import added
from evenwatt_collector.score.baseline import FLEET_UNIT
from evenwatt_collector.score.freezing import freeze, freeze_fleet
from evenwatt_collector.score.material import Part, Run
from evenwatt_collector.score.scoring import score_fleet, score_part
from tests.feedback.made import outcome
from tests.score.made import figures, kwhs, material, scaled, some_figures, some_zones

BASE = material({"train": {"south": figures(10, 2, units={"image": 1000.0})}})
FROZEN = freeze(BASE, "train", "train", None, [])


def part(of, name="train"):
    return next(one for one in of.parts if one.name == name)


def graded(of, baseline=FROZEN, name="train", **more):
    return score_part(of, part(of, name), baseline, **more)


def one(zones, **more):
    return material({"train": zones}, **more)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_as_good_as_the_baseline_is_a_c_of_50_with_figure_boundary_and_range():
    found = graded(BASE)
    assert found.sci.g_per_unit == pytest.approx((10 * 1.2 * 300 + 200) / 1000)
    assert found.sci.low_g_per_unit < found.sci.g_per_unit < found.sci.high_g_per_unit
    assert (found.grade.points, found.grade.letter) == (pytest.approx(50), "C")
    assert found.grade.low < 50 < found.grade.high
    assert (found.against.name, found.against.version, found.against.digest) == ("train", 1, FROZEN.digest)
    assert "idle" in found.boundary
    assert found.factors_from == ("DE by file (lifecycle, measured)",)
    assert all(factor.ratio == pytest.approx(1) for factor in found.factors)


@pytest.mark.parametrize(("times", "points", "letter"), [(0.25, 100, "A"), (0.5, 75, "A"), (2, 25, "D"), (5, 0, "E")])
def test_points_are_logarithmic(times, points, letter):
    found = graded(one({"south": scaled_grams(figures(10, 2, units={"image": 1000.0}), times)}))
    assert (found.grade.points, found.grade.letter) == (pytest.approx(points, abs=1e-9), letter)


def scaled_grams(whole, times):
    return replace(whole, location_g=whole.location_g * times, embodied_g=whole.embodied_g * times)


def test_each_factor_moves_for_its_own_reason():
    def ratios(figure, zone="south", **more):
        found = graded(one({zone: figure}, **more))
        return {factor.name: factor.ratio for factor in found.factors}

    same = {"units": {"image": 1000.0}}
    base = ratios(figures(10, 2, **same))
    assert base == pytest.approx(dict.fromkeys(base, 1.0))
    thrifty = ratios(figures(5, 1, **same))
    assert thrifty["energy"] == pytest.approx(0.5)
    assert thrifty["timing"] == thrifty["idle"] == pytest.approx(1)
    idler = ratios(figures(16, 8, **same))
    assert (idler["energy"], idler["idle"]) == (pytest.approx(1), pytest.approx(2 / 1.25))
    night = ratios(figures(10, 2, g_per_kwh=150.0, embodied=10.0, **same))
    assert (night["timing"], night["placement"], night["embodied"]) == pytest.approx((0.5, 1, 1))
    moved = material({"train": {"north": figures(10, 2, **same)}, "rest": {"south": figures(1)}})
    found = {factor.name: factor.ratio for factor in graded(moved).factors}
    assert (found["placement"], found["grid"]) == (pytest.approx(120 / 480), pytest.approx(1))


def test_a_cleaner_grid_is_nobodys_merit_and_stands_apart():
    clean = one({"south": figures(10, 2, g_per_kwh=150.0, units={"image": 1000.0}, embodied=10.0)})
    place = replace(clean.places["south"], mean_g_per_kwh=240.0)
    found = {factor.name: factor.ratio for factor in graded(replace(clean, places={"south": place})).factors}
    assert found["grid"] == pytest.approx(0.5)
    assert (found["timing"], found["placement"]) == (pytest.approx(1), pytest.approx(1))


# --- gates ------------------------------------------------------------------------------------------------------------


def test_below_its_bounds_there_is_no_score():
    jobs = tuple(outcome(i, workload="train", quality_ok=i >= 2) for i in range(20))
    found = graded(one({"south": figures(1, 0, units={"image": 1e9})}, outcomes=jobs))
    assert (found.sci, found.grade, found.factors) == (None, None, ())
    assert "18 of 20 jobs kept their bounds; 2 missed quality" in found.why
    late = tuple(outcome(i, workload="train", late=i < 3) for i in range(20))
    assert graded(one({"south": figures(1, units={"image": 1e9})}, outcomes=late)).sci is None
    excused = tuple(outcome(i, workload="train", late=i < 3, counterfactual_late=True) for i in range(20))
    assert graded(one({"south": figures(1, units={"image": 1e9})}, outcomes=excused)).sci is not None


def test_work_that_missed_its_quality_is_no_work_but_its_grams_count():
    jobs = tuple(outcome(i, workload="train", quality_ok=i > 0, units={"image": 10.0}) for i in range(40))
    found = graded(one({"south": figures(10, 2, units={"image": 400.0})}, outcomes=jobs))
    assert found.sci.units == 390
    assert found.sci.g_per_unit == pytest.approx((3600 + 200) / 390)


def test_what_is_not_measured_is_a_b_at_the_most():
    good = figures(1, 0, units={"image": 1000.0})
    assert graded(one({"south": good})).grade.letter == "A"
    blind = graded(one({"south": good}, covered=0.79)).grade
    assert (blind.letter, blind.points) == ("B", 74.0)
    assert "measured coverage is 79%" in blind.capped
    guessed = replace(good, measured_j=0.0, estimated_j=good.energy_j)
    assert graded(one({"south": guessed})).grade.letter == "B"
    assert graded(one({"south": good}, covered=0.8)).grade.letter == "A"
    poor = graded(one({"south": figures(10, 2, units={"image": 1000.0})}, covered=0.5)).grade
    assert (poor.letter, poor.capped) == ("C", "")


def test_without_baseline_or_units_the_reason_is_said():
    found = graded(BASE, None)
    assert found.sci is not None
    assert (found.grade, found.why) == (None, "no baseline of its class is frozen")
    assert all(factor.base is None and factor.actual > 0 for factor in found.factors)
    none = graded(one({"south": figures(1, units={"a": 1.0, "b": 2.0})}), None)
    assert (none.sci, none.why) == (None, "no unit was reported; reported are a, b")
    assert graded(one({"south": figures(1, units={"a": 1.0, "b": 2.0})}), None, unit="b").sci.units == 2


def test_where_only_one_knows_what_devices_weigh_operation_is_compared():
    found = graded(one({"south": figures(10, 2, units={"image": 1000.0}, embodied=None)}))
    assert found.against.compared == "operation"
    assert found.grade.points == pytest.approx(50)
    assert "none configured" in found.boundary


# --- what must hold for any figures -----------------------------------------------------------------------------------


@given(some_zones(), some_zones())
def test_factors_multiply_to_the_total_and_ratios_to_the_ratio(now, then):
    of, before = one(now), one(then)
    known = {all(f.embodied_g is None for f in zones.values()) for zones in (now, then)}
    assume(len(known) == 1)
    frozen = freeze(before, "train", "train", None, [])
    found = graded(of, frozen)
    assert prod(f.actual for f in found.factors) == pytest.approx(found.sci.g_per_unit, rel=1e-9)
    assert prod(f.base for f in found.factors) == pytest.approx(frozen.g_per_unit, rel=1e-9)
    ratio = found.sci.g_per_unit / frozen.g_per_unit
    assert prod(f.ratio for f in found.factors) == pytest.approx(ratio, rel=1e-9)
    points = 50 + sum(f.points for f in found.factors)
    assert found.grade.points == pytest.approx(min(100, max(0, points)), abs=1e-9)


@given(some_figures(), st.floats(1.0001, 50))
def test_more_energy_intensity_or_making_is_never_better(work, times):
    base = graded(one({"south": work}))
    changes = [
        replace(work, **{name: getattr(work, name) * times for name in ("energy_j", "dynamic_j", "idle_j", "site_j",
                         "location_g", "measured_j")}),
        replace(work, location_g=work.location_g * times),
        replace(work, embodied_g=(work.embodied_g or 0.0) * times + 1),
        replace(work, idle_j=work.idle_j * times, energy_j=work.energy_j + work.idle_j * (times - 1),
                measured_j=work.energy_j + work.idle_j * (times - 1),
                location_g=work.location_g * (1 + work.idle_j * (times - 1) / work.energy_j)),
    ]  # fmt: skip
    for change in changes:
        worse = graded(one({"south": change}))
        assert worse.sci.g_per_unit >= base.sci.g_per_unit * (1 - 1e-9)
        if worse.against.compared == base.against.compared:
            assert worse.grade.points <= base.grade.points + 1e-9


@given(some_figures(), st.sampled_from([1e-3, 60.0, 1e6]))
def test_another_unit_of_counting_changes_no_grade(work, times):
    counted = replace(work, units={"image": work.units["image"] * times})
    base = replace(BASE.parts[0].by_zone["south"], units={"image": 1000.0 * times})
    other = graded(one({"south": counted}), freeze(one({"south": base}), "train", "train", None, []))
    found = graded(one({"south": work}))
    assert other.grade.points == pytest.approx(found.grade.points, abs=1e-6)
    for a, b in zip(found.factors, other.factors, strict=True):
        assert a.ratio == pytest.approx(b.ratio, rel=1e-9)


@given(some_zones(), st.floats(0.01, 0.99))
def test_splitting_a_job_over_workloads_of_its_class_changes_nothing(zones, cut):
    frozen = freeze(BASE, "train", "train*", "image", [])
    whole = material({"train": zones})
    halves = material(
        {
            "train-a": {zone: scaled(f, cut) for zone, f in zones.items()},
            "train-b": {zone: scaled(f, 1 - cut) for zone, f in zones.items()},
        }
    )
    a = score_fleet(whole, _fleet(frozen))
    b = score_fleet(halves, _fleet(frozen))
    assert b.sci.g_per_unit == pytest.approx(a.sci.g_per_unit, rel=1e-9)
    assert b.grade.points == pytest.approx(a.grade.points, abs=1e-6)
    # Nor within one workload, whatever the cut: figures are sums.
    twice = material({"train": {zone: added([scaled(f, cut), scaled(f, 1 - cut)]) for zone, f in zones.items()}})
    assert graded(twice).sci.g_per_unit == pytest.approx(graded(whole).sci.g_per_unit, rel=1e-9)


def _fleet(*classes):
    return freeze_fleet(BASE, [], classes)


IDLE = {"south": figures(4, 4, embodied=20.0)}
TWO = material({"serve": {"south": figures(6, 1, units={"request": 500.0})},
                "train": {"south": figures(10, 2, units={"image": 1000.0})}}, IDLE)  # fmt: skip
CLASSES = [freeze(TWO, "train", "train*", None, []), freeze(TWO, "serve", "serve*", None, [])]
FLEET = freeze_fleet(TWO, CLASSES, CLASSES)


def test_the_fleet_as_it_was_is_a_c_and_its_idle_is_in_it():
    found = score_fleet(TWO, FLEET)
    assert found.unit == FLEET_UNIT
    assert found.sci.units == pytest.approx((16 * 1.2 * 300 + 320) / 1000)
    assert found.grade.points == pytest.approx(50)
    assert any("20% of the grams belongs to nobody" in note for note in found.notes)
    assert [pin.name for pin in FLEET.pins] == ["train", "serve"]


def _made(zones):
    """With the making of the devices known: else the first row that knows it changes what is compared."""
    return {zone: replace(f, embodied_g=f.embodied_g or 0.0) for zone, f in zones.items()}


@given(some_zones(), some_zones("request"), kwhs, st.floats(1.01, 20))
def test_idle_never_disappears_from_the_fleet(train, serve, kwh, times):
    parts = {"train": _made(train), "serve": _made(serve)}
    few = score_fleet(material(parts, {"south": figures(kwh, kwh)}), FLEET)
    many = score_fleet(material(parts, {"south": figures(kwh * times, kwh * times)}), FLEET)
    none = score_fleet(material(parts), FLEET)
    assert none.sci.g_per_unit < few.sci.g_per_unit < many.sci.g_per_unit
    assert none.grade.points >= few.grade.points - 1e-9 >= many.grade.points - 2e-9


@given(some_zones(), some_zones("request"), st.sampled_from(["other", "train-2", "serve2", "(no workload)"]))
def test_renaming_work_cannot_hide_it(train, serve, name):
    honest = score_fleet(material({"train": train, "serve": serve}), FLEET)
    renamed = score_fleet(material({name: train, "serve": serve}), FLEET)
    if name == "train-2":  # of the same class
        assert renamed.sci.g_per_unit == pytest.approx(honest.sci.g_per_unit, rel=1e-9)
    else:  # another class counts in other units, so that it is no work there
        assert renamed.grams == pytest.approx(honest.grams, rel=1e-9)
        assert renamed.grade is None or renamed.grade.points <= honest.grade.points + 1e-9
        assert any("work that no frozen class counts" in note for note in renamed.notes)


@given(some_zones(), some_zones("request"), st.floats(0.01, 0.99))
def test_moving_energy_to_another_workload_changes_nothing_for_the_fleet(train, serve, moved):
    """Not even when the units stay: whoever it is booked to, it is the fleet's."""
    without = {zone: replace(f, units={}) for zone, f in train.items()}
    given_up = {zone: added([f, scaled(without[zone], -moved)]) for zone, f in train.items()}
    taken = {
        zone: added(
            [*([serve[zone]] if zone in serve else []), *([scaled(without[zone], moved)] if zone in train else [])]
        )
        for zone in {*train, *serve}
    }
    before = score_fleet(material({"train": train, "serve": serve}), FLEET)
    after = score_fleet(material({"train": given_up, "serve": taken}), FLEET)
    assert after.sci.g_per_unit == pytest.approx(before.sci.g_per_unit, rel=1e-6)


@given(st.lists(st.tuples(kwhs, st.floats(0.1, 1e4)), min_size=2, max_size=8), st.floats(1.5, 100))
def test_bad_runs_cannot_be_dropped_and_outliers_not_hidden(runs, times):
    """A run that failed, counting nothing, raises the figure by all of its grams; a worse one by all it is worse."""
    good = added([figures(kwh, units={"image": n}) for kwh, n in runs])
    base = graded(one({"south": good}))
    failed = graded(one({"south": added([good, figures(runs[0][0])])}))
    assert failed.sci.g_per_unit > base.sci.g_per_unit
    kwh, n = runs[0]
    worse = added([figures(kwh * times, units={"image": n}), *(figures(k, units={"image": u}) for k, u in runs[1:])])
    more_g = (figures(kwh * times).location_g + 20 * kwh * times) - (figures(kwh).location_g + 20 * kwh)
    found = graded(one({"south": worse}))
    units = sum(u for _, u in runs)
    assert found.sci.g_per_unit - base.sci.g_per_unit == pytest.approx(more_g / units, rel=1e-6)


def test_the_worst_run_is_named():
    every = (
        Run(name="n1:good", grams=100.0, units={"image": 100.0}),
        Run(name="n1:bad", grams=300.0, units={"image": 30.0}),
        Run(name="n1:failed", grams=60.0, units={}),
    )
    found = graded(replace(BASE, runs={"train": every})).runs
    assert (found.count, found.without_units, found.without_units_g) == (3, 1, 60.0)
    assert found.worst == "n1:bad"
    assert found.worst_ratio == pytest.approx(10 / (460 / 130))


def test_a_workload_below_its_bounds_does_no_work_for_the_fleet():
    jobs = tuple(outcome(i, workload="train", quality_ok=False) for i in range(4))
    found = score_fleet(replace(TWO, outcomes=jobs), FLEET)
    assert found.sci.units == pytest.approx((6 * 1.2 * 300 + 120) / 1000)
    assert found.grade.points < 40


def test_a_fleet_in_one_unit_and_one_without_baseline():
    assert score_fleet(TWO, FLEET, "image").sci.units == 1000
    assert score_fleet(TWO, FLEET, "image").grade is None
    loose = score_fleet(TWO, None, None, CLASSES)
    assert loose.sci.g_per_unit == pytest.approx(1250)  # a quarter more than the work itself: idle
    assert loose.grade is None
    assert "no work of a frozen class" in score_fleet(TWO, None).why


def test_zones_that_are_gone_and_new_ones():
    both = material(
        {"train": {"north": figures(5, 1, units={"image": 500.0}), "south": figures(5, 1, units={"image": 500.0})}}
    )
    frozen = freeze(both, "train", "train", None, [])
    found = graded(BASE, frozen)
    assert any("zones of the reference mix that are gone" in note and "north" in note for note in found.notes)
    assert prod(f.ratio for f in found.factors) == pytest.approx(found.sci.g_per_unit / frozen.g_per_unit, rel=1e-9)
    assert isinstance(graded(one({"moon": figures(5, units={"image": 9.0})}), frozen).factors, tuple)
    assert Part(name="x", by_zone={}).units == {}
