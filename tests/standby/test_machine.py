"""Who acts, under every interleaving of two collectors, a database and a broker that may fail at any moment."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from evenwatt_collector.standby.machine import FENCE_BEFORE_S, FREE, Hold, Lease, Watch

PATIENCE_S = 2.5
NAMES = ("a", "b")
name = st.sampled_from(NAMES)


def watched(*, beat=1, online=True):
    watch = Watch(PATIENCE_S)
    watch.connected(online, 0.0)
    watch.looked(Lease(7, beat), 0.0)
    return watch


def test_a_lease_without_signs_is_claimed_and_one_that_was_given_back_at_once():
    watch = watched()
    assert watch.may_claim(PATIENCE_S - 0.1) is None
    assert watch.may_claim(PATIENCE_S) == Lease(7, 1)
    assert watched(beat=FREE).may_claim(0.0) == Lease(7, FREE)


def test_either_sign_of_life_is_enough():
    watch = watched()
    watch.looked(Lease(7, 2), 2.0)
    assert watch.may_claim(4.0) is None
    watch.heard(7, 1, 4.0)
    assert watch.may_claim(6.0) is None
    assert watch.may_claim(6.5) == Lease(7, 2)


def test_repeats_and_beats_of_one_that_was_fenced_are_no_signs():
    watch = watched()
    watch.heard(7, 5, 1.0)
    watch.heard(7, 5, 2.0)
    watch.heard(7, 4, 2.1)
    watch.heard(6, 9, 2.2)
    assert watch.sign_s == 1.0


def test_nobody_takes_over_without_broker_or_database_nor_right_after_they_came_back():
    watch = watched(online=False)
    assert watch.may_claim(100.0) is None
    watch.connected(True, 100.0)
    assert watch.may_claim(101.0) is None
    assert watch.may_claim(102.5) is not None
    watch.looked(None, 103.0)
    assert watch.may_claim(110.0) is None
    watch.looked(Lease(7, 1), 110.0)
    assert watch.may_claim(111.0) is None
    assert watch.may_claim(112.5) is not None


def test_a_holder_falls_silent_without_signs_and_speaks_again_with_one():
    hold = Hold(8, 0.0, 1.5)
    number = hold.beats(1.0)
    assert not hold.may_act(1.6)
    hold.heard(7, number)
    assert not hold.may_act(1.6)
    hold.heard(8, number)  # as late as it comes, it counts from when it was sent
    assert hold.may_act(2.4)
    assert not hold.may_act(2.6)
    hold.renewed(2.5)
    assert hold.may_act(3.9)
    hold.heard(9, 1)
    assert not hold.may_act(2.6)
    hold.renewed(2.6)  # whoever said so lied
    assert hold.may_act(2.7)
    hold.refused()
    assert not hold.may_act(2.7)


class Pair(RuleBasedStateMachine):
    """Two collectors step in any order, are stopped for any time, and lose database or broker for any time."""

    def __init__(self):
        super().__init__()
        self.now_s = 0.0
        self.lease = Lease(0, FREE)
        self.database = self.broker = True
        self.watches = {}
        self.holds = {}
        self.seen = {}
        self.queues = {which: [] for which in NAMES}
        self.acted = {}
        self.holders = {}
        for which in NAMES:
            self._stand_by(which)

    def _stand_by(self, which):
        self.holds.pop(which, None)
        self.seen.pop(which, None)
        self.watches[which] = Watch(PATIENCE_S)

    @rule(seconds=st.floats(0.01, 1.0))
    def time_passes(self, seconds):
        self.now_s += seconds

    @rule(there=st.booleans())
    def database_comes_or_goes(self, there):
        self.database = there

    @rule(there=st.booleans())
    def broker_comes_or_goes(self, there):
        self.broker = there

    @rule(which=name)
    def dies(self, which):
        self.queues[which].clear()
        self._stand_by(which)

    @rule(which=name)
    def looks(self, which):
        watch = self.watches.get(which)
        if watch is None:
            return
        watch.connected(self.broker, self.now_s)
        watch.looked(self.lease if self.database else None, self.now_s)
        seen = watch.may_claim(self.now_s)
        if seen is not None:
            self.seen[which] = (seen, self.now_s)

    @rule(which=name)
    def swaps(self, which):
        """Any time after it decided: the swap itself looks at the lease again."""
        seen, asked_s = self.seen.pop(which, (None, 0.0))
        if seen is None or not self.database or self.lease != seen:
            return
        self.lease = Lease(seen.epoch + 1, FREE + 1)
        assert self.lease.epoch not in self.holders
        self.holders[self.lease.epoch] = which
        self.watches.pop(which)
        self.holds[which] = Hold(self.lease.epoch, asked_s, PATIENCE_S - FENCE_BEFORE_S)

    @rule(which=name)
    def renews(self, which):
        hold = self.holds.get(which)
        if hold is None or not self.database:
            return
        if self.lease.epoch != hold.epoch:
            hold.refused()
            self._stand_by(which)
            return
        self.lease = Lease(hold.epoch, self.lease.beat + 1)
        hold.renewed(self.now_s)

    @rule(which=name)
    def beats(self, which):
        hold = self.holds.get(which)
        if hold is not None and self.broker:
            said = (hold.epoch, hold.beats(self.now_s))
            for queue in self.queues.values():
                queue.append(said)

    @rule(which=name)
    def hears(self, which):
        while self.queues[which]:
            epoch, beat = self.queues[which].pop(0)
            if which in self.holds:
                self.holds[which].heard(epoch, beat)
            elif which in self.watches:
                self.watches[which].heard(epoch, beat, self.now_s)

    @rule(which=name)
    def leaves(self, which):
        hold = self.holds.get(which)
        if hold is not None and self.database and self.lease.epoch == hold.epoch:
            self.lease = Lease(hold.epoch, FREE)
            self._stand_by(which)

    @invariant()
    def no_two_have_one_epoch(self):
        epochs = [hold.epoch for hold in self.holds.values()]
        assert len(epochs) == len(set(epochs))

    @invariant()
    def only_the_newest_goes_on(self):
        """One of an older epoch never writes, and acts only on a sign from before the other's swap."""
        for hold in self.holds.values():
            if hold.epoch != self.lease.epoch and hold.may_act(self.now_s):
                assert not hold.may_act(self.now_s + PATIENCE_S)


Pair.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
test_pair = Pair.TestCase
