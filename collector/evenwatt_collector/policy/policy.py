"""A policy that holds: what bounds each zone at a moment, when that changes, and of which class a node is.

Pure but for :func:`load_policy`, which reads the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING

from evenwatt_collector.overrides.model import told
from evenwatt_collector.policy import classes
from evenwatt_collector.policy.check import contradictions
from evenwatt_collector.policy.problems import errors, listed
from evenwatt_collector.policy.reading import located, read
from evenwatt_collector.policy.timetable import Bound, Source, bounds_at, changes_after
from evenwatt_daemon import Failure, read_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from evenwatt_collector.overrides.model import Override
    from evenwatt_collector.policy.lines import Lines
    from evenwatt_collector.policy.problems import Problem
    from evenwatt_collector.policy.schema import Document, NodeClass, Zone


class PolicyError(Failure):
    """A policy that cannot be used; it lists every problem, one a line."""

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(listed(problems, path))


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked policy."""

    path: str
    document: Document
    lines: Lines
    warnings: tuple[Problem, ...]
    nesting: classes.Nesting


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds for a zone at a moment."""

    zone: Zone
    bounds: tuple[Bound, ...]
    """Everything that bounds it, the lowest first; empty: it has no limit of its own."""
    dry_run: bool

    @property
    def budget_w(self) -> float:
        """The lowest bound; infinite without any."""
        return self.bounds[0].budget_w if self.bounds else inf

    @property
    def why(self) -> str:
        """Where that comes from, in words."""
        return self.bounds[0].why if self.bounds else "no limit of its own"


def load_policy(path: Path | str) -> Policy:
    """Read and check a policy.

    Raises:
        PolicyError: it has problems; all of them are listed with their lines.
        Failure: it cannot be read.
    """
    return parse_policy(read_document(path), str(path))


def parse_policy(data: bytes, path: str) -> Policy:
    """Check a policy's text; ``path`` is for messages. Raises :class:`PolicyError` where it has problems."""
    document, problems, lines = read(data.decode("utf-8", errors="replace"))
    if document is None:
        raise PolicyError(path, problems)
    found = located(contradictions(document), lines)
    if errors(found):
        raise PolicyError(path, found)
    return Policy(path, document, lines, tuple(found), classes.Nesting(document))


def limits_at(
    policy: Policy, wall_s: float, overrides: Sequence[Override] = (), carbon_w: Mapping[str, float] | None = None
) -> dict[str, Limit]:
    """Return what holds for every zone at a moment.

    Args:
        policy: The policy.
        wall_s: Unix time.
        overrides: Limits that a person has set for a while.
        carbon_w: Limits by the carbon loop, per zone.
    """
    return {
        zone.name: _limit(policy.document, zone, wall_s, overrides, (carbon_w or {}).get(zone.name))
        for zone in policy.document.zones
    }


def next_change_s(policy: Policy, wall_s: float, overrides: Sequence[Override] = ()) -> float:
    """Return the next moment at which a limit begins, ends or begins to glide; infinite when there is none."""
    moments = [moment for zone in policy.document.zones for moment in changes_after(zone, wall_s)]
    moments += [override.ends_s for override in overrides if override.holds(wall_s)]
    return min(moments, default=inf)


def class_of(policy: Policy, zone: str, node: str) -> NodeClass | None:
    """Return the first class that a node matches; None: it is as it says of itself."""
    return classes.class_of(policy.document, policy.nesting, zone, node)


def _limit(
    document: Document, zone: Zone, wall_s: float, overrides: Sequence[Override], carbon_w: float | None
) -> Limit:
    bounds = bounds_at(zone, wall_s)
    for override in overrides:
        if override.zone == zone.name and override.watts is not None and override.holds(wall_s):
            why = f"an override {told(override)}"
            bounds.append(Bound(override.watts, Source.OVERRIDE, why, override.ends_s))
    if carbon_w is not None and zone.carbon is not None and isfinite(carbon_w):
        why = f"its carbon budget of {zone.carbon.grams_per_day:g} g a day"
        bounds.append(Bound(carbon_w, Source.CARBON, why))
    dry_run = document.dry_run if zone.dry_run is None else zone.dry_run
    return Limit(zone, tuple(sorted(bounds, key=lambda bound: bound.budget_w)), dry_run)
