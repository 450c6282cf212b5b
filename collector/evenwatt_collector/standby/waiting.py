"""The standby: it hears what the active collector hears, watches over its signs of life, and takes over.

It keeps the live view and nothing else; the database is only read until the lease is taken.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector import __version__
from evenwatt_collector.api import listen, serve
from evenwatt_collector.fleet import Fleet
from evenwatt_collector.ingest import Ingest, Sinks
from evenwatt_collector.link import Link
from evenwatt_collector.standby.answers import standby_app
from evenwatt_collector.standby.machine import FENCE_BEFORE_S, FREE, Lease, Watch
from evenwatt_collector.standby.tenure import Tenure, hold_s
from evenwatt_collector.storage import DatabaseError, connect
from evenwatt_collector.storage.connection import shown
from evenwatt_collector.storage.lease import claim, read_lease
from evenwatt_collector.storage.schema import prepare
from evenwatt_collector.storage.shards import check_zones
from evenwatt_collector.waiting import pause
from evenwatt_daemon import Notifier, get_logger
from evenwatt_wire import CommandError, Kind
from evenwatt_wire.topics import zone_filter

if TYPE_CHECKING:
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.standby.settings import StandbySettings
    from evenwatt_collector.status import Document
    from evenwatt_wire.messages import Beat

_LOOK_S: Final = 0.25
_HEARD: Final = (Kind.STATE, Kind.BIRTH, Kind.LIVE, Kind.EVENT, Kind.SUMMARY, Kind.BEAT)


class Standby:
    """Waits until it is this collector's turn.

    Args:
        settings: The collector's.
        mine: Their ``standby`` table.
        zones: Those that it will steer.

    Raises:
        Failure: the database, the port or the broker's secrets cannot be used.
    """

    def __init__(self, settings: CollectorSettings, mine: StandbySettings, zones: list[str]) -> None:
        self._settings, self._mine, self._log = settings, mine, get_logger("standby")
        self._notify: Any = Notifier()
        self._watch, self._fleet = Watch(mine.takeover_s), Fleet()
        self._ingest = Ingest(self._fleet, _sinks(self._on_beat), time.monotonic)
        self._links = [self._link(zone) for zone in zones]
        self._active = ""
        self._trouble: str | None = None
        self._connection = connect(settings.where, shared=True, shard=settings.shard_name)
        with suppress(DatabaseError):  # the other one does the same at this moment
            prepare(self._connection, shown(settings.where))
            check_zones(self._connection, zones, settings.where)

    async def wait(self, stop: asyncio.Event) -> Tenure | None:
        """Return the hold of the lease once it is ours; None when ``stop`` came first."""
        leave, http = asyncio.Event(), listen(self._settings.http)
        tenure = None
        try:
            async with serve(http, standby_app(self.document, self._settings.http.hosts)), asyncio.TaskGroup() as group:
                for link in self._links:
                    group.create_task(link.run(leave), name="link")
                self._log.info("standing by", name=self._mine.name)
                self._notify.ready(self._words())
                while tenure is None and not stop.is_set():
                    tenure = await self._round(stop)
                leave.set()
        finally:
            http.close()
            if tenure is None:
                await asyncio.to_thread(self._connection.close)
        return tenure

    def document(self) -> Document:
        """Return the status document of a standby: who is active, and what stands in the way of following it."""
        lease = self._watch.lease
        return {
            "version": __version__,
            "role": "standby",
            "name": self._mine.name,
            "shard": self._settings.shard_name,
            "active": self._active,
            "epoch": lease.epoch if lease else None,
            "ready": False,
            "reasons": [self._words(), *self._troubles()],
            "broker": {"where": self._settings.mqtt.where, "connected": self._online()},
            "heard": sum(len(self._fleet.in_zone(zone)) for zone in self._fleet.zones),
            "zones": [],
            "nodes": [],
        }

    async def _round(self, stop: asyncio.Event) -> Tenure | None:
        self._watch.connected(self._online(), time.monotonic())
        lease = await asyncio.to_thread(self._look)
        now_s = time.monotonic()
        self._watch.looked(lease, now_s)
        seen = self._watch.may_claim(now_s)
        tenure = await self._claim(seen) if seen is not None else None
        if tenure is None:
            self._notify.status(self._words())
            self._notify.alive()
            await pause(stop, _LOOK_S)
        return tenure

    async def _claim(self, seen: Lease) -> Tenure | None:
        sign_s, asked_s = self._last_word_s(seen), hold_s()
        try:
            epoch = await asyncio.to_thread(claim, self._connection, seen, int(time.time()))
        except DatabaseError as error:
            self._complain(str(error))
            return None
        if epoch is None:
            return None
        why = "it was given back" if seen.beat == FREE else f"nothing was seen of {self._active or 'its holder'}"
        self._log.warning("taking over", epoch=epoch, after=seen.epoch, why=why)
        tenure = Tenure(self._mine, epoch, asked_s, sign_s, self._connection, self._fleet)
        tenure.start()
        return tenure

    def _last_word_s(self, seen: Lease) -> float:
        """Return when the one before was last known to act; it may have gone on for the time of its fence."""
        if seen.epoch == 0:
            return float("-inf")
        given_back = seen.beat == FREE
        return self._watch.sign_s - (self._mine.takeover_s - FENCE_BEFORE_S if given_back else 0.0)

    def _look(self) -> Lease | None:
        try:
            lease = read_lease(self._connection)
        except DatabaseError as error:
            self._complain(str(error))
            with suppress(DatabaseError):
                prepare(self._connection, shown(self._settings.where))
            return None
        if self._trouble is not None:
            self._log.info("the database answers again")
        self._trouble = None
        return lease

    def _complain(self, why: str) -> None:
        if why != self._trouble:
            self._log.warning("the lease cannot be read or taken; nobody takes over until it can", why=why)
        self._trouble = why

    def _on_beat(self, beat: Beat) -> None:
        self._active = beat.name
        self._watch.heard(beat.epoch, beat.beat, time.monotonic())

    def _online(self) -> bool:
        return any(link.online for link in self._links)

    def _words(self) -> str:
        epoch = self._watch.lease.epoch if self._watch.lease else "unknown"
        return f"standby {self._mine.name}; active: {self._active or 'not heard yet'}, epoch {epoch}"

    def _troubles(self) -> list[str]:
        broker = sorted({link.trouble for link in self._links if not link.online})
        return broker + ([f"database: {self._trouble}; it cannot take over"] if self._trouble else [])

    def _link(self, zone: str) -> Link:
        return Link(
            self._settings.mqtt,
            f"{self._settings.client_id}-{zone}",
            [zone_filter(zone, kind) for kind in _HEARD],
            receive=self._ingest.receive,
            greeting=list,
            will=None,
            oversized=self._ingest.oversized,
        )


def _sinks(beat: Any) -> Sinks:
    def refuse(_payload: bytes, _zone: str) -> Any:
        raise CommandError("standby", "not for a standby")

    def nothing(*_: object) -> None:
        return

    return Sinks(
        record=lambda _zone, _record, _payload: False,
        open_ack=refuse,
        ack=nothing,
        open_run=refuse,
        run=nothing,
        submit=nothing,
        jump=nothing,
        controller=nothing,
        probe=nothing,
        beat=beat,
    )
