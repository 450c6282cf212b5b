"""Listens on the broker as any client may: when each node confirmed which cap, in its own signed words."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from paho.mqtt.client import CallbackAPIVersion, Client

from evenwatt_wire import CommandError, KeyRing
from evenwatt_wire.command import Code, open_ack
from evenwatt_wire.topics import Kind, zone_filter
from evenwatt_wire.trust import parse_trust, split_trust

if TYPE_CHECKING:
    from typing import Any

Caps = dict[str, list[tuple[int, float]]]
"""For each node when (CLOCK_MONOTONIC, ns) it had read a lease's cap back from its devices, and which."""


class Hearing:
    """Collects acknowledgements from ``start`` to ``stop``; reconnects by itself when the broker was away."""

    def __init__(self, port: int, zone: str) -> None:
        self._port, self._filter = port, zone_filter(zone, Kind.ACK)
        self._payloads: list[bytes] = []
        # The acks say wall time in milliseconds; here all clocks are one machine's.
        self._wall_to_mono_ns = time.monotonic_ns() - time.time_ns()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="bench-hearing")
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)

    def start(self) -> None:
        """Connect, and listen on a thread of the client library."""
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()

    def stop(self) -> None:
        """Say good-bye."""
        self._client.disconnect()
        self._client.loop_stop()

    def caps(self, trust: bytes) -> Caps:
        """Return what was confirmed, in the order of time."""
        keys, caps = KeyRing(parse_trust(split_trust(trust)[1]).keys), Caps()
        for payload in self._payloads:
            with contextlib.suppress(CommandError):
                ack = open_ack(payload, keys)
                if ack.code in (Code.APPLIED, Code.CLAMPED) and ack.after_w is not None:
                    at_ns = ack.wall_ms * 1_000_000 + self._wall_to_mono_ns
                    # A node that is over may ask its devices for less than its lease; the lease is what it may draw.
                    cap_w = max(ack.after_w, ack.requested_w or 0.0)
                    caps.setdefault(ack.node, []).append((at_ns, cap_w))
        for known in caps.values():
            known.sort()
        return caps

    def _on_connect(self, client: Client, _data: Any, _flags: Any, _reason: Any, _properties: Any) -> None:
        client.subscribe(self._filter, qos=1)

    def _on_message(self, _client: Client, _data: Any, message: Any) -> None:
        self._payloads.append(message.payload)
