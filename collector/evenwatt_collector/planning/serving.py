"""Tells services which variant of their model to run, as their grids change: retained, for whatever runs them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from evenwatt_collector.decided import Decided, DecisionKind
from evenwatt_collector.jobs.model import JobState
from evenwatt_collector.models.following import Following, make_desk
from evenwatt_collector.models.variants import service_id
from evenwatt_collector.storage import DatabaseError
from evenwatt_daemon import Failure, get_logger
from evenwatt_wire import Deployments, Kind, Topic, encode
from evenwatt_wire.topics import CONTROLLER_NODE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from evenwatt_collector.jobs.book import Book
    from evenwatt_collector.jobs.model import JobRecord
    from evenwatt_collector.models.variants import Change
    from evenwatt_collector.planning.surroundings import Surroundings
    from evenwatt_collector.storage import Connection
    from evenwatt_wire import Deployment

EVERY_S: Final = 60.0
_AGAIN_S: Final = 300.0


class Serving:
    """The services among a collector's jobs.

    Args:
        around: What it looks at and speaks through.
    """

    def __init__(self, around: Surroundings) -> None:
        self._log: Any = get_logger("serving")
        self._around = around
        self.desk = make_desk(around.settings, around.fleet, around.emissions)
        self._following = Following(self.desk, around.emissions, around.fleet)
        self._every_s = min(EVERY_S, around.settings.jobs.slot_s)
        self._stepped_s = self._told_s = -1e18
        self._said: list[Deployment] = []
        self._zones: set[str] = set()
        """Zones that a list was published in."""
        self._trouble: str | None = None

    def restore(self, connection: Connection) -> None:
        """Take up what ran before."""
        self._following.restore(connection)

    def rows(self) -> list[dict[str, Any]]:
        """Return what services should run, for the status document."""
        return [msgspec.to_builtins(one) for one in self._said]

    def troubles(self) -> list[str]:
        """Return what is wrong, in words."""
        return [*self._following.troubles, *([f"services: {self._trouble}"] if self._trouble else [])]

    async def tasks(self) -> frozenset[str] | None:
        """Return what the registry has variants for; None without one that can be read."""
        try:
            registry = (await self.desk.costs()).registry
        except Failure:
            return None
        return frozenset(variant.task for variant in registry.variants) or None

    async def step(self, book: Book) -> None:
        """Decide and tell, when it is time; call it each second."""
        now_s = time.monotonic()
        if now_s - self._stepped_s < self._every_s:
            return
        self._stepped_s = now_s
        services: dict[str, JobRecord] = {}
        for record in book.open():
            if record.spec.service is not None:
                services.setdefault(service_id(record.spec.name), record)  # the first is followed
        try:
            said = await self._following.step([record.spec for record in services.values()])
        except (Failure, DatabaseError) as error:
            self._complain(str(error))
            for record in services.values():
                _explain(record, f"no variant can be chosen: {error}", book)
            return
        self._trouble = None
        self._around.decided(_changed(self._following.changes, services))
        self._explain(services, book)
        for deployment in said:
            record = services[deployment.service]
            if (record.why, record.state) != (deployment.why, JobState.RUNNING):
                record.why, record.state = deployment.why, JobState.RUNNING
                book.changed.add(record.id)
        self._tell(said, now_s)

    def _explain(self, services: Mapping[str, JobRecord], book: Book) -> None:
        for record in book.open():
            if record.spec.service is None:
                continue
            name = service_id(record.spec.name)
            if services[name] is not record:
                words = f"another service is called {name!r}, job {services[name].id}: cancel one of the two"
                _explain(record, words, book)
            elif name in self._following.why:
                _explain(record, f"no variant can be chosen: {self._following.why[name]}", book)

    def _tell(self, said: list[Deployment], now_s: float) -> None:
        if said == self._said and now_s - self._told_s < _AGAIN_S:
            return
        if said != self._said:
            self._around.keeper.ask(self._following.keep)
        self._said, self._told_s = said, now_s
        for zone in sorted({one.zone for one in said} | self._zones):
            self._zones.add(zone)
            told = Deployments(
                zone=zone,
                wall_ms=int(time.time() * 1000),
                epoch=self._around.epoch,
                services=[one for one in said if one.zone == zone],
            )
            if self._around.reachable(zone):
                self._around.publish(Topic(zone, CONTROLLER_NODE, Kind.DEPLOYMENTS), encode(told))

    def _complain(self, words: str) -> None:
        if self._trouble != words:
            self._log.error("services stay as they are", why=words)
        self._trouble = words


def _changed(changes: Iterable[Change], services: Mapping[str, JobRecord]) -> Iterator[Decided]:
    for change in changes:
        zone, _, node = change.after.rpartition(" at ")[2].partition(":")
        was = f", instead of {change.before}" if change.before else ""
        record = services.get(change.service)
        yield Decided(
            kind=DecisionKind.VARIANT,
            wall_s=time.time(),
            zone=zone,
            nodes=[f"{zone}:{node}"] if node else [],
            job=record.id if record else "",
            name=change.service,
            words=f"{change.service} is to run {change.after}{was}: {change.why}",
        )


def _explain(record: JobRecord, why: str, book: Book) -> None:
    if record.why != why:
        record.why = why
        book.changed.add(record.id)
