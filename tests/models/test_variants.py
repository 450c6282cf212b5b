"""A service's variant follows its grid: within the owner's bounds, with reasons, and without flapping."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_collector.jobs.spec import JobSpec, Slo
from evenwatt_collector.jobs.spec import Service as ServiceSpec
from evenwatt_collector.models.rules import Ahead
from evenwatt_collector.models.variants import Held, Service, VariantController, service_id, services_of
from evenwatt_wire import Kind, Topic, decode, encode
from evenwatt_wire.messages import Deployments
from tests.models.market import NOW, PIECES, TASK, THREE, market, piece, place, published, variant

COSTS = market(THREE, PIECES)
HOUR = 3600.0
DAY = Ahead(HOUR, tuple(range(100, 580, 20)))
"""24 hours between 100 and 560 g/kWh: median 330, 75 % quantile 445."""
SERVICE = Service(name="labels", task=TASK, min_quality=0.7)
GRAMS = {one.label: p.energy_j / p.units["image"] / 3.6e6 for one, p in zip(THREE, PIECES, strict=True)}
"""Grams a unit at 1 g/kWh."""


def step(controller, g, at_s=NOW, service=SERVICE, ahead=DAY, costs=COSTS, **places):
    said = controller.step(at_s, [service], [place(g=g, **places)], {"hall": ahead} if ahead else {}, costs)
    return said[0] if said else None


def run(series, service=SERVICE, step_s=300.0, ahead=DAY):
    """Return the variant at each step."""
    controller = VariantController()
    return [step(controller, g, NOW + i * step_s, service, ahead).variant for i, g in enumerate(series)]


def changes(variants):
    return sum(a != b for a, b in pairwise(variants))


# --- by the day's own quantiles -----------------------------------------------------------------------------------


def test_a_clean_grid_gives_the_best():
    said = step(VariantController(), 200)
    assert (said.variant, said.zone, said.node, said.since_wall_ms) == ("net:large", "hall", "n1", int(NOW * 1000))
    assert said.g_per_unit == pytest.approx(200 * GRAMS["net:large"])
    assert said.why == "best quality: hall is at 200 g/kWh, below 330; lowered above 445 g/kWh"


def test_a_dirty_grid_lowers_and_a_clean_one_restores():
    variants = run([300, *[500] * 7, *[400] * 7, *[320] * 7], step_s=600)
    assert variants == ["net:large"] * 3 + ["net:small"] * 12 + ["net:large"] * 7


def test_every_decision_says_why_and_what_would_change_it():
    controller = VariantController()
    step(controller, 300)
    lowered = step(controller, 500, NOW + HOUR)
    assert lowered.variant == "net:small"
    assert lowered.why == (
        "lowered: hall is at 500 g/kWh, above 445 (dirtiest quarter of the next 24 h); 75% fewer grams; "
        "restored below 330 g/kWh (their median)"
    )
    assert controller.changes[0].before == "net:large at hall:n1"
    held = step(controller, 400, NOW + 2 * HOUR)
    assert held.why.startswith("still lowered: hall is at 400 g/kWh, not below 330")
    assert held.since_wall_ms == int((NOW + HOUR) * 1000)
    assert controller.changes == []
    restored = step(controller, 300, NOW + 3 * HOUR)
    assert restored.variant == "net:large"
    assert restored.why.startswith("restored: hall is at 300")


def test_never_below_the_owners_bound():
    bounded = Service(name="labels", task=TASK, min_quality=0.8)
    assert run([300, *[900] * 10], bounded, step_s=HOUR)[-1] == "net:medium"


def test_an_owner_without_a_bound_is_never_lowered():
    free = Service(name="labels", task=TASK)
    controller = VariantController()
    assert step(controller, 900, service=free).variant == "net:large"
    assert "no min_quality" in step(controller, 900, NOW + HOUR, free).why


def test_an_even_day_gives_no_reason():
    even = Ahead(HOUR, tuple(300 + i / 10 for i in range(24)))
    assert changes(run([300, 302, 301, 304, 299] * 10, ahead=even, step_s=HOUR)) == 0


def test_without_a_forecast_nothing_is_lowered_and_what_was_is_restored():
    controller = VariantController()
    step(controller, 300)
    assert step(controller, 500, NOW + HOUR).variant == "net:small"
    restored = step(controller, 500, NOW + 2 * HOUR, ahead=None)
    assert restored.variant == "net:large"
    assert "no forecast reaches 6 h" in restored.why
    assert step(controller, 500, NOW + 3 * HOUR, ahead=Ahead(HOUR, (100.0, 500.0))).variant == "net:large"


def test_what_waits_for_its_dwell_says_so():
    controller = VariantController()
    step(controller, 300)
    said = step(controller, 500, NOW + 600)
    assert said.variant == "net:large"
    assert said.why.startswith("net:small at hall:n1 follows in 20 min, since it changed lately: lowered")
    # What was due is not done later if the grid has calmed down meanwhile.
    assert step(controller, 400, NOW + HOUR).variant == "net:large"


# --- by a budget of grams a unit ----------------------------------------------------------------------------------

BUDGET = Service(name="labels", task=TASK, min_quality=0.7, max_g_per_unit=400 * GRAMS["net:medium"])
"""Met by large up to 200 g/kWh, by medium up to 400, by small up to 800."""


def test_the_best_that_keeps_within_the_budget():
    assert run([150, 150, 300, 500, 900, 500, 300, 150], BUDGET, step_s=HOUR) == [
        "net:large", "net:large", "net:medium", "net:small", "net:small", "net:small", "net:medium", "net:large",
    ]  # fmt: skip


def test_the_budgets_reasons():
    controller = VariantController()
    assert "lowered above 200 g/kWh" in step(controller, 150, service=BUDGET).why
    said = step(controller, 300, NOW + HOUR, BUDGET)
    assert said.why.startswith("lowered: at 300 g/kWh net:large weighs")
    assert said.why.endswith("net:large comes back below 190 g/kWh")
    over = step(controller, 900, NOW + 2 * HOUR, BUDGET)
    assert over.why.startswith("over budget: the leanest, net:small")
    assert over.why.endswith("met below 800 g/kWh")


def test_it_begins_within_the_budget():
    assert step(VariantController(), 600, service=BUDGET).variant == "net:small"


def test_what_is_better_and_weighs_less_is_taken_at_once():
    costs = market([variant("a", 0.8), variant("b", 0.9)], [piece("a", 10.0), piece("b", 9.0)])
    service = Service(name="s", task=TASK, min_quality=0.5, max_g_per_unit=1.0)
    controller = VariantController({"s": Held(label="a", zone="hall", node="n1", since_s=0)})
    assert step(controller, 300, service=service, costs=costs).variant == "b"


# --- places, bounds, troubles -------------------------------------------------------------------------------------


def two(g_here, g_there):
    return [place(g=g_here), place("north", "m1", g=g_there)]


MOBILE = market(THREE, [*PIECES, *(piece(p.label, p.energy_j / 100, zone="north", node="m1") for p in PIECES)])


def test_a_service_moves_only_for_a_tenth():
    controller = VariantController()
    ask = {"services": [Service(name="s", task=TASK)], "ahead": {}, "costs": MOBILE}
    assert controller.step(NOW, places=two(300, 310), **ask)[0].zone == "hall"
    assert controller.step(NOW + HOUR, places=two(300, 280), **ask)[0].zone == "hall"
    moved = controller.step(NOW + 2 * HOUR, places=two(300, 260), **ask)[0]
    assert (moved.zone, moved.node) == ("north", "m1")
    assert moved.why.startswith("moved from hall:n1")


def test_it_stays_in_the_zones_and_on_the_nodes_that_it_may():
    controller = VariantController()
    kept = Service(name="s", task=TASK, zones=("hall",), nodes=("n?",))
    assert controller.step(NOW, [kept], two(300, 10), {}, MOBILE)[0].zone == "hall"
    nowhere = Service(name="s", task=TASK, zones=("hall",), nodes=("m*",))
    assert controller.step(NOW, [nowhere], two(300, 10), {}, MOBILE) == []
    assert "no node is heard" in controller.troubles["s"]


def test_a_node_that_is_gone_is_left_at_once():
    controller = VariantController()
    service = Service(name="s", task=TASK)
    controller.step(NOW, [service], two(300, 400), {}, MOBILE)
    said = controller.step(NOW + 60, [service], two(300, 400)[1:], {}, MOBILE)[0]
    assert said.zone == "north"
    assert "net:large at hall:n1 is no longer possible" in said.why


def test_what_breaks_a_bound_is_left_at_once():
    controller = VariantController()
    fast = Service(name="labels", task=TASK, min_quality=0.7, max_latency_s=0.15)
    step(controller, 300, service=fast)
    slow = market(THREE, [piece("net:large", 40.0, seconds=20.0), *PIECES[1:]])
    assert step(controller, 300, NOW + 60, fast, costs=slow).variant == "net:medium"


def test_troubles_are_named_and_end_nothing():
    controller = VariantController()
    services = [Service(name="a", task="sing"), Service(name="b", task=TASK, min_quality=0.99), SERVICE]
    said = controller.step(NOW, services, [place()], {"hall": DAY}, COSTS)
    assert [one.service for one in said] == ["labels"]
    assert "no task 'sing'" in controller.troubles["a"]
    assert "0.09 below the bound of 0.99" in controller.troubles["b"]


def test_a_budget_in_another_unit_is_not_compared():
    controller = VariantController()
    odd = Service(name="labels", task=TASK, min_quality=0.7, max_g_per_unit=1.0, unit="token")
    assert step(controller, 300, service=odd) is None
    assert controller.troubles["labels"] == "its budget is per token, and classify is counted in image"


def test_of_two_services_with_one_id_the_first_is_followed():
    controller = VariantController()
    other = Service(name="labels", task=TASK, min_quality=0.89)
    said = controller.step(NOW, [SERVICE, other], [place(g=900)], {"hall": DAY}, COSTS)
    assert [one.variant for one in said] == ["net:small"]
    assert "2 services have the id labels" in controller.troubles["labels"]


def test_published_figures_are_said_to_be():
    costs = market(THREE, [], rows=[published("net:large", 5.0)])
    assert step(VariantController(), 300, costs=costs).why.startswith("published figures, not measured here;")


def test_what_is_remembered_goes_on():
    controller = VariantController()
    step(controller, 300)
    step(controller, 500, NOW + HOUR)
    again = VariantController(controller.state())
    assert step(again, 400, NOW + 2 * HOUR).variant == "net:small"
    assert again.step(NOW, [], [], {}, COSTS) == []
    assert again.state() == {}


def test_services_of_jobs():
    asked = ServiceSpec(task=TASK, max_g_per_unit=2.0, dwell="5m")
    slo = Slo(min_quality=0.8, max_latency_s=1.5)
    spec = JobSpec(name="Chat, EU", service=asked, zones=["hall"], nodes=["n*"], slo=slo)
    (service,) = services_of([spec, JobSpec(name="batch")])
    assert service == Service(
        name="chat-eu",
        task=TASK,
        min_quality=0.8,
        max_latency_s=1.5,
        zones=("hall",),
        nodes=("n*",),
        max_g_per_unit=2.0,
        unit="request",
        dwell_s=300.0,
    )
    assert service_id("***") == "service"
    assert len(service_id("x" * 200)) == 63


def test_deployments_go_over_the_wire():
    said = VariantController().step(NOW, [SERVICE], [place()], {"hall": DAY}, COSTS)
    message = Deployments(zone="hall", wall_ms=int(NOW * 1000), epoch=1, services=said)
    assert decode(Topic("hall", "_ctl", Kind.DEPLOYMENTS), encode(message)) == message


# --- properties ---------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([SERVICE, BUDGET]), st.sampled_from([190.0, 200.0, 330.0, 400.0, 445.0]))
def test_no_flapping_at_a_noisy_threshold(seed, service, threshold):
    """Noise of 2 % around a threshold, each minute for two hours: one change at the most."""
    noise = random.Random(seed)
    series = [threshold * noise.uniform(0.98, 1.02) for _ in range(120)]
    assert changes(run(series, service, step_s=60)) <= 1


@settings(deadline=None)
@given(st.lists(st.floats(0, 2000), min_size=2, max_size=100), st.sampled_from([SERVICE, BUDGET]))
def test_whatever_the_grid_does_a_change_waits_for_its_dwell(series, service):
    variants = run(series, service, step_s=300)
    at = [i for i in range(1, len(variants)) if variants[i] != variants[i - 1]]
    assert all(b - a >= 6 for a, b in pairwise([0, *at]))


@settings(deadline=None)
@given(st.lists(st.floats(0, 2000), min_size=1, max_size=60), st.floats(0.5, 0.95))
def test_whatever_the_grid_does_the_bound_holds(series, bound):
    controller = VariantController()
    service = Service(name="labels", task=TASK, min_quality=bound)
    quality = {one.label: one.quality.value for one in THREE}
    for i, g in enumerate(series):
        said = step(controller, g, NOW + i * HOUR, service)
        if said is None:
            assert bound > 0.9
            assert "labels" in controller.troubles
        else:
            assert quality[said.variant] >= bound
            assert len(said.why) <= 400
