"""The control core of a zone: pure, time is an argument, nothing here waits or sends.

``zone`` puts it together: ``ZoneController.step`` takes observations and gives a ``Decision`` with leases to send.
``survey`` counts, ``bands`` steers the total, ``demand`` and ``waterfill`` share it, ``issue`` turns shares into
grants, ``grants`` and ``accounts`` hold the invariant, ``reasons`` says why in words.

The invariant: the sum of outstanding leases, fallbacks of nodes without one, and unmanaged power never grows past
the hard budget. It rests on what a node promises: it obeys the newest grant only, refuses one older than two
seconds, falls to the grant's fallback when its ttl has passed, and remembers that fallback over a restart.
"""

from evenwatt_collector.control.grants import GrantBook, OvercommitmentError
from evenwatt_collector.control.types import Band, Bands, Decision, Grant, Limits, NodeObservation
from evenwatt_collector.control.zone import ZoneController

__all__ = [
    "Band",
    "Bands",
    "Decision",
    "Grant",
    "GrantBook",
    "Limits",
    "NodeObservation",
    "OvercommitmentError",
    "ZoneController",
]
