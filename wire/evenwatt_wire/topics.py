"""Where each message goes: ``evenwatt/v1/<zone>/<node>/<kind>``.

A zone is one power domain and the unit of sharding. Identifiers are ``[a-z0-9-]``, 1 to 63 characters, and begin and
end with a letter or digit (a DNS label), so that they are safe in a topic, a file name and a metric label. The zone's
own messages stand under ``_zone`` and ``_ctl``, which no node can be called.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

PREFIX: Final = "evenwatt/v1"
ZONE_NODE: Final = "_zone"
CONTROLLER_NODE: Final = "_ctl"

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class TopicError(ValueError):
    """A topic or identifier that does not belong to evenwatt."""


class Kind(StrEnum):
    """The last level of a topic: what sort of message it carries."""

    STATE = "state"
    BIRTH = "birth"
    LIVE = "live"
    LEDGER = "ledger"
    STORED = "stored"
    EVENT = "event"
    COMMAND = "cmd"
    ACK = "ack"
    SUMMARY = "summary"
    RUN = "run"
    """A node's signed word on a run of a job."""
    SUBMIT = "submit"
    """Asked of the collector (under ``_ctl``): a job, or its end; signed by an operator."""
    JOBS = "jobs"
    """The collector's jobs and plan (under ``_ctl``)."""
    DEPLOYMENTS = "deployments"
    """Which model variant each service should run (under ``_ctl``)."""
    BEAT = "beat"
    """A collector that has a standby is alive (under ``_ctl``)."""
    PROBE = "probe"
    """Is anybody there? From a node, or from an operator (under ``_ctl``)."""
    ECHO = "echo"
    """The collector's answer to a probe, in the same place."""
    TRUST = "trust"
    """The signed word on whose keys count (under ``_ctl``)."""
    RENEW = "renew"
    """Leases of a zone's nodes go on (under ``_ctl``); signed."""


class Delivery(NamedTuple):
    """How MQTT is asked to carry a kind of message."""

    qos: int
    retain: bool


DELIVERY: Final[dict[Kind, Delivery]] = {
    Kind.STATE: Delivery(1, True),
    Kind.BIRTH: Delivery(1, True),
    Kind.LIVE: Delivery(0, False),
    Kind.LEDGER: Delivery(1, False),
    Kind.STORED: Delivery(1, False),
    Kind.EVENT: Delivery(1, False),
    Kind.COMMAND: Delivery(1, False),
    Kind.ACK: Delivery(1, False),
    Kind.SUMMARY: Delivery(0, True),
    Kind.RUN: Delivery(1, False),
    Kind.SUBMIT: Delivery(1, False),
    Kind.JOBS: Delivery(1, True),
    Kind.DEPLOYMENTS: Delivery(1, True),
    Kind.BEAT: Delivery(0, False),
    Kind.PROBE: Delivery(1, False),
    Kind.ECHO: Delivery(1, False),
    Kind.TRUST: Delivery(1, True),
    Kind.RENEW: Delivery(0, False),
}


def check_id(value: str, what: str) -> str:
    """Return ``value`` if it can be a zone or node identifier, else raise :class:`TopicError` naming ``what``."""
    if not _ID.fullmatch(value):
        raise TopicError(
            f"{what} {value!r} is not an identifier: use 1 to 63 of a-z, 0-9 and '-', "
            f"beginning and ending with a letter or digit"
        )
    return value


class Topic(NamedTuple):
    """A parsed topic. ``node`` may be ``_zone`` or ``_ctl`` for the zone's own messages."""

    zone: str
    node: str
    kind: Kind

    def __str__(self) -> str:
        return f"{PREFIX}/{self.zone}/{self.node}/{self.kind.value}"

    @classmethod
    def parse(cls, topic: str) -> Topic:
        """Read a topic.

        Raises:
            TopicError: it is not an evenwatt topic.
        """
        levels = topic.split("/")
        if len(levels) != 5 or levels[0] != "evenwatt" or levels[1] != "v1":
            raise TopicError(f"topic {topic!r} is not of the form {PREFIX}/<zone>/<node>/<kind>")
        zone, node, kind = levels[2:]
        if kind not in _KINDS:
            raise TopicError(f"topic {topic!r} ends in {kind!r}; expected one of {', '.join(_KINDS)}")
        check_id(zone, "zone")
        if node not in (ZONE_NODE, CONTROLLER_NODE):
            check_id(node, "node")
        return cls(zone, node, _KINDS[kind])


_KINDS: Final = {kind.value: kind for kind in Kind}


def zone_filter(zone: str, kind: Kind) -> str:
    """Subscription filter for one kind of message from every node of a zone (``+`` is every zone)."""
    return f"{PREFIX}/{zone}/+/{kind.value}"
