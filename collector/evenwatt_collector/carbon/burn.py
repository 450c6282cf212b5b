"""Alerts about budgets in grams, from open over updated to resolved. Pure: wall time is an argument.

``burn_rules.py`` says when an alert is on and why there. Here it is seen to that nothing flaps (an alert ends only
clearly below where it begins, and after a while there) and nothing repeats (an open alert speaks again only if it gets
worse, or if a revision takes "spent" to another level).

Corrected intensity and late energy move what is spent at one blow. Burn rates come from the live rate, so that such a
blow is no burning; it is recognised by what the rate cannot explain, and the words say "revised".
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.alerts import Alert, AlertState
from evenwatt_collector.carbon import burn_words as words
from evenwatt_collector.carbon.budgets import KNOWN_SHARE, SECONDS_PER_HOUR, Rates, period
from evenwatt_collector.carbon.burn_rules import DAY, LEVELS, MONTH, find_blind, find_burn, find_projection, find_spent
from evenwatt_collector.carbon.burn_words import Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_collector.carbon.budgets import BudgetSettings, Period, Spent
    from evenwatt_collector.carbon.burn_rules import Finding


_LONGEST_STEP_S: Final = 300.0
"""Over a longer pause between steps the rate counts as unknown."""
_REVISED_UP: Final = 0.01
_REVISED_DOWN: Final = 0.001
"""Parts of the budget by which figures must jump beyond what the rate explains, or fall, to be called revised."""


class _Live(msgspec.Struct):
    """An open alert."""

    alert: Alert
    level: int
    clear_s: float | None = None
    """Since when it has been clearly over."""


class _Memory(msgspec.Struct):
    """What a budget's watch remembers; plain data."""

    bins: list[list[float]] = []
    live: dict[str, _Live] = {}
    rising_s: dict[str, float] = {}
    """By kind of alert: since when it has been on without being open yet."""
    seen_s: float | None = None
    seen_g: float | None = None
    seen_rate: float | None = None
    period_start_s: float | None = None
    revised_g: float = 0.0
    revised_s: float | None = None


class BurnAlerts:
    """Watches every budget.

    Args:
        budgets: Checked ones, see :func:`~evenwatt_collector.carbon.budgets.check_budgets`.
    """

    def __init__(self, budgets: Sequence[BudgetSettings]) -> None:
        self._watches = {budget.name: _Watch(budget) for budget in budgets}
        self._orphans: list[Alert] = []

    @property
    def open(self) -> list[Alert]:
        """What is open, each as it was last said."""
        return [live.alert for watch in self._watches.values() for live in watch.memory.live.values()]

    def step(self, wall_s: float, spent: Mapping[str, Spent | None]) -> list[Alert]:
        """Judge every budget; return what is to be said.

        Args:
            wall_s: Unix time.
            spent: By budget's name; a budget that is missing here is blind, not at 0 g.
        """
        orphans, self._orphans = self._orphans, []
        gone = [
            _next(alert, wall_s, AlertState.RESOLVED, f"budget {alert.about} is no longer in the settings.")
            for alert in orphans
        ]
        judged = (watch.step(wall_s, spent.get(name)) for name, watch in self._watches.items())
        return [*gone, *chain.from_iterable(judged)]

    def state(self) -> dict[str, Any]:
        """Return all that must survive a restart, as JSON-able data."""
        kept: dict[str, Any] = {name: msgspec.to_builtins(watch.remembered()) for name, watch in self._watches.items()}
        return kept

    def restore(self, state: object) -> None:
        """Take up what :meth:`state` gave, before the first step.

        Raises:
            ValueError: it is not what :meth:`state` gives; nothing has been taken up.
        """
        for name, memory in msgspec.convert(state, dict[str, _Memory]).items():
            watch = self._watches.get(name)
            if watch is None:
                self._orphans += [live.alert for live in memory.live.values()]
            else:
                watch.take_up(memory)


