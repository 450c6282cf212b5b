"""What of control's steps is worth a line: bands, caps that moved, work that was paused. Pure.

A zone is looked at again some seconds after it was told of last, against what was told then: caps that went there and
back are no news, and thousands of nodes that move together are one line with the reason that most of them share.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.explain.records import CAP_MOVED, CAP_MOVED_W, Cause
from evenwatt_collector.explain.words import band_words, watts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evenwatt_collector.control.arrays import Bools, Floats, Ints
    from evenwatt_collector.explain.narrate import Scene

QUIET_S: Final = 5.0
"""A zone is told of at most so often (our choice) ..."""
CAPS_QUIET_S: Final = 15.0
"""... and where only caps have moved, seldomer: a ramp has many steps."""
ZONES_AT_ONCE: Final = 16
"""Zones told of in one step at the most; the others in the next ones."""
NAMED: Final = 8
"""So many nodes are named; `count` says how many there are."""
_IN_WORDS: Final = 3
_CAUSES: Final = tuple(Cause)
_BANDS: Final = ("normal", "hold", "cap", "brake")


@dataclass(slots=True)
class _Told:
    """What was told of a zone."""

    at_s: float = -1e18
    band: str = "normal"
    worst: str = "normal"
    """The worst band since."""
    operators: dict[tuple[str, str], float] = field(default_factory=dict)
    """Nodes that an operator's lease holds, with its watts."""


class News:
    """What was told, and what is to be told next."""

    def __init__(self) -> None:
        self._cap_w: Floats = np.zeros(0)
        self._paused: Bools = np.zeros(0, dtype=np.bool_)
        self._zones: dict[str, _Told] = {}
        self._waiting: list[Decided] = []

    def take(self) -> list[Decided]:
        """Return what is news since the last call."""
        said, self._waiting = self._waiting, []
        return said

    def look(self, scene: Scene, cap_w: Floats, cause: Ints) -> None:
        """Take a step.

        Args:
            scene: The step and what is around it.
            cap_w: What each node may draw, by slot; NaN where it is not steered.
            cause: What decided that, as positions in :class:`Cause`.
        """
        count = len(scene.names)
        self._grow(count)
        present = scene.seen.present[:count]
        moved = present & _moved(cap_w, self._cap_w[:count])
        paused = scene.seen.paused[:count] & present
        turned = present & (paused != self._paused[:count])
        zone = scene.seen.zone[:count]
        for name in self._due(scene, set(zone[moved].tolist()), set(zone[turned].tolist())):
            z = scene.tree.names.index(name)
            here = present & (zone == z)
            self._waiting += self._of_zone(scene, z, here & moved, (cap_w, cause))
            self._waiting += self._of_pauses(scene, name, here & turned)
            self._cap_w[:count][here & moved] = cap_w[here & moved]
            self._paused[:count][here] = paused[here]

    def _due(self, scene: Scene, moved: set[int], turned: set[int]) -> list[str]:
        """Return the zones of which something is to be told now, those that have waited longest first."""
        due = []
        for z, name in enumerate(scene.tree.names):
            told = self._zones.setdefault(name, _Told())
            band = scene.decision.bands[z].value
            told.worst = max(told.worst, band, key=_BANDS.index)
            held = {key for key in scene.operators if key[0] == name}
            more = z in turned or told.worst != told.band or band != told.band or held != told.operators.keys()
            quiet_s = QUIET_S if more else CAPS_QUIET_S
            if (more or z in moved) and not 0 <= scene.wall_s - told.at_s < quiet_s:  # below 0: the clock was set back
                due.append(name)
        return sorted(due, key=lambda name: self._zones[name].at_s)[:ZONES_AT_ONCE]

    def _of_zone(self, scene: Scene, z: int, moved: Bools, now: tuple[Floats, Ints]) -> Iterator[Decided]:
        name, told = scene.tree.names[z], self._zones[scene.tree.names[z]]
        band = scene.decision.bands[z].value
        if told.worst != told.band or band != told.band:
            yield self._band(scene, z, told, band)
        told.at_s, told.band, told.worst = scene.wall_s, band, band
        yield from self._of_operators(scene, name, told)
        yield from self._of_caps(scene, name, np.flatnonzero(moved), *now)

    def _band(self, scene: Scene, z: int, told: _Told, band: str) -> Decided:
        name, decision = scene.tree.names[z], scene.decision
        worst = told.worst if _BANDS.index(told.worst) > max(map(_BANDS.index, (band, told.band))) else ""
        power_w, budget_w = float(decision.power_w[z]), float(decision.budget_w[z])
        limit = f" of {watts(budget_w)}" if np.isfinite(budget_w) else ""
        words = f"zone {name} {band_words(band)}: it draws {watts(power_w)}{limit}"
        if worst:
            words += f"; for a moment it {band_words(worst, was=True)}"
        return Decided(kind=DecisionKind.BAND, wall_s=scene.wall_s, zone=name, words=words)

    def _of_operators(self, scene: Scene, zone: str, told: _Told) -> Iterator[Decided]:
        held = {key: one for key, one in scene.operators.items() if key[0] == zone}
        for key in sorted(held.keys() ^ told.operators.keys())[:NAMED]:
            node = key[1]
            if key in held:
                cap_w, left_s = held[key]
                words = f"an operator's lease holds {node} at {watts(cap_w)} for {left_s:.0f} s more at the most"
            else:
                words = f"the operator's lease of {watts(told.operators[key])} on {node} is over"
            yield Decided(
                kind=DecisionKind.LEASE, wall_s=scene.wall_s, zone=zone, nodes=[f"{zone}:{node}"], words=words
            )
        told.operators = {key: cap_w for key, (cap_w, _) in held.items()}

    def _of_caps(self, scene: Scene, zone: str, slots: Ints, cap_w: Floats, cause: Ints) -> Iterator[Decided]:
        before_w, now_w = self._cap_w[slots], cap_w[slots]
        came, went = np.isnan(before_w) & ~np.isnan(now_w), ~np.isnan(before_w) & np.isnan(now_w)
        change_w = np.where(came | went, 0.0, now_w - before_w)
        for group, what in (
            (slots[went], "no longer steered"),
            (slots[came], f"steered from now on, at {_span(now_w[came])}"),
            (slots[change_w < 0], f"capped {_span(-change_w[change_w < 0])} lower"),
            (slots[change_w > 0], f"capped {_span(change_w[change_w > 0])} higher"),
        ):
            if not len(group):
                continue
            names = [scene.names[slot][1] for slot in group.tolist()]
            cap = float(cap_w[group[0]])
            now = f", at {watts(cap)} now" if len(names) == 1 and what.startswith("capped") else ""
            how = f"{'is' if len(names) == 1 else 'are'} {what}{now}"
            words = f"{_who(names)} {how}: {_why(scene, group, cause[group])}"
            yield Decided(
                kind=DecisionKind.CAP,
                wall_s=scene.wall_s,
                zone=zone,
                nodes=[f"{zone}:{name}" for name in names[:NAMED]],
                count=len(names),
                words=words,
            )

    def _of_pauses(self, scene: Scene, zone: str, turned: Bools) -> Iterator[Decided]:
        for pause in (True, False):
            slots = np.flatnonzero(turned & (scene.seen.paused[: len(turned)] == pause))
            if not len(slots):
                continue
            names = [scene.names[slot][1] for slot in slots.tolist()]
            yield Decided(
                kind=DecisionKind.PAUSE if pause else DecisionKind.RESUME,
                wall_s=scene.wall_s,
                zone=zone,
                nodes=[f"{zone}:{name}" for name in names[:NAMED]],
                count=len(names),
                words=f"work on {_listed(names)} {_pause_words(scene, slots, pause=pause)}",
            )

    def _grow(self, count: int) -> None:
        more = count - len(self._cap_w)
        if more > 0:
            self._cap_w = np.concatenate((self._cap_w, np.full(more, np.nan)))
            self._paused = np.concatenate((self._paused, np.zeros(more, dtype=np.bool_)))


