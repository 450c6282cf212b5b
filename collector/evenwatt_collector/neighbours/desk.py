"""Everything that this collector says to other people's programs: one task for all, beside the links' own messages."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.link import Post
from evenwatt_collector.neighbours.announcing import Announcer
from evenwatt_collector.neighbours.home_assistant import Device, device_of, topic, zone_of
from evenwatt_collector.neighbours.otlp_export import OtlpExport
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evenwatt_collector.carbon import Factor
    from evenwatt_collector.keeper import Keeper
    from evenwatt_collector.neighbours.settings import HomeAssistantSettings
    from evenwatt_collector.neighbours.sparkplug_bridge import Sparkplug
    from evenwatt_collector.node import Node
    from evenwatt_collector.settings import CollectorSettings
    from evenwatt_collector.zone import Zone
    from evenwatt_wire import ZoneSummary

_ROUND_S: Final = 2.0
_SETTLE_S: Final = 60.0
"""After a connection began: nodes that are there have said so by then, and others may be taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Middle:
    """What neighbours need of the collector."""

    settings: CollectorSettings
    keeper: Keeper
    nodes: Callable[[], list[tuple[Node, Factor]]]
    """Every node, with what its energy weighs."""
    zones: Callable[[], Awaitable[list[tuple[Zone, ZoneSummary]]]]
    named: Callable[[], list[str]]
    """The zones with a connection of their own, whose presence is said."""
    publish: Callable[[str, Post], bool]
    """Over a zone's connection."""
    acts: Callable[[], bool]
    """Whether this collector is the active one."""


class Neighbours:
    """OpenTelemetry, Home Assistant and Sparkplug hosts, as far as they are wanted.

    Raises:
        Failure: a setting cannot be used.
    """

    def __init__(self, middle: Middle) -> None:
        self._middle = middle
        self._home: HomeAssistantSettings | None = middle.settings.home_assistant
        otlp = middle.settings.otlp
        self._otlp = otlp and OtlpExport(otlp, middle.settings.fleet, middle.keeper, middle.nodes, middle.zones)
        self._sparkplug = self._open_sparkplug()
        self._announcer = Announcer()
        self._connected_s = time.monotonic()
        self._log: Any = get_logger("home-assistant")
        self._complained = False

    @property
    def filters(self) -> list[str]:
        """What each connection subscribes to besides."""
        return [topic(self._home.prefix, "+")] if self._home else []

    def document(self) -> dict[str, Any]:
        """Return how exports fare, for the status document; None where nothing is exported."""
        return {"otlp": self._otlp.health() if self._otlp else None}

    def receiver(self, otherwise: Callable[[str, bytes, bool], None]) -> Callable[[str, bytes, bool], None]:
        """Return who takes messages: ours are taken out, all others go on."""
        home = self._home
        if home is None:
            return otherwise

        def receive(said: str, payload: bytes, retained: bool) -> None:
            device = device_of(home.prefix, said)
            if device is None:
                otherwise(said, payload, retained)
            else:
                self._announcer.heard(device, payload)

        return receive

    def connected(self, mine: Callable[[str], bool]) -> None:
        """Note that a connection for some zones begins."""
        self._connected_s = time.monotonic()
        self._announcer.connected(mine)

    async def run(self, stop: asyncio.Event) -> None:
        """Speak until ``stop``."""
        async with asyncio.TaskGroup() as group:
            if self._otlp:
                group.create_task(self._otlp.run(stop), name="otlp")
            if self._home:
                group.create_task(self._announce(self._home, stop), name="home-assistant")
            if self._sparkplug:
                group.create_task(self._sparkplug.run(stop), name="sparkplug")

    def _open_sparkplug(self) -> Sparkplug | None:
        settings = self._middle.settings.sparkplug
        if settings is None:
            return None
        from evenwatt_collector.neighbours.sparkplug_bridge import Sparkplug  # noqa: PLC0415  (only where it is wanted)

        return Sparkplug(settings, self._middle)

    async def _announce(self, home: HomeAssistantSettings, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self._announce_once(home, time.monotonic())
            except Exception as error:  # noqa: BLE001  (a fault of ours must not end the collector; what it was is said)
                self._log.error("not announced", why=f"{type(error).__name__}: {error}")
            try:
                async with asyncio.timeout(_ROUND_S):
                    await stop.wait()
            except TimeoutError:
                continue

    def _announce_once(self, home: HomeAssistantSettings, now_s: float) -> None:
        wanted = self._wanted() if home.enabled else {}
        settled = not home.enabled or now_s - self._connected_s > _SETTLE_S
        for device, payload in self._announcer.due(wanted, self._may_take_back, now_s, settled=settled):
            if not self._middle.publish(zone_of(device), Post(topic(home.prefix, device), payload, 1, retain=True)):
                break
        self._look_whether_heard(now_s)

    def _may_take_back(self, device: str) -> bool:
        """Whether a device is ours; one that hears every zone leaves zones to the collectors that speak for them."""
        named = self._middle.named()
        return zone_of(device) in named if named else zone_of(device) != device

    def _wanted(self) -> dict[str, Device]:
        """Return zones that say their presence, and nodes that have been born."""
        named = self._middle.named()
        devices = [Device(zone) for zone in named]
        for node, _ in self._middle.nodes():
            if node.birth is not None:
                devices.append(Device(node.zone, node.name, node.birth.version, node.zone in named))
        return {device.id: device for device in devices}

    def _look_whether_heard(self, now_s: float) -> None:
        unheard = self._announcer.unheard(now_s)
        if unheard and not self._complained:
            self._log.warning(
                "the broker does not give back what is announced to Home Assistant; its access list may forbid it: "
                "evenwatt broker acl --home-assistant",
                devices=unheard,
            )
        self._complained = bool(unheard)
