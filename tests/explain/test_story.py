"""What the collector says about a fleet in a shortage, from the first watt to the pause, to someone new."""

import json
from itertools import pairwise

import pytest

from evenwatt_collector.explain import UnknownNameError
from evenwatt_wire import LeaseInForce
from evenwatt_wire.messages import LeaseState
from tests.collector.said import live
from tests.explain.story import POLICY, WALL_S, Story

WANTS = {
    "demo:web-1": 420.0,
    "demo:gpu-1": 480.0,
    "demo:gpu-2": 485.0,
    "demo:gpu-3": 470.0,
    "lab:lab-1": 300.0,
}


@pytest.fixture(scope="module")
def shortage():
    return Story(WANTS).run(60)


def test_a_node_of_a_class_that_gives_way(shortage):
    answer = shortage.ask("gpu-1")
    reason = answer["reason"]
    assert answer["kind"] == "node"
    assert reason["cause"] == "part"
    assert reason["short"]["zone"] == "demo"
    assert reason["cap_w"] == pytest.approx(shortage.caps["demo:gpu-1"])
    told = shortage.told("gpu-1")
    assert f"gpu-1 may draw {reason['cap_w']:.0f} W, of 600 W that it could use, since 12:00:0" in told
    assert "Why: zone demo has 1,660 W, by its budget_w; 1," in told
    assert "It is sure of the essential 65 % of its demand, as every node is before any gets more; what is left" in told
    assert "goes to nodes of priority 8 first, and this one is of class batch (priority 2, where 9 goes" in told
    assert "the zone's caps are lifted when it draws less than 1,464 W for 30 s" in told
    assert "If it hears nothing for 10 s it keeps its cap" in told


def test_the_past_is_remembered(shortage):
    answer = shortage.ask("gpu-1")
    assert answer["earlier"] == [], "the first second is over too soon to be listed"
    then = shortage.ask("gpu-1", 1)
    assert then["reason"]["cause"] == "brake"
    assert "present use is cut at once" in shortage.told("gpu-1", 1)
    before = shortage.ask("gpu-1", -5)
    assert before["reason"] is None
    assert before["lines"] == [
        "demo:gpu-1: nothing is known of 2026-01-14 11:59:55 UTC; the record begins at 2026-01-14 12:00:01 UTC."
    ]


def test_a_node_in_dry_run(shortage):
    told = shortage.told("lab-1")
    assert told.startswith("lab-1 would be given ")
    assert "its zone is in dry run" in told
    assert "lab:lab-1" not in shortage.caps


def test_a_zone_and_the_zone_around_it(shortage):
    told = shortage.told("demo")
    assert told.startswith("zone demo may draw 1,660 W by its budget_w and is capped since ")
    assert "50 W of it fixed load that no node reports" in told
    assert "It lies in zone site, whose 3,000 W hold as well." in told
    assert "Nodes: 4, " in told
    assert "there is room" in shortage.told("site")


def test_every_line_fits_and_everything_is_plain_data(shortage):
    for name in [*WANTS, "demo", "site", "lab", "gpu-1", "demo:"]:
        answer = shortage.ask(name)
        assert max(map(len, answer["lines"])) <= 80
        json.dumps(answer)


def test_an_unknown_name_is_said_with_those_that_are_known(shortage):
    with pytest.raises(UnknownNameError, match="nothing was decided about 'gpu-9'; known are demo, lab, site, gpu-1"):
        shortage.ask("gpu-9")


def test_two_nodes_of_one_name_are_told_apart():
    story = Story({"demo:n": 100.0, "lab:n": 120.0}).run(2)
    with pytest.raises(UnknownNameError, match="2 nodes are called 'n'; ask for demo:n or lab:n"):
        story.ask("n")
    assert story.ask("lab:n")["reason"]["power_w"] == 120.0
    assert story.ask("demo:n")["reason"]["power_w"] == 100.0


