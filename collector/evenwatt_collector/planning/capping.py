"""Learns at which cap each workload needs the least, and holds its nodes there while it runs alone on them.

The cap is a ceiling for control: it can only tighten what the zone's budget gives, is sent as the same short leases,
and ends with the run. Nothing is tried while the zone throttles, or on a node that other work shares.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.feedback.counterfactual import FullPower
from evenwatt_collector.jobs import progress
from evenwatt_collector.jobs.book import active
from evenwatt_collector.jobs.times import duration_s
from evenwatt_collector.planning.meter import RunMeter
from evenwatt_collector.rules import RulesAbove
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_collector.tuning.learner import CapLearner
from evenwatt_collector.tuning.objective import Objective
from evenwatt_collector.tuning.records import Context, Settings, Slo, grid
from evenwatt_daemon import Failure, get_logger
from evenwatt_wire.jobs import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evenwatt_collector.feedback.counterfactual import Curve
    from evenwatt_collector.jobs.model import JobRecord, Run
    from evenwatt_collector.node import Node
    from evenwatt_collector.planning.surroundings import Surroundings
    from evenwatt_collector.rules import NodeRule, Rules
    from evenwatt_collector.storage import Connection
    from evenwatt_collector.tuning.records import Choice
    from evenwatt_wire import RunReport

_MEMORY: Final = "jobs:caps"
_KEEP_S: Final = 60.0
_HELD: Final = "the cap under which its job is found to need the least (`evenwatt explain JOB` says more)"
_BY_NODE: Final = 0.05
"""Half of the 90 % range of a ratio of energies, at least; our choice."""
_CALM: Final = frozenset({"normal", "hold"})


@dataclass(frozen=True, slots=True)
class _Curve:
    """A workload's energy against the cap (``feedback.counterfactual.Curve``)."""

    learners: Sequence[CapLearner]

    def full_power(self, cap_w: float) -> FullPower | None:
        """Return what full power would take against a cap, by the first kind of node on which both were measured.

        What is learned counts the whole node, a run's energy only its own part: hence at least ``_BY_NODE`` of doubt.
        """
        for learner in self.learners:
            found = learner.full_power(cap_w)
            if found is not None:
                ratio, error, slow = found
                half = max(_BY_NODE, 1.645 * error)
                return FullPower(energy=ratio, low=ratio * (1 - half), high=ratio * (1 + half), time=slow)
        return None


class CappedRules(RulesAbove):
    """Rules, with learned caps on top.

    Args:
        rules: The rules below.
        caps_w: Learned caps by zone and node; changed by others as they learn.
    """

    def __init__(self, rules: Rules, caps_w: Mapping[tuple[str, str], float]) -> None:
        super().__init__(rules)
        self._caps_w = caps_w
        self._before_w: dict[tuple[str, str], float] = {}

    def node(self, zone: str, name: str) -> NodeRule:
        """Return the rule below, its ceiling tightened to the learned cap."""
        rule, cap_w = self._rules.node(zone, name), self._caps_w.get((zone, name))
        if cap_w is None:
            return rule
        if rule.ceiling_w is not None and rule.ceiling_w <= cap_w:
            return rule
        return replace(rule, ceiling_w=cap_w, held=_HELD)

    def moved(self) -> Iterable[tuple[str, str]]:
        """Return the nodes whose learned cap has changed, and those of the rules below."""
        before_w, self._before_w = self._before_w, dict(self._caps_w)
        caps = {key for key, _ in before_w.items() ^ self._before_w.items()}
        return [*self._rules.moved(), *caps]


