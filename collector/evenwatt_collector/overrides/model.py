"""An override: what a person asked for, until when, why, and who it was. Pure.

It can only tighten: a zone obeys the lowest of its limits, a node the lower of its share and its cap, and the floor
and the list of what may be paused that its owner wrote down hold in any case. It ends by itself, after a day at most.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

LEAST_S: Final = 10.0
LONGEST_S: Final = 86_400.0
"""What is meant for longer belongs into the policy."""
_PLAIN: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*(?!\n)$"
"""Nothing that a terminal or a line of a log would obey."""

Name = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?!\n)$")]
Watts = Annotated[float, Meta(gt=0, le=1e9)]
Reason = Annotated[str, Meta(min_length=3, max_length=200, pattern=_PLAIN)]


class Kind(StrEnum):
    """What is asked for."""

    LIMIT = "limit"
    """Of a zone, in watts."""
    CAP = "cap"
    """Of a node, in watts."""
    PAUSE = "pause"
    """Of the work on a node whose pausing its owner allows."""


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody asks for."""

    kind: Kind
    zone: Name
    node: Name | None = None
    """Of a cap or pause."""
    watts: Watts | None = None
    """Of a limit or cap."""
    for_s: Annotated[float, Meta(ge=LEAST_S, le=LONGEST_S)]
    """How long, in seconds."""
    reason: Reason


class Override(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One that was set."""

    id: str
    kind: Kind
    zone: str
    node: str | None = None
    watts: float | None = None
    since_s: float
    """Unix time, as is ``until_s``."""
    until_s: float
    reason: str
    by: str
    """Whose token it was."""
    key: str = ""
    """What its sender calls the request, so that one that is sent twice is one."""

    @property
    def place(self) -> tuple[str, str, str]:
        """Of two with the same, the later one counts."""
        return self.zone, self.node or "", self.kind.value

    @property
    def ends_s(self) -> float:
        """When it ends: after a day at the latest, whatever was kept."""
        return min(self.until_s, self.since_s + LONGEST_S)

    def holds(self, wall_s: float) -> bool:
        """Whether it has not ended."""
        return wall_s < self.ends_s


def in_utc(wall_s: float) -> str:
    """Return a moment as people and programs both read it."""
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(override: Override) -> str:
    """Say whose an override is, until when, and why."""
    return f"set by {override.by} until {in_utc(override.ends_s)} ({override.reason})"


class Effect(Struct, frozen=True, kw_only=True):
    """What an override does, said beforehand."""

    kind: Kind
    zone: str
    node: str | None
    nodes: int
    """How many nodes it touches."""
    power_w: float | None
    """What zone or node draws now."""
    now_w: float | None
    """Limit or cap now; None: there is none."""
    then_w: float | None
    """Limit or cap while it lasts; of a pause None."""
    floor_w: float
    """What zone or node cannot be brought below."""
    until_s: float
    """Unix time."""
    targets: list[str]
    """What is paused."""
    replaces: str | None
    """Id of the override that it takes the place of."""
    lines: list[str]
    """All of it in words."""
