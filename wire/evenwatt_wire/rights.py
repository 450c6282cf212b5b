"""Who says and who hears each kind of message: what a broker's access list has to allow, and nothing beyond it.

The list is written from this table (``evenwatt broker acl``), so a new kind of message stands here before it is heard.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from evenwatt_wire.topics import CONTROLLER_NODE, ZONE_NODE, Kind


class Party(StrEnum):
    """What a client of the broker is."""

    NODE = "node"
    COLLECTOR = "collector"
    OPERATOR = "operator"
    VIEWER = "viewer"
    """Only listens: screens, other people's programs."""


class Place(StrEnum):
    """Whose messages they are: the level of the topic before the kind."""

    NODE = "node"
    """The node's own: no other node says or hears them."""
    ZONE = ZONE_NODE
    CONTROLLER = CONTROLLER_NODE


class Right(NamedTuple):
    """Who may say and hear one kind of message in one place."""

    place: Place
    kind: Kind
    said_by: frozenset[Party]
    heard_by: frozenset[Party]


_N, _C, _O, _V = Party.NODE, Party.COLLECTOR, Party.OPERATOR, Party.VIEWER


def _right(place: Place, kind: Kind, said_by: tuple[Party, ...], heard_by: tuple[Party, ...]) -> Right:
    """Return a right; a collector hears everything, since another may stand in for it."""
    return Right(place, kind, frozenset(said_by), frozenset(heard_by) | {_C})


RIGHTS: Final = (
    _right(Place.NODE, Kind.STATE, (_N,), (_N, _O, _V)),
    _right(Place.NODE, Kind.BIRTH, (_N,), (_O, _V)),
    _right(Place.NODE, Kind.LIVE, (_N,), (_N, _O, _V)),  # a node listens for another of its name before it speaks
    _right(Place.NODE, Kind.LEDGER, (_N,), (_O, _V)),
    _right(Place.NODE, Kind.STORED, (_C,), (_N, _O, _V)),
    _right(Place.NODE, Kind.EVENT, (_N,), (_O, _V)),
    _right(Place.NODE, Kind.COMMAND, (_C, _O), (_N, _O)),
    _right(Place.NODE, Kind.ACK, (_N,), (_O, _V)),
    _right(Place.NODE, Kind.SUMMARY, (_N,), (_O, _V)),
    _right(Place.NODE, Kind.RUN, (_N,), (_O,)),  # it carries what the job has written
    _right(Place.NODE, Kind.PROBE, (_N,), (_N,)),
    _right(Place.NODE, Kind.ECHO, (_C,), (_N,)),
    _right(Place.ZONE, Kind.SUMMARY, (_C,), (_O, _V)),
    _right(Place.CONTROLLER, Kind.STATE, (_C,), (_N, _O, _V)),
    _right(Place.CONTROLLER, Kind.BEAT, (_C,), ()),
    _right(Place.CONTROLLER, Kind.TRUST, (_C,), (_N, _O, _V)),
    _right(Place.CONTROLLER, Kind.RENEW, (_C,), (_N, _O)),
    _right(Place.CONTROLLER, Kind.SUBMIT, (_O,), ()),
    _right(Place.CONTROLLER, Kind.JOBS, (_C,), (_O, _V)),
    _right(Place.CONTROLLER, Kind.DEPLOYMENTS, (_C,), (_N, _O, _V)),
    _right(Place.CONTROLLER, Kind.PROBE, (_O,), (_O,)),
    _right(Place.CONTROLLER, Kind.ECHO, (_C,), (_O,)),
)
