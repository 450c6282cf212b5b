"""The ``standby`` and ``shard`` tables of a collector's settings."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class StandbySettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """This collector is one of two on one database; docs/standby.md."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$")]
    """What it is called, other than the other one."""
    takeover_s: Annotated[float, Meta(ge=2, le=60)] = 2.5
    """The active one is taken for dead when nothing was seen of it for so long."""


class ShardSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """This collector is one of several on one database, each with zones of its own; docs/scale.md."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
    """What the shard is called; the two collectors of a pair have the same shard."""
    url: str = ""
    """Where this shard is asked, such as ``https://north.example``; the status of the other shards tells it."""
