"""Tells zones and nodes to Sparkplug hosts, each zone over a connection of its own: its will is the zone's death.

At most one message a node and interval, of what has changed. What cannot be sent is not kept: all is told anew, with
births, as soon as there is room or a connection again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from evenwatt_collector.link import Link, Post
from evenwatt_collector.neighbours.picture import NO_ENERGIES, hosts_of, read_energies
from evenwatt_collector.neighbours.sparkplug import Edge, Readings, RefusedError, of_node, of_zone
from evenwatt_collector.storage.memory import recall, remember
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.neighbours.desk import Middle
    from evenwatt_collector.neighbours.picture import Energies
    from evenwatt_collector.neighbours.settings import SparkplugSettings
    from evenwatt_collector.node import Node
    from evenwatt_collector.storage import Connection
    from evenwatt_daemon.broker import BrokerSettings

T = TypeVar("T")

_TICK_S: Final = 1.0
_ACCOUNT_S: Final = 10.0
"""From one look at the sums in the database to the next; they change about once a minute."""
_ANSWER_S: Final = 10.0
_REBIRTH_S: Final = 5.0
"""Whoever asks for births again and again gets them no more often."""
_ECHO_S: Final = 15.0
_LAST_S: Final = 5.0
_REFUSED_S: Final = 60.0
_AT_ONCE: Final = 100
"""Messages in one go; then the loop has other work."""


class _ZoneLink(Link):
    spares = False  # Sparkplug 3.0: an edge node is connected to one server at a time
    without = "Sparkplug hosts take the zone for dead"


class _Session:
    """One zone's connection, and what is told over it."""

    def __init__(self, middle: Middle, group: str, broker: BrokerSettings, zone: str, last: Any) -> None:
        self._middle, self._zone, self._group = middle, zone, group
        self._log: Any = get_logger("sparkplug")
        self._edge = Edge(group, zone, last if isinstance(last, int) else -1)
        self._link = _ZoneLink(
            broker,
            f"{middle.settings.client_id}-sparkplug-{zone}",
            [self._edge.topic("NCMD"), self._edge.topic("DCMD", "+"), self._edge.topic("NBIRTH")],
            receive=self._hear,
            greeting=self._greet,
            will=self._begin,
            oversized=lambda size: self._refuse(f"it has {size} bytes"),
        )
        self._wanted = self._done = 0
        """Births that were wanted, and those that were told."""
        self._over, self._born_s = 0, float("-inf")
        """The connection of the latest births, and when they were told."""
        self._used = self._echoed = True
        self._refused, self._complain_s = 0, float("-inf")

    async def run(self, stop: asyncio.Event) -> None:
        """Stay connected until ``stop``, and say then that it is over."""
        leave = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            link = tasks.create_task(self._stay(leave), name="sparkplug-link")
            await stop.wait()
            said = self._link.publish(self._death())
            leave.set()
            await asyncio.wait([link], timeout=_LAST_S if said else 0.0)
            link.cancel()  # a broker that does not answer keeps nobody from stopping

    async def _stay(self, leave: asyncio.Event) -> None:
        while not leave.is_set():
            try:
                await self._link.run(leave)
            except Exception as error:  # noqa: BLE001  (another one's broker must not end the collector)
                self._log.error("connection ended", zone=self._zone, why=f"{type(error).__name__}: {error}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(_ECHO_S):
                        await leave.wait()

    @property
    def births_wanted(self) -> bool:
        """Whether everything is to be told anew."""
        return self._wanted != self._done

    async def tell(self, zone: Readings, nodes: Mapping[str, Readings | None]) -> None:
        """Tell what has changed, or everything where births are wanted."""
        now_s, births = time.monotonic(), self.births_wanted
        wanted, over = self._wanted, self._link.connections
        if not self._link.online or (births and over == self._over and now_s < self._born_s + _REBIRTH_S):
            return
        say = self._edge.births if births else self._edge.news
        for count, (topic, payload) in enumerate(say(zone, nodes, _wall_ms()), 1):
            if self._link.connections != over or not self._link.publish(Post(topic, payload, 0, retain=False)):
                self._wanted += 1
                return
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        if births:
            self._done, self._over, self._born_s = wanted, over, now_s
        elif not self._echoed and now_s > self._born_s + _ECHO_S:
            self._echoed = True  # said once a connection
            self._log.warning(
                "the broker does not pass on what Sparkplug hosts are told; its access list may forbid it: "
                f"evenwatt broker acl --sparkplug {self._group}",
                zone=self._zone,
            )

    def _begin(self) -> Post:
        """Count a new connection, and return its will; the number of an attempt that failed is not used up."""
        if self._used:
            self._edge.begin()
            self._used = False
        return self._death()

    def _death(self) -> Post:
        return Post(*self._edge.death(_wall_ms()), 1, retain=False)

    def _greet(self) -> list[Post]:
        session, name = self._edge.session, _name(self._zone)
        self._middle.keeper.ask(lambda connection: remember(connection, name, session))
        self._used = True
        self._wanted += 1
        self._echoed = False
        return []

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic == self._edge.topic("NBIRTH"):
            self._echoed = True
            return
        try:
            self._edge.obey(topic, payload, retained=retained)
        except RefusedError as error:
            self._refuse(str(error))
        else:
            self._wanted += 1

    def _refuse(self, why: str) -> None:
        self._refused += 1
        now_s = time.monotonic()
        if now_s < self._complain_s + _REFUSED_S:
            return
        self._complain_s = now_s
        self._log.warning(
            "a Sparkplug command was refused: power is commanded by signed commands alone",
            zone=self._zone,
            why=why,
            refused=self._refused,
        )


class Sparkplug:
    """The bridge.

    Args:
        settings: To whom, and how often.
        middle: What it needs of the collector.

    Raises:
        CredentialsError: the password, a certificate or a key cannot be used.
    """

    def __init__(self, settings: SparkplugSettings, middle: Middle) -> None:
        self._settings, self._middle = settings, middle
        self._group = settings.group or middle.settings.fleet
        self._broker: BrokerSettings = settings.mqtt or middle.settings.mqtt
        self._broker.password(), self._broker.tls()
        self._energies: Energies = NO_ENERGIES
        self._stored = True
        self._log: Any = get_logger("sparkplug")

    async def run(self, stop: asyncio.Event) -> None:
        """Tell until ``stop``."""
        zones = self._middle.named()
        last = await self._ask(lambda connection: {zone: recall(connection, _name(zone)) for zone in zones}) or {}
        sessions = {zone: _Session(self._middle, self._group, self._broker, zone, last.get(zone)) for zone in zones}
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one.run(stop), name="sparkplug") for one in sessions.values()]
            loops = [tasks.create_task(loop) for loop in (self._account(), self._tell(sessions))]
            await asyncio.wait(running)
            for loop in loops:
                loop.cancel()

    async def _account(self) -> None:
        """Keep the sums of the database at hand."""
        while True:
            found = await self._ask(lambda connection: read_energies(connection, _wall_ms(), components=False))
            self._stored, self._energies = found is not None, found or self._energies
            await asyncio.sleep(_ACCOUNT_S)

    async def _ask(self, job: Callable[[Connection], T]) -> T | None:
        """Ask the database; None where it does not answer."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await asyncio.wrap_future(self._middle.keeper.ask(job))
        except Exception as error:  # noqa: BLE001  (whatever it is, watts are told without it)
            if self._stored:
                self._log.warning(
                    "the database did not answer; sums are told as stale", why=str(error) or type(error).__name__
                )
            return None

    async def _tell(self, sessions: Mapping[str, _Session]) -> None:
        due_s = 0.0
        while True:
            now_s = time.monotonic()
            due = {zone: one for zone, one in sessions.items() if now_s >= due_s or one.births_wanted}
            if now_s >= due_s:
                due_s = now_s + self._settings.interval_s
            if due and self._middle.acts():
                try:
                    await self._tell_zones(due)
                except Exception as error:  # noqa: BLE001  (a fault of ours must not end the collector; what it was is said)
                    self._log.error("not told", why=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_TICK_S)

    async def _tell_zones(self, sessions: Mapping[str, _Session]) -> None:
        nodes: dict[str, list[tuple[Node, Factor]]] = {zone: [] for zone in sessions}
        for one in self._middle.nodes():
            if one[0].zone in nodes:
                nodes[one[0].zone].append(one)
        for _, summary in await self._middle.zones():
            if summary.zone in sessions:
                await sessions[summary.zone].tell(of_zone(summary), await self._readings(nodes[summary.zone]))

    async def _readings(self, nodes: list[tuple[Node, Factor]]) -> dict[str, Readings | None]:
        """Return what is told of each node, made in parts: the loop has other work between two of them."""
        told = {}
        for first in range(0, len(nodes), _AT_ONCE):
            now_s, part = time.monotonic(), nodes[first : first + _AT_ONCE]
            for (node, _), host in zip(part, hosts_of(part, self._energies, now_s, components=False), strict=True):
                told[host.name] = of_node(host, silent=node.silent(now_s), stored=self._stored)
            await asyncio.sleep(0)
        return told


def _name(zone: str) -> str:
    """What a zone's latest number is remembered as."""
    return f"sparkplug-session:{zone}"


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
