"""Pausing, limits inside limits, what happens at a lease's end, dry run."""

import numpy as np
import pytest

from evenwatt_collector.control import Band, Limits, Observations, OnLost, ZoneSpec, ZoneTree, ZoneTreeError
from evenwatt_collector.control.dry import would_share_w
from tests.control.named import Named, Seen

NEST = [ZoneSpec("site"), ZoneSpec("rack", "site"), ZoneSpec("shelf", "rack"), ZoneSpec("other", "site")]


class World:
    """Nodes that draw what they want up to their caps, pause at once, and answer each grant."""

    def __init__(self, controller, nodes, paused_w=20.0):
        self.controller, self.nodes, self.paused_w = controller, {node.node: node for node in nodes}, paused_w
        self.wants = {node.node: node.power_w for node in nodes}
        self.caps = {node.node: node.fallback_w for node in nodes}
        self.log = []
        self.step = None

    def run(self, start_s, end_s):
        for now in range(start_s, end_s):
            for name, node in self.nodes.items():
                draw_w = self.paused_w if node.paused else max(node.floor_w, min(self.wants[name], self.caps[name]))
                node.power_w = node.peak_w = draw_w
            self.step = self.controller.step(float(now), list(self.nodes.values()))
            for grant in self.step.grants:
                self.caps[grant.node] = grant.cap_w
                self.controller.acknowledge(grant.node, grant.seq, "applied", grant.cap_w, now + 0.2)
            for name, pause in self.step.pauses:
                if pause != self.nodes[name].paused:
                    self.log.append((now, name, pause))
                self.nodes[name].paused = pause


def crowd(**known):
    return [
        Seen(f"n{i}", power_w=300, peak_w=300, floor_w=200, fallback_w=200, priority=9 - i, pausable=i > 0, **known)
        for i in range(4)
    ]


def test_floors_above_the_budget_pause_the_lowest_class_first_one_at_a_time_and_resume_in_turn():
    controller = Named(2000)
    world = World(controller, crowd())
    world.run(0, 30)
    assert world.log == []
    controller.set_budget(500)  # 485 W after the margin; the floors alone take 800 W
    world.run(30, 90)
    names = [name for _, name, _ in world.log]
    assert names == ["n3", "n2"], "500 W: two of four may run at their floors"
    assert all(pause for *_, pause in world.log)
    first, second = (at for at, *_ in world.log)
    assert 30 + 2 <= first <= 30 + 5, "no waiting where the floors alone exceed the budget"
    assert second - first >= 2
    assert any(alarm.startswith("kept by paused work: floors 800 W") for alarm in world.step.alarms)
    controller.set_budget(2000)
    world.log.clear()
    world.run(90, 400)
    assert [(name, pause) for _, name, pause in world.log] == [("n2", False), ("n3", False)], "the most important first"
    (back, *_), (later, *_) = world.log
    assert back >= 90 + 60
    assert later - back >= 10


def test_after_floors_did_not_fit_leases_grow_as_soon_as_the_limit_does():
    controller = Named(2000)
    world = World(controller, crowd())
    world.run(0, 30)
    controller.set_budget(500)
    world.run(30, 60)
    assert world.caps["n0"] == 200
    controller.set_budget(2000)
    world.run(60, 70)
    assert world.caps["n0"] > 250, "without waiting for the dwell"


def test_what_did_not_opt_in_is_never_paused():
    controller = Named(500)
    world = World(controller, [Seen(f"n{i}", power_w=300, floor_w=200, fallback_w=200) for i in range(4)])
    world.run(0, 120)
    assert world.log == []
    assert any("infeasible" in alarm for alarm in world.step.alarms)


def test_a_pause_is_renewed_like_a_lease_and_ends_when_it_is_no_longer_allowed():
    controller = Named(500)
    world = World(controller, crowd())
    world.run(0, 60)
    sent = [controller.step(60.0 + tick / 2, list(world.nodes.values())).pauses for tick in range(9)]
    assert 2 <= sum(bool(pauses) for pauses in sent) <= 4
    for node in world.nodes.values():
        node.pausable = False
    world.log.clear()
    world.run(65, 70)
    assert {(name, pause) for _, name, pause in world.log} == {("n2", False), ("n3", False)}


def test_resumed_work_runs_for_five_minutes_before_it_is_paused_again():
    controller = Named(500)
    world = World(controller, crowd()[:3])
    world.run(0, 60)
    controller.set_budget(2000)
    world.run(60, 200)
    resumed = max(at for at, _, pause in world.log if not pause)
    controller.set_budget(500)
    world.log.clear()
    world.run(200, 200 + 400)
    again = {name: at for at, name, pause in reversed(world.log) if pause}
    assert again["n1"] < 220, "it had run for longer"
    assert "n2" not in again or again["n2"] - resumed >= 300


