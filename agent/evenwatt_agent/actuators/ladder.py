"""The knobs of one domain in the order in which they are tried: the next one takes over from one that does not work.

::

    knob 0 --refused, ignored twice, or not obeyed--> knob 1 --the same--> ... --the same--> last knob: the error stays
    any knob --the caps were released--> knob 0

A knob that is given up is set back to its ceiling first, as far as it lets itself be set: later, at a higher limit,
nothing must hold the domain down that nobody looks after.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from evenwatt_agent.actuators.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_agent.actuators.model import Knob, Original


@dataclass(frozen=True, slots=True)
class Replaced:
    """One knob that another has taken over from."""

    domain: str
    knob: str
    by: str
    why: str


class Ladder:
    """All knobs of one domain; it is itself the one that works."""

    def __init__(self, knobs: Iterable[Knob]) -> None:
        self.knobs = list(knobs)
        self._at = 0
        self._replaced: list[Replaced] = []

    @property
    def active(self) -> Knob:
        """The knob in use."""
        return self.knobs[self._at]

    @property
    def given_up(self) -> list[Knob]:
        """The knobs before it, which did not work."""
        return self.knobs[: self._at]

    @property
    def has_next(self) -> bool:
        """Whether another knob could take over."""
        return self._at + 1 < len(self.knobs)

    @property
    def domain(self) -> str:
        """What all of them limit."""
        return self.active.domain

    @property
    def throttle(self) -> Throttle | None:
        """The knob in use where it is a throttle, whose ends are estimates that are learned."""
        return self.active if isinstance(self.active, Throttle) else None

    @property
    def exhausted(self) -> bool:
        """Whether the knob in use can go no lower; a limit in watts is obeyed or not, at any value."""
        return self.throttle is None or self.throttle.exhausted

    def originals(self) -> list[Original]:
        """Those of the knob in use."""
        return self.active.originals()

    def next_originals(self) -> list[Original]:
        """Those of the knob that would take over."""
        return self.knobs[self._at + 1].originals()

    def write(self, limit_w: float) -> float:
        """Set the limit and return what the device says.

        Raises:
            LockedError: the device refused or ignored it; :meth:`step_down` tries the next knob.
            OSError: the device is gone.
        """
        return self.active.write(limit_w)

    def follow(self, power_w: float) -> None:
        """Let a knob that is not in watts follow the domain's power."""
        if self.throttle is not None:
            self.throttle.follow(power_w)

    def step_down(self, why: str) -> bool:
        """Give up the knob in use; return whether there is another one."""
        if not self.has_next:
            return False
        given_up = self.active
        with suppress(OSError):
            given_up.write(given_up.ceiling_w)
        self._at += 1
        self._replaced.append(Replaced(self.domain, given_up.id, self.active.id, why))
        return True

    def start_over(self) -> None:
        """Begin at the first knob again: every original value has been put back."""
        self._at = 0
        for knob in self.knobs:
            if isinstance(knob, Throttle):
                knob.forget()

    def take_replaced(self) -> list[Replaced]:
        """Return what was replaced since the last call."""
        taken, self._replaced = self._replaced, []
        return taken


def by_domain(knobs: Iterable[Knob]) -> list[Ladder]:
    """Group knobs by the domain they limit, each in the order given."""
    ordered = list(knobs)
    domains = list(dict.fromkeys(knob.domain for knob in ordered))
    ranked = sorted(ordered, key=lambda knob: domains.index(knob.domain))
    return [Ladder(group) for _, group in groupby(ranked, key=lambda knob: knob.domain)]