def test_enough_for_all():
    story = Story({"demo:web-1": 120.0, "demo:gpu-1": 110.0}).run(60)
    told = story.told("web-1")
    assert "all that it can use" in told
    assert "no zone around it is short of power" in told


def test_an_event_is_named_while_it_holds_and_what_was_before_is_still_told():
    """At 12:02 the limit falls to 900 W: floors of 400 W and 50 W fixed fit, and batch work gives way."""
    event = Story(WANTS).run(200)
    assert "900 W, by event 'grid request' until 2026-01-14T12:10:00Z; " in event.told("gpu-1")
    assert event.told("demo").startswith("zone demo may draw 900 W by event 'grid request' until")
    assert "zone demo has 1,660 W, by its budget_w; " in event.told("gpu-1", 50)
    on_the_way = event.told("demo", 100)
    assert "by the way down to 900 W for event 'grid request' at 2026-01-14T12:02:00Z" in on_the_way
    times = [earlier["wall_s"] for earlier in event.ask("gpu-1")["earlier"]]
    assert all(earlier - before >= 2.0 for earlier, before in pairwise(times))


def test_since_when_is_since_the_cap_changed_not_since_the_reason_did():
    """gpu-1's cap stays at its floor while the limit falls on through several bounds."""
    story = Story(WANTS, POLICY.replace("budget_w = 1660", "budget_w = 500"))
    story.run(200)
    floor_s = next(second for second in range(1, 200) if _floor(story.ask("gpu-1", second)))
    answer = story.ask("gpu-1")
    told = story.told("gpu-1")
    assert _floor(answer)
    assert f"since 12:00:{floor_s:02}" in told


def _floor(answer):
    return answer["reason"]["cap_w"] <= 120.0


def test_what_a_node_falls_back_to_is_never_above_its_cap():
    told = Story(WANTS, POLICY.replace("budget_w = 1660", "budget_w = 500").replace('on_lost = "hold"', "")).run(60)
    assert "If it hears nothing for 10 s it goes to 100 W." in told.told("gpu-1")


def test_floors_that_do_not_fit_pause_work_and_say_so():
    story = Story(WANTS, POLICY.replace("budget_w = 1660", "budget_w = 400")).run(90)
    assert story.paused
    name = min(story.paused)
    told = story.told(name)
    assert "Paused since 12:0" in told
    assert ": training, which its owner and the policy allow. Caps alone could not keep the zone to its limit" in told
    assert "The limit of 400 W (392 W after the margin) is below what its nodes need at the least, 450 W" in told
    assert "would use up to" not in told
    assert "its work goes on, one node at a time, when zone demo has drawn less than 314 W for 60 s" in told
    assert "demo:web-1" not in story.paused
    answer = story.ask(name)
    assert list(answer["reason"]["paused"]) == ["training"]
    assert answer["reason"]["paused_by_us"]
    zone = story.told("demo")
    assert "is below what its nodes need at the least, 450 W by their floors and fixed load: every node is at" in zone
    assert f"{len(story.paused)} with paused work (gpu-" in zone


def test_a_node_that_went_silent_is_said_to_be():
    story = Story(WANTS).run(30)
    del story.wants["demo:gpu-3"]
    story.run(60)
    told = story.told("gpu-3")
    assert "gone silent" in told or "may draw" in told
    assert story.ask("gpu-3")["reason"]["wall_s"] >= WALL_S + 60


def test_an_operator_s_lease_is_named_with_its_end():
    told = Story({"demo:web-1": 300.0})
    told.run(5)
    lease = LeaseInForce(LeaseState.LEASED, 250.0, 0, 1_790_000_000_000, 60.0)
    told.fleet.on_live("demo", live("web-1", seq=10**6, power_w=240.0, lease=lease), float(told.second))
    told.steering.step(float(told.second), WALL_S + told.second, told.fleet, lambda _zone: True, hurry=True)
    said = told.told("web-1")
    assert "web-1 may draw 250 W" in said
    assert "an operator's lease holds it at 250 W until 12:01:0" in said
    assert told.fleet.find("demo", "web-1").leased_by == "operator"
