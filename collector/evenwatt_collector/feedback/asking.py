"""What ``improvement`` is asked for, how that travels in a URL, and the answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from evenwatt_collector.feedback.weeks import Improvement, by_workload, improvement
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evenwatt_collector.jobs.model import Outcome

SCHEMA: Final = "evenwatt-improvement/1"
WEEKS: Final = 8
MOST_WEEKS: Final = 520


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementQuery:
    """One question."""

    weeks: int = WEEKS
    """How many, the one that is under way included."""
    workload: str | None = None
    by: str | None = None
    """``workload``: each of them beside the whole."""

    def parameters(self) -> dict[str, str]:
        """Return it as the parameters of ``GET /api/v1/improvement``."""
        said = {"weeks": str(self.weeks), "workload": self.workload, "by": self.by}
        return {key: value for key, value in said.items() if value is not None}

    @classmethod
    def from_parameters(cls, said: Mapping[str, str]) -> Self:
        """Read :meth:`parameters` back.

        Raises:
            Failure: a parameter is unknown or out of its range; it names the parameter.
        """
        known = ("weeks", "workload", "by")
        for key in said:
            if key not in known:
                raise Failure(f"{key}: no such parameter; expected some of {', '.join(known)}")
        weeks = said.get("weeks", str(WEEKS))
        if not (weeks.isascii() and weeks.isdigit() and len(weeks) < 9 and 1 <= int(weeks) <= MOST_WEEKS):
            raise Failure(f"weeks: found {weeks[:40]!r}, expected 1 to {MOST_WEEKS}")
        if said.get("by", "workload") != "workload":
            raise Failure(f"by: found {said['by']!r}, expected workload")
        return cls(weeks=int(weeks), workload=said.get("workload"), by=said.get("by"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the policy stands; as the guard knows it."""

    active: str
    alarm: str | None
    jobs: int
    """Of the active version, under test."""
    controls: int
    rolled_back: tuple[str, ...]
    shard: str = ""
    """Whose it is, of several collectors on one database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvements:
    """An answer."""

    made_s: float
    version: str
    fleet: str
    whole: Improvement
    workloads: tuple[Improvement, ...] = ()
    policy: Policy | None = None
    """None: nothing is known of one."""


def improvements(
    outcomes: Sequence[Outcome], query: ImprovementQuery, made: tuple[float, str, str], policy: Policy | None = None
) -> Improvements:
    """Return an answer; ``made`` is when (Unix time), by which version, of which fleet."""
    now_s, version, fleet = made
    kept = [one for one in outcomes if query.workload in {None, one.workload}]
    return Improvements(
        made_s=now_s,
        version=version,
        fleet=fleet,
        whole=improvement(kept, now_s, query.weeks, query.workload),
        workloads=tuple(by_workload(kept, now_s, query.weeks)) if query.by else (),
        policy=policy,
    )


def to_document(found: Improvements) -> dict[str, Any]:
    """Return an answer as JSON types."""
    return {"schema": SCHEMA, **msgspec.to_builtins(found)}


def from_document(document: object) -> Improvements:
    """Read an answer back.

    Raises:
        Failure: it is none; it names the field.
    """
    try:
        return msgspec.convert(document, Improvements)
    except msgspec.ValidationError as error:
        raise Failure(f"this is no answer on improvement ({error}); expected the schema {SCHEMA}") from None
