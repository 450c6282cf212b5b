"""What may stand in ``policy.toml``, key by key; ``docs/policy.md`` explains it to its writer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Watts = Annotated[float, Meta(ge=0, le=1e9)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(?!\n)$")]
"""A zone's identifier, as in topics: 1 to 63 of a-z, 0-9 and '-'."""
Clock = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)(?!\n)$")]
"""Time of day, ``HH:MM``; ``24:00`` is the end of the day."""
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Lost = Literal["fallback", "hold", "restore"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Schedule(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[[zones.schedule]]``: a lower limit at certain hours, such as those of a dear tariff."""

    start: Clock = field(name="from")
    """Time of day at which the window begins."""
    end: Clock = field(name="to")
    """Not after ``from``: the window ends on the next day."""
    budget_w: Watts
    """Limit in the window, in watts; it counts where it is the lowest."""
    days: tuple[Day, ...] = DAYS
    """Days on which the window begins."""
    timezone: str = "UTC"
    """Name in the IANA time zone database."""
    why: str = ""
    """Shown by ``evenwatt explain``."""


class Event(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[[zones.events]]``: demand response, a lower limit from one moment to another."""

    name: str
    """Shown by ``evenwatt explain`` and in events."""
    start: datetime
    """Date and time with an offset."""
    end: datetime
    """Date and time with an offset."""
    budget_w: Watts
    """Limit from start to end, in watts."""
    lead_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """So long ahead of the start the limit begins to glide down, so that it is met at the start."""


class Carbon(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[zones.carbon]``: grams of CO2e a day, which become a power limit for each interval."""

    grams_per_day: Annotated[float, Meta(gt=0, le=1e12)]
    """Grams of CO2e from midnight to midnight."""
    interval_s: Annotated[float, Meta(ge=10, le=3600)] = 300.0
    """Seconds after which the power limit is worked out anew."""
    timezone: str = "UTC"
    """Where the day begins at midnight."""


class Zone(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[[zones]]``: one power domain."""

    name: Name
    """Identifier, as in topics and in the nodes' settings."""
    parent: Name | None = None
    """The zone around it, whose limit holds as well."""
    budget_w: Watts | None = None
    """Hard limit at all times."""
    unmanaged_w: Watts = 0.0
    """Fixed load of its own under the same limit that no node reports."""
    margin: Annotated[float, Meta(ge=0.02, le=0.5)] = 0.02
    """Fraction of the limit that is never handed out, for what meters do not see; control keeps 2 % at the least."""
    dry_run: bool | None = None
    """Say what would be done and do nothing; default: the top level's."""
    schedule: tuple[Schedule, ...] = ()
    events: tuple[Event, ...] = ()
    carbon: Carbon | None = None


class NodeClass(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """``[[classes]]``: what holds for some nodes. A node is of the first class that matches it."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    """What it is called in explanations."""
    nodes: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]
    """Globs of node names: ``*``, ``?`` and ``[abc]``."""
    zone: Name | None = None
    """Only nodes in this zone or in zones inside it."""
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None
    """0 gives way first, 9 last; default: what the node says."""
    weight: Annotated[float, Meta(gt=0, le=1000)] | None = None
    """Share against others of the same priority; default: what the node says."""
    floor_w: Watts | None = None
    """Watts that a node is never capped below; default: what the node says."""
    ceiling_w: Watts | None = None
    """Watts that a node never gets more than; default: what the node says."""
    pausable: bool = False
    """Its work may be paused where caps are not enough."""
    targets: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    """Names on the node's own allow-list; none: all of them."""
    on_lost: Lost | None = None
    """Default: the top level's."""


class Document(Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """The whole file."""

    dry_run: bool = False
    """Say what would be done and do nothing."""
    on_lost: Lost = "fallback"
    """What a node does when it hears nothing any more; default of every class."""
    zones: tuple[Zone, ...] = ()
    classes: tuple[NodeClass, ...] = ()
