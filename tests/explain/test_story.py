"""What the collector says about a fleet in a shortage, from the first watt to the pause, to someone new."""

import json

import pytest

from evenwatt_collector.explain import UnknownNameError
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
    assert "Why: zone demo has 1,600 W, by its budget_w; 1,5" in told
    assert "what is left after that goes to nodes of priority 8 first." in told
    assert "the zone's caps are lifted when it draws less than 1,411 W for 30 s" in told
    assert "If it hears nothing any more it keeps its cap" in told


def test_the_past_is_remembered(shortage):
    answer = shortage.ask("gpu-1")
    assert [earlier["cause"] for earlier in answer["earlier"]] == ["brake"]
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
    assert told.startswith("zone demo may draw 1,600 W by its budget_w, cap since ")
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
    assert "zone demo has 1,600 W, by its budget_w; " in event.told("gpu-1", 50)


def test_floors_that_do_not_fit_pause_work_and_say_so():
    story = Story(WANTS, POLICY.replace("budget_w = 1600", "budget_w = 400")).run(90)
    assert story.paused
    name = min(story.paused)
    told = story.told(name)
    assert "Paused: training, which its owner and the policy allow." in told
    assert "its work goes on, one node at a time, when zone demo has drawn less than 314 W for 60 s" in told
    assert "demo:web-1" not in story.paused
    answer = story.ask(name)
    assert list(answer["reason"]["paused"]) == ["training"]
    assert answer["reason"]["paused_by_us"]
    assert "with paused work" in story.told("demo")


def test_a_node_that_went_silent_is_said_to_be():
    story = Story(WANTS).run(30)
    del story.wants["demo:gpu-3"]
    story.run(60)
    told = story.told("gpu-3")
    assert "gone silent" in told or "may draw" in told
    assert story.ask("gpu-3")["reason"]["wall_s"] >= WALL_S + 60