class _Watch:
    """One budget's."""

    def __init__(self, settings: BudgetSettings) -> None:
        self.memory = _Memory()
        self._settings = settings
        self._pace = MONTH if settings.monthly else DAY
        longest_s = max(*(rule.long_s for rule in self._pace.rules), self._pace.projection_window_s)
        self._rates = Rates(self._pace.bin_s, longest_s)

    def remembered(self) -> _Memory:
        self.memory.bins = self._rates.state()
        return self.memory

    def take_up(self, memory: _Memory) -> None:
        self.memory = memory
        self._rates.restore(memory.bins)

    def step(self, wall_s: float, spent: Spent | None) -> list[Alert]:
        now, memory = period(self._settings, wall_s), self.memory
        used_g = None if spent is None else _figure(spent.month_g if self._settings.monthly else spent.day_g)
        rate = None if spent is None else _figure(spent.rate_g_per_h)
        coverage = (None if spent is None else _figure(spent.coverage)) or 0.0
        covered = coverage >= KNOWN_SHARE
        said = self._turn(now, wall_s) if memory.period_start_s not in {None, now.start_s} else []
        memory.period_start_s = now.start_s
        self._book(wall_s, used_g, rate if covered else None)
        at = Position(
            settings=self._settings,
            period=now,
            now_s=wall_s,
            used_g=used_g,
            rate_g_per_h=rate,
            coverage=coverage,
            revised_g=memory.revised_g,
            revised_s=memory.revised_s,
        )
        sees = used_g is not None and rate is not None and covered
        findings = [
            find_blind(at, sees=sees),
            find_burn(at, self._pace, self._rates, sees=sees, held=self._held("burn")),
            find_projection(at, self._pace, self._rates, sees=sees),
            find_spent(at, held=self._held("spent")),
        ]
        return said + [alert for finding in findings if (alert := self._say(finding)) is not None]

    def _held(self, kind: str) -> int:
        live = self.memory.live.get(kind)
        return live.level if live else 0

    def _turn(self, now: Period, wall_s: float) -> list[Alert]:
        """Begin a new period: what was said of the last one is over."""
        memory = self.memory
        memory.revised_g, memory.revised_s = 0.0, None
        memory.rising_s.pop("projection", None)
        each = "month" if self._settings.monthly else "day"
        last = "" if memory.seen_g is None else f" with {words.mass(memory.seen_g)} used"
        text = f"{words.subject(self._settings)}: its {each} ended{last}; a new one has begun."
        memory.seen_g = None
        ended = [memory.live.pop(kind).alert for kind in ("projection", "spent") if kind in memory.live]
        return [_next(alert, min(wall_s, max(now.start_s, alert.at_s)), AlertState.RESOLVED, text) for alert in ended]

    def _book(self, wall_s: float, used_g: float | None, rate: float | None) -> None:
        """Add the time since the last step to the rates, and see whether the figures were revised."""
        memory = self.memory
        before_s, before_rate = memory.seen_s, memory.seen_rate
        passed_s = 0.0 if before_s is None else wall_s - before_s
        if before_s is not None and rate is not None and before_rate is not None and 0 < passed_s <= _LONGEST_STEP_S:
            mean = (before_rate + rate) / 2
            self._rates.add(before_s, wall_s, mean)
            if used_g is not None and memory.seen_g is not None:
                self._compare(wall_s, used_g - memory.seen_g, mean * passed_s / SECONDS_PER_HOUR)
        memory.seen_s, memory.seen_rate = wall_s, rate
        memory.seen_g = memory.seen_g if used_g is None else used_g

    def _compare(self, wall_s: float, grown_g: float, expected_g: float) -> None:
        budget_g, memory = self._settings.budget_g, self.memory
        beyond_g = grown_g - expected_g
        if grown_g < -_REVISED_DOWN * budget_g or beyond_g > max(_REVISED_UP * budget_g, expected_g):
            memory.revised_g += beyond_g
            memory.revised_s = wall_s

    # --- what is said of it ---------------------------------------------------------------------------------------

    def _say(self, finding: Finding) -> Alert | None:
        memory, kind, now_s = self.memory, finding.kind, finding.at.now_s
        live = memory.live.get(kind)
        if live is None:
            return self._open(finding) if self._risen(finding) else None
        if finding.off:
            live.clear_s = min(now_s, now_s if live.clear_s is None else live.clear_s)
            if now_s - live.clear_s >= finding.fall_s:
                del memory.live[kind]
                return _next(live.alert, now_s, AlertState.RESOLVED, self._over(finding), finding)
            return None
        live.clear_s = None
        if not finding.on or finding.level == live.level or (finding.level < live.level and kind != "spent"):
            return None
        live.level = finding.level
        live.alert = _next(live.alert, now_s, AlertState.UPDATED, finding.text, finding)
        return live.alert

    def _risen(self, finding: Finding) -> bool:
        rising, now_s = self.memory.rising_s, finding.at.now_s
        if not finding.on:
            rising.pop(finding.kind, None)
            return False
        since_s = rising.setdefault(finding.kind, now_s)
        if now_s < since_s:  # the clock was set back
            since_s = rising[finding.kind] = now_s
        if now_s - since_s < finding.rise_s:
            return False
        del rising[finding.kind]
        return True

    def _open(self, finding: Finding) -> Alert:
        at_s = finding.at.now_s
        alert = Alert(
            id=f"{self._settings.name}:{finding.kind}:{int(at_s)}",
            step=0,
            kind=finding.kind,
            about=self._settings.name,
            scope=self._settings.scope,
            state=AlertState.OPEN,
            severity=finding.severity,
            since_s=at_s,
            at_s=at_s,
            figures=finding.at.figures(**dict(finding.more)),
            words=finding.text,
            advice=finding.advice,
            webhooks=tuple(self._settings.webhooks),
        )
        self.memory.live[finding.kind] = _Live(alert, finding.level)
        return alert

    def _over(self, finding: Finding) -> str:
        at = finding.at
        what = {
            "blind": f"{words.subject(self._settings)} can be watched again.",
            "burn": f"{words.subject(self._settings)} is no longer burnt too fast.",
            "projection": f"{words.subject(self._settings)} lasts at this rate.",
            "spent": f"{words.subject(self._settings)} is below {LEVELS[0]} % again.",
        }[finding.kind]
        if finding.kind == "projection" and at.used_g is not None and at.used_g >= self._settings.budget_g:
            what = f"{words.subject(self._settings)} is used up: no projection any more."
        return f"{what} {words.used(at)}{words.revised(at)}"


def _figure(value: float | None) -> float | None:
    """Return a figure that can be one; what cannot is not known."""
    return value if value is not None and isfinite(value) and value >= 0 else None


def _next(alert: Alert, at_s: float, state: AlertState, text: str, finding: Finding | None = None) -> Alert:
    """Return an alert's next message."""
    over = state is AlertState.RESOLVED
    return replace(
        alert,
        step=alert.step + 1,
        state=state,
        severity=alert.severity if over or finding is None else finding.severity,
        at_s=at_s,
        figures=alert.figures if finding is None else finding.at.figures(**dict(finding.more)),
        words=text,
        advice="" if over or finding is None else finding.advice,
    )