def _moved(now_w: Floats, before_w: Floats) -> Bools:
    far: Bools = np.abs(now_w - before_w) > np.maximum(CAP_MOVED_W, CAP_MOVED * before_w)
    moved: Bools = far | (np.isnan(now_w) != np.isnan(before_w))
    return moved


def _span(values_w: Floats) -> str:
    if not len(values_w):
        return ""
    least, most = watts(float(values_w.min())), watts(float(values_w.max()))
    return least if least == most else f"{least.removesuffix(' W')} to {most}"


def _who(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names):,} nodes ({_listed(names)})"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _IN_WORDS:,} more" if len(names) > _IN_WORDS else ""
    return ", ".join(names[:_IN_WORDS]) + more


def _pause_words(scene: Scene, slots: Ints, *, pause: bool) -> str:
    if not pause:
        return "goes on: there is room for it again, or whoever paused it has let it go"
    ours = slots[0] < len(scene.paused_by_us) and bool(scene.paused_by_us[slots[0]])
    return "is paused: caps alone cannot keep the zone to its limit" if ours else "is paused, by a person or a program"


def _why(scene: Scene, slots: Ints, cause: Ints) -> str:
    """Return the reason that most of some nodes share."""
    most, _ = Counter(cause.tolist()).most_common(1)[0]
    slot = int(slots[np.flatnonzero(cause == most)[0]])
    held = scene.rule(*scene.names[slot]).held
    if held and _CAUSES[most] in {Cause.FREE, Cause.SURPLUS, Cause.MET}:
        named, _, _ = held.partition(" (")
        return f"held at {named}"
    others = "" if (cause == most).all() else f" (so for {int((cause == most).sum()):,} of them)"
    return f"{_REASONS[_CAUSES[most]]}{others}"


_REASONS: Final = {
    Cause.FREE: "no zone here is short of power",
    Cause.SURPLUS: "every demand is met, and what is left over is shared",
    Cause.MET: "important work gets what it wants, and others share the rest",
    Cause.LEVEL: "what is left after more important work is shared",
    Cause.PART: "each is sure of the essential part of its demand, and more important work gets the rest first",
    Cause.WAITS: "all that is left goes to more important work, so these keep their floor",
    Cause.FLOOR: "the limit is below what the nodes need at the least",
    Cause.BRAKE: "the zone drew more than its limit, so present use was cut at once",
    Cause.DRY_RUN: "dry run, nothing is sent",
    Cause.UNSTEERED: "nothing is heard of them, or they let nobody control them now",
}
