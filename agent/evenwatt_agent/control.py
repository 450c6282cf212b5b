"""What the rest of an agent sees of control, whichever process has it: this one, or an actuator behind a socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from evenwatt_wire import Actuator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evenwatt_wire import LeaseInForce


class Standing(Struct, frozen=True, kw_only=True):
    """What control can do with this node, as its birth says it. The default is a node that nothing can cap."""

    controllable: bool = False
    key_id: str = ""
    fallback_w: float = 0.0
    """The most that its cap is without a lease."""
    floor_w: float = 0.0
    ceiling_w: float = 0.0
    actuators: list[Actuator] = []
    pausable: list[str] = []
    trust_version: int = 0
    """Of the trust document that counts, from its file or over the network; 0: none does."""


class Control(Protocol):
    """Leases and devices of one node."""

    @property
    def paused(self) -> list[str]:
        """What is paused now."""

    @property
    def cap_w(self) -> float | None:
        """Node cap asked of the devices now; None when the machine's own limits apply."""

    @property
    def trouble(self) -> str:
        """Why whoever has control cannot be reached; empty while there is nothing to say."""

    def standing(self) -> Standing:
        """What can be done here."""

    def in_force(self) -> LeaseInForce:
        """What caps the node, as the wire says it."""

    def observe(self, now_s: float, total_w: float, power_w: Mapping[str, float]) -> None:
        """Take the power of one bin, of the node and of each domain; it returns at once."""

    async def start(self) -> None:
        """Hold the fallback before anything else can be heard of this node."""

    async def run(self) -> None:
        """Follow leases until cancelled."""

    async def command(self, payload: bytes, *, retained: bool) -> bytes | None:
        """Check and carry out a command; return the signed acknowledgement, or None if there is none to be given."""

    async def renew(self, payload: bytes, *, retained: bool) -> None:
        """Check a renewal of the zone's leases, and let this node's go on."""

    async def trust(self, document: bytes) -> None:
        """Take a trust document that came over the network, if the root has signed it and it is newer."""

    async def stop(self) -> list[str]:
        """Let go of the machine; return what could not be put back."""
