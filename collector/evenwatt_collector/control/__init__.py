"""The control core: pure, time is an argument, nothing here waits or sends, nothing here loops over nodes.

``controller`` puts it together: ``Controller.step`` takes observations and gives a ``Decision`` with leases to send.
``tree`` knows the zones, ``survey`` counts, ``bands`` and ``lookahead`` steer the totals, ``demand`` and ``waterfill``
share them, ``issue`` turns shares into grants, ``renewing`` lets leases go on, ``accounts`` holds the invariant,
``pausing`` stops work that may be stopped, ``reasons`` and ``alarms`` say why in words.

The invariant, in every zone: the sum of outstanding leases, fallbacks of nodes without one, and unmanaged power never
grows past the hard budget. It rests on what a node promises: it obeys the newest grant only, refuses one older than
two seconds, falls to the grant's fallback when its ttl has passed, and remembers that fallback over a restart.
"""

from evenwatt_collector.control.controller import Controller
from evenwatt_collector.control.issue import OvercommitmentError
from evenwatt_collector.control.tree import ZoneSpec, ZoneTree, ZoneTreeError
from evenwatt_collector.control.types import (
    Band,
    Bands,
    Decision,
    Grants,
    Limits,
    Observations,
    OnLost,
    Pauses,
    Renewals,
)

__all__ = [
    "Band",
    "Bands",
    "Controller",
    "Decision",
    "Grants",
    "Limits",
    "Observations",
    "OnLost",
    "OvercommitmentError",
    "Pauses",
    "Renewals",
    "ZoneSpec",
    "ZoneTree",
    "ZoneTreeError",
]
