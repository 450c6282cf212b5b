"""Takes a policy back that does worse than doing nothing. Pure; kept as one JSON document.

A small share of jobs, chosen by a hash of their ids, runs by the baseline as a control. Of every version of the policy
four claims are tested after each outcome, each at a quarter of ``ALPHA``, by bets that may be looked at at any time
(``evidence``):

=============  =====================================================  ================================================
test           claim                                                  values
=============  =====================================================  ================================================
``loss``       a job saves at least -5 %                              jobs, at most 12 a day
``drift``      a day saves at least 0                                 days: the mean of their jobs
``late``       it makes at most 1 % more jobs late                    jobs with a deadline, at most 12 a day
``control``    it emits no more than the controls                     controls, each against the jobs since the last
=============  =====================================================  ================================================

The first two and the third are against the counterfactual; the last one needs no model of what would have been, since
chance decided who is a control. Jobs of one day share one forecast and one fate, hence the days and the bounds a day.
What is saved is ``(G0 - G) / max(G0, G)``: half and double weigh the same; a job counts up to half, a day up to a
quarter. Jobs weigh by their grams, up to the median of those before: no job outweighs all others. Once a claim is
refuted the version before takes over, or the baseline if there is none.

::

    adopt --> ACTIVE --a claim is refuted--> ROLLED BACK --reinstate (by hand)--> ACTIVE
                 '------- a new version ---> BEFORE -- the one after is rolled back --> ACTIVE
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct, field

from evenwatt_collector.feedback.trial import TESTS, Trial, take_control, take_treated
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_collector.jobs.model import Outcome

BASELINE: Final = "baseline"
CARBON: Final = "carbon"
ALPHA: Final = 0.02
"""Chance that a version that does no harm is ever rolled back, at most."""
CONTROL_SHARE: Final = 0.05
_SEEN: Final = 5_000


class Chosen(Struct, frozen=True, kw_only=True):
    """By what a job is decided."""

    policy: str
    """``carbon`` or ``baseline``."""
    version: str
    """That is in force; ``baseline`` where all were rolled back."""
    why: str


class RolledBack(Struct, frozen=True, kw_only=True):
    """A version that was taken back."""

    version: str
    to: str
    """What took over."""
    at_s: float
    test: str
    jobs: int
    saved_pct: float
    """Mean of what its jobs saved, each counted the same; negative: lost."""
    half_width_pct: float
    """Half of the 90 % range of that."""
    late: int
    late_anyway: int
    """Jobs that the baseline would have made late too."""
    words: str


class GuardState(Struct, kw_only=True):
    """All of it."""

    active: str = BASELINE
    before: list[str] = []
    """Versions that gave way to a newer one, the newest last."""
    rolled_back: list[RolledBack] = []
    trial: Trial = field(default_factory=Trial)
    seen: list[str] = []


class Guard:
    """Watches over the policy.

    Args:
        state: From :meth:`document`, of a run before; None: none.
        control_share: Of jobs that run by the baseline, 0 to 0.5.

    Raises:
        Failure: the state cannot be read, or the share is out of its range.
    """

    def __init__(self, state: Mapping[str, Any] | None = None, control_share: float = CONTROL_SHARE) -> None:
        if not 0 <= control_share <= 0.5:
            raise Failure(f"control_share is {control_share:g}; expected 0 to 0.5, e.g. {CONTROL_SHARE:g}")
        self._share = control_share
        try:
            self._state = GuardState() if state is None else msgspec.convert(dict(state), GuardState)
        except msgspec.ValidationError as error:
            raise Failure(f"the policy guard's state cannot be read ({error}); remove it to begin anew") from None

    def document(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        made: dict[str, Any] = msgspec.to_builtins(self._state)
        return made

    @property
    def active(self) -> str:
        """The version that is in force; ``baseline`` if all were rolled back."""
        return self._state.active

    @property
    def rolled_back(self) -> tuple[RolledBack, ...]:
        """Versions that were taken back and not reinstated, the newest last."""
        return tuple(self._state.rolled_back)

    @property
    def alarm(self) -> str | None:
        """What a person should know: that a policy was taken back, with the figures."""
        last = self._state.rolled_back[-1] if self._state.rolled_back else None
        return last.words if last is not None and last.to == self._state.active else None

    @property
    def trial(self) -> Trial:
        """What has been seen of the active version."""
        return self._state.trial

    def adopt(self, version: str) -> None:
        """Put a version in force, as at each start; one that was rolled back stays so until it is reinstated."""
        state = self._state
        if version == state.active or version in {one.version for one in state.rolled_back}:
            return
        if state.active != BASELINE:
            state.before = [*(known for known in state.before if known != version), state.active]
        state.active, state.trial = version, Trial()

    def reinstate(self, version: str) -> None:
        """Put a version in force that was rolled back; only a person does that.

        Raises:
            Failure: it was not rolled back.
        """
        known = [one.version for one in self._state.rolled_back]
        if version not in known:
            names = ", ".join(known) or "none"
            raise Failure(f"policy {version!r} was not rolled back; those that were: {names}")
        self._state.rolled_back = [one for one in self._state.rolled_back if one.version != version]
        self.adopt(version)

    def choose(self, job: str, *, pressed: bool) -> Chosen:
        """Return by what a job is decided; a job always gets the same answer while a version is in force.

        Args:
            job: Its id.
            pressed: Whether its deadline leaves little room.
        """
        version = self._state.active
        if version == BASELINE:
            return Chosen(policy=BASELINE, version=BASELINE, why=self.alarm or "no policy is in force")
        if not pressed and _draw(job, version) < self._share:
            why = f"a control: {self._share:.0%} of the jobs without pressure run at once, to know what the policy does"
            return Chosen(policy=BASELINE, version=version, why=why)
        return Chosen(policy=CARBON, version=version, why="")

    def observe(self, outcome: Outcome) -> RolledBack | None:
        """Take in what came of a job, in the order in which they end; return what was rolled back by it, if anything.

        Outcomes of other versions, and those that were seen before, change nothing.
        """
        state = self._state
        if outcome.version != state.active or state.active == BASELINE or outcome.job in state.seen:
            return None
        state.seen.append(outcome.job)
        del state.seen[:-_SEEN]
        if outcome.policy == BASELINE:
            take_control(state.trial, outcome)
        else:
            take_treated(state.trial, outcome)
        refuted = next((name for name in TESTS if state.trial.tests[name].against(ALPHA / len(TESTS))), None)
        return self._roll_back(refuted, outcome.ended_s) if refuted else None

    def _roll_back(self, test: str, now_s: float) -> RolledBack:
        state, trial = self._state, self._state.trial
        failed = {one.version for one in state.rolled_back}
        left = [version for version in state.before if version not in failed]
        to = left[-1] if left else BASELINE
        found = RolledBack(
            version=state.active,
            to=to,
            at_s=now_s,
            test=test,
            jobs=trial.saved.count,
            saved_pct=100 * trial.saved.mean,
            half_width_pct=100 * trial.saved.half_width,
            late=trial.late,
            late_anyway=trial.late_anyway,
            words=_words(state.active, to, test, trial),
        )
        state.rolled_back = [*state.rolled_back, found]
        state.active, state.before, state.trial = to, left[:-1], Trial()
        return found


def _draw(job: str, version: str) -> float:
    digest = hashlib.sha256(f"{version}\n{job}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _words(version: str, to: str, test: str, trial: Trial) -> str:
    saved, jobs = trial.saved, trial.saved.count
    mean, half = 100 * saved.mean, 100 * saved.half_width
    figures = f"over {jobs} jobs it saved {mean:+.1f} % a job (90 %: {mean - half:+.1f} to {mean + half:+.1f})"
    late = f"{trial.late} were late, {trial.late_anyway} would have been anyway"
    reason = {
        "loss": f"it emits more than doing nothing: {figures}",
        "drift": f"day by day it emits more than doing nothing: {figures}",
        "late": f"it makes jobs late: {late}",
        "control": f"its jobs emit more than the {trial.controls} controls; {figures}",
    }[test]
    takes = "jobs run at once, at home, at full power" if to == BASELINE else f"policy {to} is in force again"
    return (
        f"policy {version} was rolled back: {reason}; {takes}; it comes back by hand only "
        f"(or with a new version), at most {ALPHA:.0%} of harmless policies are rolled back"
    )
