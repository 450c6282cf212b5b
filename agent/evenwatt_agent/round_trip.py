"""Proves that messages are delivered: a probe goes to the broker and back, and to the collector and back.

A broker may grant a subscription that its access list forbids, and then deliver nothing (mosquitto 2.0 does); it may
take a message that nobody is allowed to send. So only what comes back is proof, and each half is told from the other.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_agent.transport import Arrived, LinkLostError, connect
from evenwatt_wire import ControllerState, Kind, Topic, decode, encode
from evenwatt_wire.messages import Echo, NodeState, Probe
from evenwatt_wire.topics import CONTROLLER_NODE, DELIVERY, PREFIX

if TYPE_CHECKING:
    from evenwatt_daemon.broker import BrokerSettings

WAIT_S: Final = 5.0
"""How long an answer may take."""
_UNHEARD_S: Final = 1.5
"""The same where no collector says that it is there: that word is kept by the broker, and comes at once."""


@dataclass(slots=True)
class Trip:
    """How far a probe came."""

    zone: str
    place: str
    """The node that probed, or ``_ctl`` for an operator."""
    refused: str = ""
    """Why there is no connection at all."""
    own_s: float | None = None
    """After how long the probe itself came back to us: the broker takes and delivers."""
    echo_s: float | None = None
    """After how long a collector's answer came: both ways are open to the end."""
    epoch: int = 0
    """The answering collector's."""
    ready: bool = False
    """A collector of this zone says that it is there."""

    @property
    def mine(self) -> str:
        """What every topic of ours begins with."""
        return f"{PREFIX}/{self.zone}/{self.place}"


async def make_trip(broker: BrokerSettings, zone: str, place: str, wait_s: float = WAIT_S) -> Trip:
    """Connect beside whoever else is connected, send one probe, and tell how far it came.

    Args:
        broker: Where, and as whom.
        zone: The zone to probe in.
        place: The node that we are, or ``_ctl`` for an operator.
        wait_s: How long an answer may take.

    Raises:
        CredentialsError: the password, a certificate or a key cannot be used.
    """
    trip = Trip(zone, place)
    try:
        async with connect(broker, f"evenwatt-doctor-{secrets.token_hex(8)}") as connection:
            probe, echo = (str(Topic(zone, place, kind)) for kind in (Kind.PROBE, Kind.ECHO))
            await connection.subscribe(probe, echo, str(Topic(zone, CONTROLLER_NODE, Kind.STATE)))
            word = Probe(secrets.token_hex(16))
            began_s = time.monotonic()
            delivery = DELIVERY[Kind.PROBE]
            await connection.publish(probe, encode(word), qos=delivery.qos, retain=delivery.retain)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s) as limit:
                    async for message in connection.messages():
                        _note(trip, message, word.nonce, time.monotonic() - began_s)
                        if trip.own_s is not None and trip.echo_s is not None:
                            break
                        if trip.own_s is not None and not trip.ready:
                            limit.reschedule(asyncio.get_running_loop().time() + min(wait_s, _UNHEARD_S))
    except LinkLostError as error:
        trip.refused = str(error)
    return trip


def _note(trip: Trip, message: Arrived, nonce: str, passed_s: float) -> None:
    try:
        said = decode(Topic.parse(message.topic), message.payload)
    except ValueError:  # somebody else's nonsense proves nothing
        return
    match said:
        case Probe() if said.nonce == nonce:
            trip.own_s = passed_s
        case Echo() if said.nonce == nonce:
            trip.echo_s, trip.epoch = passed_s, said.epoch
        case ControllerState():
            trip.ready = said.state is NodeState.READY
        case _:
            return


def broker_fix(trip: Trip) -> str:
    """Return the line that a broker's access list lacks when our own probe does not come back."""
    line = f"topic readwrite {trip.mine}/probe"
    return f"the broker's access list must have, for this login: {line} (evenwatt broker acl --reload)"


def collector_fix(trip: Trip) -> str:
    """Return what to look at when the broker delivers and no collector answers."""
    if not trip.ready:
        seen = f"topic read {PREFIX}/{trip.zone}/{CONTROLLER_NODE}/state"
        return f"start one for this zone; or, if one runs, the access list must have, for this login: {seen}"
    theirs = f"topic read {PREFIX}/+/+/probe and topic write {PREFIX}/+/+/echo"
    return (
        f"the broker's access list must have, for this login: topic read {trip.mine}/echo; and for the "
        f"collector's: {theirs} (evenwatt broker acl --reload)"
    )
