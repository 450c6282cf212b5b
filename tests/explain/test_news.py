"""What of control's steps becomes a line: one for many nodes, few of them, with their reasons."""

from itertools import pairwise

from evenwatt_collector.decided import DecisionKind
from evenwatt_collector.explain.news import NAMED, QUIET_S
from evenwatt_wire import LeaseInForce
from evenwatt_wire.messages import LeaseState
from tests.collector.said import live
from tests.explain.story import WALL_S, Story

WANTS = {"demo:web-1": 420.0, "demo:gpu-1": 480.0, "demo:gpu-2": 485.0, "demo:gpu-3": 470.0, "lab:lab-1": 300.0}
FLEET = """\
[[zones]]
name = "hall"
budget_w = {budget}
[[classes]]
name = "batch"
nodes = ["*"]
priority = 2
pausable = true
"""


def told(story, seconds):
    """Run a story second by second; return its lines."""
    said = []
    for _ in range(seconds):
        story.run(1)
        said += story.steering.narrator.news.take()
    return said


def test_a_shortage_is_told_in_few_lines_each_with_its_reason():
    said = told(Story(WANTS), 130)
    zone = [one for one in said if one.zone == "demo"]
    first = zone[0]
    assert (first.kind, first.wall_s) == (DecisionKind.BAND, WALL_S + 1)
    assert first.words == "zone demo is over its limit: it draws 1,905 W of 1,660 W"
    (came,) = [one for one in zone if one.kind is DecisionKind.CAP and "steered" in one.words]
    assert came.count == 4
    assert came.words.startswith("4 nodes (gpu-1, gpu-2, gpu-3 and 1 more) are steered from now on, at ")
    lower = [one for one in zone if "lower" in one.words]
    together = [one for one in lower if one.nodes != ["demo:web-1"]]
    assert together
    assert all(one.nodes == ["demo:gpu-1", "demo:gpu-2", "demo:gpu-3"] for one in together)
    assert any("what is left after more important work is shared" in one.words for one in lower)
    (dry,) = [one for one in said if one.zone == "lab"]
    assert dry.words.endswith("dry run, nothing is sent")


def test_a_zone_is_told_of_seldom_and_what_went_there_and_back_is_no_news():
    said = [one for one in told(Story(WANTS), 300) if one.zone == "demo"]
    moments = sorted({one.wall_s for one in said})
    assert all(later - sooner >= QUIET_S for sooner, later in pairwise(moments))
    assert len(moments) <= 300 / QUIET_S
    calm = Story({"demo:web-1": 300.0})
    told(calm, 100)
    assert told(calm, 100) == []


def test_work_that_is_paused_and_goes_on_is_told():
    story = Story({f"hall:n{i}": 500.0 for i in range(4)}, FLEET.format(budget=390))
    said = told(story, 60)
    (paused, *_) = [one for one in said if one.kind is DecisionKind.PAUSE]
    assert "is paused: caps alone cannot keep the zone to its limit" in paused.words
    assert paused.nodes[0].startswith("hall:n")


def test_a_thousand_nodes_that_move_together_are_one_line():
    story = Story({f"hall:n{i:04}": 500.0 for i in range(1_000)}, FLEET.format(budget=300_000))
    said = told(story, 2)
    caps = [one for one in said if one.kind is DecisionKind.CAP]
    assert len(said) <= 4
    assert sum(one.count for one in caps) == 1_000
    assert all(len(one.nodes) <= NAMED for one in caps)
    assert all(len(one.words) < 300 for one in said)


def test_an_operators_lease_is_told_when_it_begins_and_when_it_is_over():
    story = Story({"demo:web-1": 300.0})
    told(story, 40)
    lease = LeaseInForce(LeaseState.LEASED, 250.0, 0, 1_790_000_000_000, 60.0)
    story.fleet.on_live("demo", live("web-1", seq=10**6, power_w=240.0, lease=lease), float(story.second))
    words = [one.words for one in told(story, 20) if one.kind is DecisionKind.LEASE]
    assert words == [
        "an operator's lease holds web-1 at 250 W for 59 s more at the most",
        "the operator's lease of 250 W on web-1 is over",
    ]