class Capping:
    """All learners of one collector.

    Args:
        around: What it looks at.
    """

    def __init__(self, around: Surroundings) -> None:
        self._log: Any = get_logger("capping")
        self._around, self._settings = around, around.settings.jobs.tuning
        self._learners: dict[str, CapLearner] = {}
        self._known: dict[str, Any] = {}
        """States from before, of learners that nobody has asked for yet."""
        self._meters: dict[str, RunMeter] = {}
        self.choices: dict[str, Choice] = {}
        """What is set now, by run."""
        self._changed: set[str] = set()
        self._kept_s = time.monotonic()

    def restore(self, connection: Connection) -> None:
        """Take up what was learned before."""
        self._known = dict(recall(connection, _MEMORY) or {})

    def on_run(self, told: RunReport) -> None:
        """Take what a run says."""
        meter = self._meters.get(told.run)
        if meter is not None:
            meter.take(told)

    def curve(self, record: JobRecord) -> Curve | None:
        """Return what is learned of a workload's energy against the cap; None if nothing is."""
        learners = self._of(record)
        return _Curve(learners) if learners else None

    def slower(self, record: JobRecord) -> float:
        """Return the share by which a job takes longer under the caps of its workload than planned, at full power."""
        return max((learner.slower for learner in self._of(record)), default=0.0)

    def _of(self, record: JobRecord) -> list[CapLearner]:
        unit = record.spec.work.unit if record.spec.work else ""
        return [known for key, known in self._learners.items() if key.startswith(f"{record.workload}|{unit}|")]

    def words(self, record: JobRecord) -> list[str]:
        """Return which caps hold for a job's runs, and why."""
        return [
            f"{run.node} is held at {choice.cap_w:.0f} W{' (trying)' if choice.exploring else ''}: {choice.why}"
            for run in active(record)
            if (choice := self.choices.get(run.id)) is not None
        ]

    def step(self, records: Iterable[JobRecord], wall_s: float) -> None:
        """Learn from what has come, and say which caps hold now; call it each second."""
        if not self._settings.enabled:
            return
        running = [(record, run) for record in records for run in active(record) if run.state is RunState.RUNNING]
        on_node: dict[tuple[str, str], int] = {}
        for _, run in running:
            on_node[run.zone, run.node] = on_node.get((run.zone, run.node), 0) + 1
        caps_w: dict[tuple[str, str], float] = {}
        for record, run in running:
            node = self._around.fleet.find(run.zone, run.node)
            if record.spec.work is None or node is None or node.birth is None or not node.birth.controllable:
                continue
            alone = on_node[run.zone, run.node] == 1
            cap_w = self._choose(record, run, node, alone=alone, wall_s=wall_s)
            if cap_w is not None and alone:
                caps_w[run.zone, run.node] = run.cap_w = cap_w
        self._around.caps_w.clear()
        self._around.caps_w.update(caps_w)
        self._drop({run.id for _, run in running})
        if time.monotonic() - self._kept_s >= _KEEP_S:
            self.save()

    def _choose(self, record: JobRecord, run: Run, node: Node, *, alone: bool, wall_s: float) -> float | None:
        unit = record.spec.work.unit if record.spec.work else ""
        meter = self._meters.setdefault(run.id, RunMeter(unit))
        meter.look(node, alone=alone)
        key = f"{record.workload}|{unit}|{_kind(node)}{_bounds(record)}"
        try:
            learner = self._learners.get(key) or self._make(key, record, node)
        except (Failure, ValueError) as error:
            self._log.warning("no cap can be learned", workload=record.workload, node=node.name, why=str(error))
            return None
        for window in meter.windows():
            learner.observe(window)
            self._changed.add(key)
        choice = learner.propose(wall_s, self._context(record, run, node, alone=alone))
        before = self.choices.get(run.id)
        if before is None or (before.cap_w, before.exploring) != (choice.cap_w, choice.exploring):
            self._log.info("cap", job=record.id, node=node.name, cap_w=round(choice.cap_w), why=choice.why)
            self._around.decided([_tuned(record, run, choice, wall_s)])
        self.choices[run.id] = choice
        return choice.cap_w

    def _make(self, key: str, record: JobRecord, node: Node) -> CapLearner:
        birth, slo = node.birth, record.spec.slo
        if birth is None:
            raise ValueError("the node has not said what it can hold")
        settings = Settings(
            caps_w=grid(birth.floor_w, birth.ceiling_w),
            objective=Objective(aim=self._settings.aim, eta=self._settings.eta, max_power_w=birth.ceiling_w),
            slo=Slo(max_slowdown=slo.max_slowdown, max_latency_s=slo.max_latency_s),
            explore_share=self._settings.explore_share,
            horizon_s=duration_s(self._settings.horizon),
            warmup_s=self._settings.warmup_s,
        )
        state = self._known.pop(key, None)
        try:
            learner = CapLearner(settings, state)
        except ValueError as error:
            self._log.warning("what was learned cannot be read; it is learned anew", of=key, why=str(error))
            learner = CapLearner(settings)
        self._learners[key] = learner
        return learner

    def _context(self, record: JobRecord, run: Run, node: Node, *, alone: bool) -> Context:
        work, view = record.spec.work, self._around.steering.zone(run.zone)
        birth = node.birth
        rule = self._around.rule(run.zone, run.node)
        ceiling_w = birth.ceiling_w if birth else 0.0
        left = None
        if work is not None and record.length_s > 0:
            left = max(0.0, work.amount * progress.left_s(record) / record.length_s)
        return Context(
            intensity_g_per_kwh=self._around.emissions.factor(run.zone).intensity_g_per_kwh,
            capping=view is not None and view.band not in _CALM,
            shared=not alone,
            floor_w=max(birth.floor_w if birth else 0.0, rule.floor_w or 0.0),
            ceiling_w=ceiling_w if rule.ceiling_w is None else min(ceiling_w, rule.ceiling_w),
            remaining_units=left,
            deadline_s=record.deadline_s,
        )

    def _drop(self, running: set[str]) -> None:
        for id_ in [id_ for id_ in self._meters if id_ not in running]:
            del self._meters[id_]
            self.choices.pop(id_, None)

    def save(self) -> None:
        """Keep what was learned since the last time; the keeper writes it a little later."""
        if not self._changed:
            return
        self._kept_s = time.monotonic()
        self._changed.clear()
        states = self._known | {key: learner.state() for key, learner in self._learners.items()}
        self._around.keeper.ask(lambda c: remember(c, _MEMORY, states))


def _tuned(record: JobRecord, run: Run, choice: Choice, wall_s: float) -> Decided:
    what = "tries" if choice.exploring else "keeps to"
    return Decided(
        kind=DecisionKind.TUNE,
        wall_s=wall_s,
        zone=run.zone,
        nodes=[f"{run.zone}:{run.node}"],
        job=record.id,
        name=record.spec.name,
        words=f"{run.node} {what} {choice.cap_w:.0f} W for {record.spec.name}: {choice.why}",
    )


def _kind(node: Node) -> str:
    """Return which nodes are alike: those with the same knobs and range."""
    birth = node.birth
    if birth is None:
        return ""
    kinds = ",".join(sorted({actuator.kind for actuator in birth.actuators}))
    return f"{kinds} {birth.floor_w:.0f}-{birth.ceiling_w:.0f} W"


def _bounds(record: JobRecord) -> str:
    """Return what its owner bounds: who allows more is not held to it, and who allows less not given what others do."""
    slo = record.spec.slo
    return (
        f"|slo {slo.max_slowdown} {slo.max_latency_s}" if (slo.max_slowdown, slo.max_latency_s) != (None, None) else ""
    )
