"""The least grams now within every bound, and why not the others."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.carbon.series import Standing
from evenwatt_collector.models.choice import Question, choose
from evenwatt_collector.models.costs import Origin
from evenwatt_collector.models.measured import LATENCY
from evenwatt_collector.models.registry import DeviceKind
from evenwatt_daemon import Failure
from tests.models.market import KIND, NOW, PIECES, TASK, THREE, market, piece, place, published, variant


def ask(costs, places, **bounds):
    return choose(Question(task=TASK, **bounds), costs, places, NOW)


def reasons(choice):
    return {(one.label, one.reason) for one in choice.against}


def test_grams_are_joules_by_pue_by_intensity():
    choice = ask(market(THREE, PIECES), [place(g=360.0, pue=1.25)], min_quality=0.8)
    assert choice.chosen.label == "net:medium"
    assert choice.chosen.g_per_unit == pytest.approx(20.0 / 3.6e6 * 1.25 * 360.0)
    assert choice.runner_up.label == "net:large"
    assert reasons(choice) == {("net:large", "more grams"), ("net:small", "quality")}
    words = {one.label: one.words for one in choice.against}
    assert words["net:small"] == "top-1 0.75 is 0.05 below the bound of 0.8"
    assert "(+100%)" in words["net:large"]


def test_the_clean_zone_wins_over_the_thrifty_node():
    pieces = [piece("net", 10.0), piece("net", 20.0, zone="north", node="m1")]
    choice = ask(market([variant("net", 0.9)], pieces), [place(g=400), place("north", "m1", g=50)])
    assert (choice.chosen.zone, choice.chosen.node) == ("north", "m1")
    assert choice.clear


def test_ranges_that_overlap_are_said_to():
    costs = market([variant("a", 0.9), variant("b", 0.9)], [piece("a", 10.0), piece("b", 10.5)])
    assert not ask(costs, [place()]).clear


def test_equal_grams_go_to_the_better_quality():
    costs = market([variant("a", 0.8), variant("b", 0.9)], [piece("a", 10.0), piece("b", 10.0)])
    assert ask(costs, [place()]).chosen.label == "b"


def test_latency_as_counted_and_as_estimated():
    pieces = [piece("net:large", 40.0), piece("net:small", 10.0, units=100.0)]
    counted = replace(pieces[0], units={"image": 100.0, LATENCY: 5.0})
    costs = market(THREE, [counted, pieces[1]])
    choice = ask(costs, [place()], max_latency_s=0.06)
    assert choice.chosen.label == "net:large"
    assert choice.chosen.cost.latency_measured
    words = {one.label: one.words for one in choice.against}
    assert words["net:small"] == "takes 0.1 s (estimated), 0.04 s more than the bound of 0.06 s"


def test_what_no_variant_meets_is_said_with_its_distance():
    costs = market(THREE, PIECES)
    assert ask(costs, [place()], min_quality=0.95).unmet == [
        "quality: net:large comes nearest: top-1 0.9 is 0.05 below the bound of 0.95"
    ]
    late = ask(costs, [place()], min_quality=0.8, max_latency_s=0.04).unmet
    assert late[0].startswith("latency: net:large on hall:n1 is the fastest, of those with the quality asked for (0.8)")
    assert "0.06 s more than the bound" in late[0]
    assert ask(costs, [], min_quality=0.8).unmet[0].startswith("no node: net:large: no node is heard")
    assert "nodes are heard in hall" in ask(costs, [place()], where=("north",)).unmet[0]
    assert ask(market(THREE, []), [place()]).unmet[0].startswith("unmeasured: net:large")


def test_a_silent_node_is_no_place():
    assert ask(market(THREE, PIECES), [place(alive=False)]).chosen is None


def test_measured_stands_before_published_and_says_what_it_passes_over():
    costs = market(THREE, PIECES[:1], rows=[published("net:small", 1.0)])
    choice = ask(costs, [place()])
    assert choice.chosen.label == "net:large"
    passed = next(one for one in choice.against if one.label == "net:small")
    assert passed.reason == "published"
    assert "less per image" in passed.words


def test_published_decides_where_nothing_measured_will_do_and_says_so():
    costs = market(THREE, PIECES[:1], rows=[published("net:small", 1.0, latency_s=0.01)])
    choice = ask(costs, [place()], max_latency_s=0.05)
    assert choice.chosen.label == "net:small"
    assert choice.chosen.cost.origin is Origin.PUBLISHED
    assert "published elsewhere" in choice.chosen.cost.caveats[0]


def test_a_node_without_figures_takes_those_of_its_kind():
    costs = market(THREE, PIECES, devices=[KIND])
    choice = ask(costs, [place(node="n2")])
    assert choice.chosen.cost.origin is Origin.KIND
    assert choice.chosen.price_per_unit == pytest.approx(0.36 / 3600 / 10)
    assert reasons(ask(market(THREE, PIECES), [place(node="n2")])) == {(one.label, "unmeasured") for one in THREE}


def test_memory_and_devices():
    big = DeviceKind(name="big", nodes=["hall:g*"], memory_gb=80)
    variants = [variant("net:large", 0.9, memory_gb=40), variant("net:small", 0.7, devices=["big"])]
    costs = market(variants, [], devices=[KIND, big], rows=[published("net:large", 9.0), published("net:small", 5.0)])
    choice = ask(costs, [place(node="n1"), place(node="g1")])
    assert (choice.chosen.label, choice.chosen.node) == ("net:small", "g1")
    assert {("net:large", "memory"), ("net:small", "device")} <= reasons(choice)


def test_a_published_figure_of_another_device_does_not_count():
    costs = market([variant("a", 0.9)], [], devices=[KIND], rows=[published("a", 5.0, device="h100")])
    assert ask(costs, [place()]).chosen is None


def test_qualities_that_cannot_be_compared_have_to_be_named():
    costs = market([variant("a", 0.9), variant("b", 70.0, metric="mmlu")], [piece("a", 1.0), piece("b", 1.0)])
    with pytest.raises(Failure, match="name one with --metric"):
        ask(costs, [place()], min_quality=0.5)
    assert ask(costs, [place()], min_quality=60, metric="mmlu").chosen.label == "b"
    with pytest.raises(Failure, match="stated are mmlu, top-1"):
        ask(costs, [place()], min_quality=0.5, metric="bleu")


def test_where_less_is_better_the_bound_is_the_most():
    speech = [variant("a", 0.05, metric="wer", better="lower"), variant("b", 0.09, metric="wer", better="lower")]
    choice = ask(market(speech, [piece("a", 9.0), piece("b", 1.0)]), [place()], min_quality=0.06)
    assert choice.chosen.label == "a"
    assert "wer 0.09 is 0.03 above the bound" in choice.against[0].words


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(Failure, match="did you mean 'classify'"):
        choose(Question(task="clasify"), market(THREE, PIECES), [place()], NOW)


def test_few_and_stale_pieces_are_said():
    costs = market(THREE, [piece("net:small", 9.0, end_s=NOW - 40 * 86_400, metered_j=0.0)])
    caveats = ask(costs, [place()]).chosen.cost.caveats
    assert any("1 piece of work" in one for one in caveats)
    assert any("stale: last ran 40 days ago" in one for one in caveats)
    assert any("100% of its energy is estimated" in one for one in caveats)


def test_what_is_the_same_on_many_nodes_is_said_once():
    places = [place(), *(place(node=f"x{i}") for i in range(50))]
    against = ask(market(THREE, PIECES), places).against
    assert [(one.label, one.where, one.nodes) for one in against if one.reason == "unmeasured"] == [
        (label.label, "hall", 50) for label in THREE
    ]


def test_an_answer_travels_as_json():
    choice = ask(market(THREE, PIECES), [place()], min_quality=0.8)
    assert msgspec.json.decode(msgspec.json.encode(choice))["chosen"]["label"] == "net:medium"


# --- properties ---------------------------------------------------------------------------------------------------

rates = st.floats(0.01, 1e4)
figures = st.lists(
    st.tuples(st.floats(0, 1), rates, st.sampled_from(["n1", "n2"]), st.booleans()), min_size=1, max_size=6
)
grids = st.tuples(st.floats(0, 1500), st.floats(0, 1500))


def some_market(made):
    variants = [variant(f"m{i}", quality) for i, (quality, *_) in enumerate(made)]
    pieces = [piece(f"m{i}", j, node=node) for i, (_, j, node, measured) in enumerate(made) if measured]
    rows = [published(f"m{i}", j) for i, (_, j, _, measured) in enumerate(made) if not measured]
    return market(variants, pieces, rows=rows)


def two_places(grid):
    return [place(node="n1", g=grid[0]), place(zone="north", node="n2", g=grid[1], standing=Standing.FALLBACK)]


@settings(deadline=None)
@given(figures, grids, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_bound_never_lowers_the_quality(made, grid, one, other):
    costs, low, high = some_market(made), *sorted((one, other))
    before = ask(costs, two_places(grid), min_quality=low).chosen
    after = ask(costs, two_places(grid), min_quality=high).chosen
    if after is not None:
        assert before is not None
        assert after.quality >= before.quality or after.quality >= high > before.quality
        assert after.quality >= high
    if before is not None and before.quality >= high:
        assert after == before


@settings(deadline=None)
@given(figures, grids, grids)
def test_a_cleaner_grid_never_raises_the_grams(made, one, other):
    clean = tuple(min(pair) for pair in zip(one, other, strict=True))
    costs = some_market(made)
    before, after = (ask(costs, two_places(grid)).chosen for grid in (one, clean))
    if before is not None:
        assert after.g_per_unit <= before.g_per_unit * (1 + 1e-12)


@settings(deadline=None)
@given(figures, grids)
def test_nothing_of_its_rank_weighs_less_than_what_is_chosen(made, grid):
    choice = ask(some_market(made), two_places(grid))
    for one in choice.against:
        if one.reason == "more grams":
            assert one.g_per_unit >= choice.chosen.g_per_unit
