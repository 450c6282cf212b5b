"""What comes of jobs: outcomes, what is learned from them, and the guard that takes a policy back. A shell.

An outcome is made once a job has ended, with the intensities that are known then. Energy by time is as the runs have
told it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec.structs import replace

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.feedback.actual import Came, Used
from evenwatt_collector.feedback.counterfactual import AT_ONCE_S, Facts, counterfactual, unclaimed
from evenwatt_collector.feedback.guard import BASELINE, Guard
from evenwatt_collector.feedback.learned import Learned
from evenwatt_collector.jobs.model import ENDS, JobState
from evenwatt_collector.jobs.times import duration_s
from evenwatt_collector.score.desk import GUARD
from evenwatt_collector.storage.jobs import save_outcome
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_daemon import Failure, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from evenwatt_collector.feedback.counterfactual import Curve
    from evenwatt_collector.jobs.book import Book
    from evenwatt_collector.jobs.model import Decision, JobRecord, Outcome
    from evenwatt_collector.planning.surroundings import Surroundings
    from evenwatt_collector.storage import Connection

_LEARNED: Final = "jobs:learned"
_AGAIN_S: Final = 5.0
"""Outcomes that could not be stored are tried again after so long."""
PRESSED: Final = 1.5
"""A job whose time to its deadline is less than so many times its length is pressed (our choice)."""


class Closing:
    """Outcomes of one collector.

    Args:
        around: What it looks at.
        curve: Returns what was learned of a run's energy against its cap.
    """

    def __init__(self, around: Surroundings, curve: Callable[[JobRecord], Curve | None]) -> None:
        self._log: Any = get_logger("closing")
        self._around, self._curve = around, curve
        self._settings = around.settings.jobs.policy
        self.learned = Learned()
        self.guard = Guard(control_share=self._settings.control_share)
        self._trouble: str | None = None
        self._looked: set[str] = set()
        self._unsaved: deque[Outcome] = deque()
        self._kept_s = time.monotonic()

    async def prepare(self) -> None:
        """Take up what was learned before."""
        learned, guard = await asyncio.wrap_future(
            self._around.keeper.ask(lambda c: (recall(c, _LEARNED), recall(c, GUARD)))
        )
        try:
            self.learned = Learned(learned)
            self.guard = Guard(guard, self._settings.control_share)
        except Failure as error:
            self._log.warning("what was learned from jobs cannot be read; it begins anew", why=str(error))
        self.guard.adopt(self._settings.version)

    def troubles(self) -> list[str]:
        """Return what is wrong, in words."""
        return [*([self.guard.alarm] if self.guard.alarm else []), *([self._trouble] if self._trouble else [])]

    # --- before a job begins --------------------------------------------------------------------------------------

    def reserve(self, record: JobRecord) -> float:
        """Return the share of its length by which a job may take longer, as its workload has shown."""
        return self.learned.reserve(record.workload)

    def policy(self, record: JobRecord, decision: Decision) -> Decision:
        """Say by what a job is decided: as planned, or by the baseline as a control or because of a roll-back."""
        pressed = _pressed(record, decision)
        chosen = self.guard.choose(record.id, pressed=pressed)
        option = decision.chosen
        if chosen.policy == BASELINE:
            option = replace(decision.baseline, name="chosen", why=chosen.why)
        low_g, high_g = self.learned.interval(
            record.workload, option.grams, option.low_g, option.high_g, record.estimate
        )
        return replace(
            decision,
            policy=chosen.policy,
            version=chosen.version,
            pressed=pressed,
            chosen=replace(option, low_g=low_g, high_g=high_g),
            rests_on="; ".join(filter(None, (decision.rests_on, self.learned.trust(record.workload)))),
        )

    # --- after it has ended ---------------------------------------------------------------------------------------

    def look(self, book: Book, now_s: float, records: Iterable[JobRecord] | None = None) -> None:
        """Make the outcomes of jobs that have ended since; of ``records``, or of all in the book."""
        for record in list(book.jobs.values()) if records is None else records:
            if record.state in ENDS and record.outcome is None and record.id not in self._looked:
                self._looked.add(record.id)
                self._close(record, now_s)
                book.changed.add(record.id)
        self._looked &= book.jobs.keys()
        if self._unsaved and time.monotonic() - self._kept_s >= _AGAIN_S:
            self._keep()

    def _close(self, record: JobRecord, now_s: float) -> None:
        used = used_by_trace(record)
        if not used:
            return
        try:
            outcome = counterfactual(record, used, self._came(record, used, now_s), self._facts(record))
        except (ValueError, ZeroDivisionError) as error:
            self._log.warning("no outcome", job=record.id, why=str(error))
            return
        if record.state is not JobState.CANCELLED:  # how that would have ended nobody knows
            self._learn(outcome)
        record.outcome = outcome if record.state is JobState.DONE else unclaimed(outcome)
        self._take(record.outcome, record.state)

    def _learn(self, outcome: Outcome) -> None:
        self.learned.observe(outcome)
        rolled_back = self.guard.observe(outcome)
        if rolled_back is not None:
            self._log.error("a policy was rolled back", why=rolled_back.words)
            words = f"the policy of plans was rolled back: {rolled_back.words}"
            self._around.decided([Decided(kind=DecisionKind.POLICY, wall_s=time.time(), words=words)])

    def _take(self, outcome: Outcome, state: JobState) -> None:
        self._log.info(
            f"job {state.value}",
            job=outcome.job,
            name=outcome.name,
            grams=round(outcome.grams, 3),
            at_once_g=round(outcome.counterfactual_g, 3),
            late=outcome.late,
        )
        self._unsaved.append(outcome)
        self._keep()

    def _keep(self) -> None:
        """Write the outcomes that are not on the disk yet, with what was learned from all of them."""
        made, learned, guard = list(self._unsaved), self.learned.document(), self.guard.document()
        self._unsaved.clear()
        self._kept_s = time.monotonic()

        def write(connection: Connection) -> None:
            for outcome in made:
                save_outcome(connection, outcome)
            remember(connection, _LEARNED, learned)
            remember(connection, GUARD, guard)

        def stored(future: Future[None]) -> None:  # on the keeper's thread
            error = None if future.cancelled() else future.exception()
            self._trouble = (
                None if error is None else f"outcomes of jobs cannot be stored; they are kept and tried again: {error}"
            )
            if error is not None:
                self._unsaved.extend(made)

        self._around.keeper.ask(write).add_done_callback(stored)

    def _came(self, record: JobRecord, used: Iterable[Used], now_s: float) -> dict[str, Came]:
        zones = {one.zone for one in used} | set(record.spec.zones)
        if record.decision is not None:
            zones |= {record.decision.baseline.zone, record.decision.chosen.zone}
        if record.spec.home:
            zones.add(record.spec.home)
        found = {}
        for zone in sorted(zones - {""}):
            facts = self._around.emissions.facts(zone)
            steps = self._around.emissions.grids.steps(facts.grid, now_s)
            if steps is None or not len(steps.g_per_kwh):
                found[zone] = _flat(facts.fallback_g_per_kwh, facts.pue, record.submitted_s, now_s)
            else:
                found[zone] = Came.of(steps, facts.fallback_g_per_kwh, facts.pue)
        return found

    def _facts(self, record: JobRecord) -> Facts:
        spec = record.spec
        slowest = spec.slo.max_slowdown
        spent_s = sum(run.duration_s for run in record.runs)
        return Facts(
            curve=self._curve(record),
            stated_length_s=duration_s(spec.length) if spec.length else 0.0,
            stated_power_w=spec.power_w or 0.0,
            at_once_s=min(AT_ONCE_S, self._around.settings.jobs.slot_s),
            slo_ok=slowest is None or record.length_s <= 0 or spent_s <= slowest * record.length_s,
        )


def used_by_trace(record: JobRecord) -> list[Used]:
    """Return a job's energy by time, as finely as its runs have told it."""
    found = []
    for run in record.runs:
        for (start_s, before_j), (end_s, after_j) in pairwise(run.trace):
            if after_j > before_j:
                found.append(
                    Used(
                        zone=run.zone,
                        start_s=start_s,
                        end_s=max(start_s, end_s),
                        energy_j=after_j - before_j,
                        cap_w=run.cap_w,
                    )
                )
    return found


def _flat(g_per_kwh: float, pue: float, start_s: float, end_s: float) -> Came:
    return Came(np.array([start_s, max(end_s, start_s + 1.0)]), np.array([g_per_kwh]), pue)


def _pressed(record: JobRecord, decision: Decision) -> bool:
    deadline_s = inf if record.deadline_s is None else record.deadline_s
    begin_s = max(decision.made_s, record.earliest_s)
    return deadline_s - begin_s < PRESSED * record.length_s
