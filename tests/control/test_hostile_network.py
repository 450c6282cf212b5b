"""Whatever a network, a clock or a death does, no node holds more than it is counted with, nor a zone its budget."""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from evenwatt_agent.leases import Lease
from evenwatt_wire.command import node_mark
from evenwatt_wire.messages import LeaseState
from tests.control.site import FALLBACK_W, LONGEST_S, Site

EXPLORE = bool(os.environ.get("EVENWATT_EXPLORE"))
NAMES = st.sampled_from(("a0", "a1", "b0", "b1"))
POWERS = st.sampled_from((30.0, 390.0))
WAITS = st.sampled_from((0.25, 1.0, 4.0, 19.0))


class HostileNetwork(RuleBasedStateMachine):
    """A site to which anything happens, now and then many things at once."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.site = Site(random.Random(seed))
        self.site.run(20.0)

    @rule(loses=st.sampled_from(("cmd", "renew", "ack", "live")), loss=st.sampled_from((0.3, 1.0)), seconds=WAITS)
    def the_network_loses(self, loses, loss, seconds):
        self.site.loss[loses] = loss
        self.site.run(seconds)

    @rule(slowest_s=st.sampled_from((1.9, 8.0, 60.0)), double=st.sampled_from((0.0, 0.5)), seconds=WAITS)
    def the_network_delays_and_doubles(self, slowest_s, double, seconds):
        self.site.delay_s, self.site.double = (0.0, slowest_s), double
        self.site.run(seconds)

    @rule(seconds=WAITS)
    def the_network_is_well(self, seconds):
        self.site.heal()
        self.site.run(seconds)

    @rule(name=NAMES, seconds=WAITS)
    def a_node_hears_renewals_and_no_grants(self, name, seconds):
        self.site.deaf ^= {name}
        self.site.run(seconds)

    @rule(name=NAMES, seconds=WAITS)
    def an_agent_restarts(self, name, seconds):
        self.site.nodes[name].begin()
        self.site.join(self.site.nodes[name])
        self.site.run(seconds)

    @rule(name=NAMES, sleep_s=st.sampled_from((1.0, 6.0, 25.0)), seconds=WAITS)
    def a_machine_sleeps(self, name, sleep_s, seconds):
        self.site.asleep[name] = self.site.now_s + sleep_s
        self.site.run(seconds)

    @rule(name=NAMES, skew_s=st.sampled_from((-3600.0, -1.9, -0.5, 0.5, 1.9, 3600.0)), seconds=WAITS)
    def a_nodes_clock_is_set(self, name, skew_s, seconds):
        self.site.nodes[name].skew_s = skew_s
        self.site.run(seconds)

    @rule(step_s=st.sampled_from((-3600.0, -1.9, -0.5, 0.5, 1.9, 3600.0)), seconds=WAITS)
    def the_collectors_clock_is_set(self, step_s, seconds):
        self.site.wall_off_s = step_s
        self.site.run(seconds)

    @rule(zone=st.sampled_from("ab"), budget_w=st.sampled_from((230.0, 400.0, 800.0)), power_w=POWERS, seconds=WAITS)
    def a_budget_and_power_change(self, zone, budget_w, power_w, seconds):
        self.site.rules.budgets_w[zone] = budget_w
        for node in self.site.nodes.values():
            node.power_w = power_w if node.zone == zone else 390.0
        self.site.run(seconds)

    @rule(name=NAMES, ceiling_w=st.sampled_from((None, 120.0, 250.0)), seconds=WAITS)
    def a_person_overrides(self, name, ceiling_w, seconds):
        self.site.override(name, ceiling_w)
        self.site.run(seconds)

    @rule(name=NAMES, cap_w=st.sampled_from((80.0, 300.0)), ttl_s=st.sampled_from((3.0, 20.0)), seconds=WAITS)
    def an_operator_caps(self, name, cap_w, ttl_s, seconds):
        self.site.nodes[name].book.grant("operator", Lease(cap_w, FALLBACK_W, self.site.now_s + ttl_s, 0, 1))
        self.site.run(seconds)

    @rule(stop_s=st.sampled_from((0.75, 2.0, 11.0, 20.0)), seconds=WAITS)
    def the_collector_is_held_up(self, stop_s, seconds):
        self.site.middle.busy_until_s = self.site.now_s + stop_s
        self.site.run(seconds)

    @rule(seconds=WAITS)
    def the_collector_dies(self, seconds):
        """What it has sent goes on; the next one takes over as a standby does, or after a restart."""
        self.site.take_over()
        self.site.run(seconds)

    def teardown(self):
        if not hasattr(self, "site"):
            return
        site = self.site
        site.heal()
        site.run(LONGEST_S)
        assert site.all_settled()
        site.middle = None
        site.run(LONGEST_S)
        for node in site.nodes.values():
            target = node.book.target(site.now_s)
            assert (target.state, target.cap_w) == (LeaseState.FALLBACK, node.book.fallback_w)
            assert target.cap_w <= FALLBACK_W


HostileNetwork.TestCase.settings = settings(
    max_examples=400 if EXPLORE else 6,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    report_multiple_bugs=False,
)
TestHostileNetwork = HostileNetwork.TestCase


def test_who_misses_a_lower_cap_ends_in_the_fallback_though_it_hears_every_renewal():
    site = Site(random.Random(1))
    site.run(30.0)
    site.deaf.add("a0")
    site.rules.budgets_w["a"] = 400.0
    site.run(LONGEST_S)
    assert site.nodes["a0"].book.target(site.now_s).state is LeaseState.FALLBACK
    assert site.nodes["a1"].book.target(site.now_s).state is LeaseState.LEASED
    site.heal()
    site.run(5.0)
    assert site.all_settled()


def test_a_renewal_of_an_earlier_collector_that_comes_late_keeps_nothing_alive():
    site = Site(random.Random(1))
    site.run(30.0)
    site.delay_s = (1.9, 2.0)
    site.run(3.0)
    late = [entry for entry in site.queue if entry[2] in ("cmd", "renew")]
    assert late
    site.take_over()
    site.run(5.0)
    assert site.all_settled()
    before = {name: node.book.target(site.now_s) for name, node in site.nodes.items()}
    for _, _, kind, _, name, payload in late:  # at the right time by a clock that is wrong
        node = site.nodes[name]
        (node.hear_renewal if kind == "renew" else node.hear)(payload, site.now_s, site.real_ms() - 8_000)
    assert {name: node.book.target(site.now_s) for name, node in site.nodes.items()} == before


def test_a_node_whose_mark_is_anothers_who_is_left_out_keeps_its_lease_by_grants():
    names = "n18622", "n41826"
    assert len({node_mark(name) for name in names}) == 1
    site = Site(random.Random(1), zones=("a",), names=names)
    site.run(30.0)
    site.deaf.add(names[0])
    site.rules.budgets_w["a"] = 400.0
    left_s = []
    for _ in range(160):
        site.run(0.25)
        left_s.append(site.nodes[names[1]].book.target(site.now_s).remaining_s)
    assert site.nodes[names[0]].book.target(site.now_s).state is LeaseState.FALLBACK
    assert min(left_s) > 0.0


def test_a_fallback_that_came_with_a_low_cap_goes_with_it_over_a_new_connection_too():
    site = Site(random.Random(1), zones=("a",))
    site.override("0", 70.0)
    site.run(30.0)
    node = site.nodes["0"]
    assert node.book.fallback_w == 70.0
    site.join(node)  # it connects anew, and says what it is
    site.run(3.0)
    site.override("0", None)
    site.run(30.0)
    assert (node.cap_w(site.now_s) > FALLBACK_W, node.book.fallback_w) == (True, FALLBACK_W)
