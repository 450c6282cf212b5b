"""Publishes each zone's jobs, retained, as they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from evenwatt_collector.planning.lists import job_list
from evenwatt_wire import Kind, Topic, encode
from evenwatt_wire.topics import CONTROLLER_NODE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.planning.surroundings import Surroundings

_SOONEST_S: Final = 2.0
_AGAIN_S: Final = 30.0
"""Published again though nothing has changed: a broker may have lost what was retained."""


class Lists:
    """What was published of each zone's jobs.

    Args:
        around: Speaks.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._told: dict[str, tuple[float, bytes]] = {}

    def tell(self, records: Collection[JobRecord], refused: Mapping[str, str], now_s: float, wall_s: float) -> None:
        """Publish what is news; a zone that never had a job stays silent.

        Args:
            records: All jobs.
            refused: Jobs that were asked for and not taken, with the reason.
            now_s: Monotonic time.
            wall_s: Unix time.
        """
        for zone in self._around.zones():
            told_s, before = self._told.get(zone, (-1e18, b""))
            if now_s - told_s < _SOONEST_S or not self._around.reachable(zone):
                continue
            said = job_list(records, zone, self._around.epoch, refused)
            bare = encode(said)
            if (said.jobs or before) and (bare != before or now_s - told_s >= _AGAIN_S):
                self._told[zone] = (now_s, bare)
                stamped = encode(replace(said, wall_ms=int(wall_s * 1000)))
                self._around.publish(Topic(zone, CONTROLLER_NODE, Kind.JOBS), stamped)