def test_every_zone_of_a_nest_keeps_its_limit_and_a_child_its_parents():
    controller = Named(2000, zones=NEST)
    controller.set_budget(1000, "rack")
    controller.set_budget(600, "shelf")
    nodes = [
        Seen(f"{zone}{i}", zone=zone, power_w=500.0) for zone in ("rack", "shelf", "other", "site") for i in range(2)
    ]
    world = World(controller, nodes)
    world.run(0, 90)
    sums = {zone: sum(cap for name, cap in world.caps.items() if name.startswith(zone)) for zone in ("rack", "shelf")}
    target = 0.98 * 0.99
    assert sums["shelf"] <= 600 * target + 1e-6
    assert sums["rack"] + sums["shelf"] == pytest.approx(1000 * target, rel=0.03)
    assert sum(world.caps.values()) == pytest.approx(2000 * target, rel=0.03)
    assert np.all(world.step.decision.most_w <= 0.98 * controller.budget_w)
    controller.set_budget(700)
    world.run(90, 120)
    assert sum(world.caps.values()) <= 700 * 0.98
    reason = next(grant.reason for grant in world.controller.step(120.0, nodes).grants)
    assert "of 700 W in site" in reason


def test_zones_that_make_no_tree_are_refused_by_name():
    for zones, words in (
        ([ZoneSpec("a", "b"), ZoneSpec("b", "a")], "'a' in 'b' in 'a'|'b' in 'a' in 'b'"),
        ([ZoneSpec("a", "a")], "loop"),
        ([ZoneSpec("a"), ZoneSpec("a")], "'a' stands twice"),
        ([ZoneSpec("a", "x")], "parent 'x' is not a zone"),
    ):
        with pytest.raises(ZoneTreeError, match=words):
            ZoneTree.of(zones)


def test_hold_sends_the_cap_as_fallback_and_restore_counts_the_ceiling():
    nodes = [
        Seen("keep", power_w=300, on_lost=OnLost.HOLD),
        Seen("free", power_w=100, on_lost=OnLost.RESTORE, ceiling_w=400),
        Seen("plain", power_w=300),
    ]
    controller = Named(1500)
    world = World(controller, nodes)
    world.run(0, 40)
    last = {grant.node: grant for now in (40, 41) for grant in controller.step(float(now), nodes).grants}
    assert last["keep"].fallback_w == last["keep"].cap_w
    assert last["free"].fallback_w == last["free"].cap_w == 400
    assert last["plain"].fallback_w == 150
    assert sum(world.caps.values()) <= 0.98 * 1500


def test_after_a_release_nodes_rise_one_by_one():
    controller = Named(2000, seed=3)
    world = World(controller, [Seen(f"n{i}", power_w=500.0) for i in range(8)])
    world.run(0, 40)
    controller.set_budget(1500)  # brakes, then caps
    world.run(40, 45)
    world.wants = dict.fromkeys(world.wants, 87.0)
    now = 45
    while world.step.band in (Band.BRAKE, Band.CAP):
        world.run(now, now + 1)
        now += 1
    assert now >= 45 + 30, "after the dwell"
    world.wants = dict.fromkeys(world.wants, 500.0)
    controller.set_budget(4500)
    rises = {}
    for second in range(now, now + 30):
        before = dict(world.caps)
        world.run(second, second + 1)
        for name, cap in world.caps.items():
            if cap > before[name] + 1:
                rises.setdefault(name, second)
    assert len(rises) == 8
    assert len(set(rises.values())) > 3
    assert max(rises.values()) <= now + 11


def test_two_collectors_at_once_the_one_that_comes_knows_what_nodes_hold():
    """Fencing is by epoch on the nodes; the newcomer watches first and counts what is in force."""
    old, new = Named(2400), Named(2400, quiet_s=5, first_seq=10_000)
    world = World(old, [Seen(f"n{i}", power_w=500.0) for i in range(8)])
    world.run(0, 60)
    for node in world.nodes.values():
        node.held_w = world.caps[node.node]
    for now in range(60, 66):
        step = new.step(float(now), list(world.nodes.values()))
    assert step.grants
    assert step.most_w == pytest.approx(sum(world.caps.values()), rel=0.05)


def test_dry_run_shares_by_what_nodes_show():
    seen = Observations(3)
    seen.present[:] = seen.online[:] = seen.controllable[:] = True
    seen.power_w[:] = seen.peak_w[:] = (400, 100, 50)
    seen.floor_w[:], seen.ceiling_w[:] = 60, 500
    dry = np.array([True, True, False])
    tree = ZoneTree.of([ZoneSpec("z")])
    share = would_share_w(tree, Limits(), seen, dry, np.array([600.0]), np.zeros(1))
    available = 0.995 * 0.98 * 600 - 50
    assert share[:2].sum() == pytest.approx(available)
    assert share[1] == pytest.approx(115)
    assert np.isnan(share[2])
