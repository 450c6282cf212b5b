"""From bytes to the fleet and the store. Nothing that arrives here can end the service: it is counted and dropped.

Runs inside gmqtt's callback, so that a live window costs one decode and one fold. A ledger record goes to the store's
queue; if that is full the record is dropped unacknowledged, and its node sends it again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.fleet import FleetFullError
from evenwatt_collector.node import Heard
from evenwatt_daemon import get_logger
from evenwatt_wire import (
    Birth,
    CommandError,
    ControllerState,
    Event,
    Kind,
    Ledger,
    NodeSummary,
    State,
    Topic,
    TopicError,
    WireError,
    decode,
)
from evenwatt_wire.codec import decode_live
from evenwatt_wire.messages import Beat, Probe
from evenwatt_wire.topics import CONTROLLER_NODE, ZONE_NODE

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.fleet import Fleet
    from evenwatt_wire import Ack, RunReport

HEARD_KINDS: Final = (
    Kind.STATE, Kind.BIRTH, Kind.LIVE, Kind.LEDGER, Kind.EVENT, Kind.ACK, Kind.SUMMARY, Kind.RUN, Kind.SUBMIT,
    Kind.PROBE,
)  # fmt: skip
_LOG_EVERY_S: Final = 60.0
_LOGGED_A_MINUTE: Final = 100
_TOPICS_KEPT: Final = 100_000
_COMPLAINTS_KEPT: Final = 10_000
_MAY_BE_RETAINED: Final = frozenset({Kind.STATE, Kind.BIRTH, Kind.SUMMARY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinks:
    """Where things go that the fleet does not keep."""

    record: Callable[[str, Ledger, bytes], bool]
    """Zone, record and its bytes to the store; False when it has no room."""
    open_ack: Callable[[bytes, str], Ack]
    """Verify an acknowledgement from a zone; raises ``CommandError``."""
    ack: Callable[[str, Ack], None]
    """Zone and verified acknowledgement to the zone's controller."""
    open_run: Callable[[bytes, str], RunReport]
    """Verify a report on a run from a zone; raises ``CommandError``."""
    run: Callable[[str, RunReport], None]
    """Zone and verified report on a run."""
    submit: Callable[[str, bytes], None]
    """Zone and what somebody asks of us, not verified yet; raises ``CommandError``."""
    jump: Callable[[str], None]
    """The power of a node of this zone has jumped."""
    probe: Callable[[Topic, Probe], None]
    """Somebody asks whether we hear them."""
    controller: Callable[[ControllerState, bool], None]
    """What a collector said of itself, and whether it was retained."""
    beat: Callable[[Beat], None] = field(default=lambda _beat: None)
    """An active collector that has a standby lives."""


class Ingest:
    """Takes every message.

    Args:
        fleet: Folds what nodes say.
        sinks: Where the rest goes.
        clock: Monotonic seconds.
    """

    def __init__(self, fleet: Fleet, sinks: Sinks, clock: Callable[[], float]) -> None:
        self._fleet, self._sinks, self._clock = fleet, sinks, clock
        self._log: Any = get_logger("ingest")
        self._topics: dict[str, tuple[Topic, str, bool]] = {}
        """Topics by their names, with their kind in plain words, and whether it is ``live``."""
        self._complained_s: dict[str, float] = {}
        self._minute_s, self._logged = float("-inf"), 0
        self._signed = {Kind.ACK: self._ack, Kind.RUN: self._run, Kind.SUBMIT: self._submit}
        self.counts: Counter[tuple[str, str]] = Counter()
        """Messages by kind and result: ``ok``, ``stale``, ``retained``, ``refused``, ``malformed``."""

    def total(self, result: str) -> int:
        """Return how many messages of any kind had this result."""
        return sum(count for (_, known), count in self.counts.items() if known == result)

    def receive(self, name: str, payload: bytes, retained: bool) -> None:
        """Take a message. It never raises."""
        kind = "other"
        try:
            topic, kind, live = self._topics.get(name) or self._parse(name)
            result = self._live(topic, payload) if live and not retained else self._take(topic, payload, retained)
        except (WireError, TopicError, CommandError) as error:
            result = "malformed"
            self._complain(name, kind, str(error))
        except FleetFullError as error:
            result = "refused"
            self._complain("", kind, str(error))
        except Exception as error:  # noqa: BLE001  (a fault of ours must not stop what all the others say)
            result = "malformed"
            self._complain(name, kind, f"{type(error).__name__}: {error}")
        self.counts[kind, result] += 1

    def oversized(self, size: int) -> None:
        """Count a packet that was too large to be looked at."""
        self.counts["other", "malformed"] += 1
        self._complain("", "other", f"a packet of {size} bytes was skipped; bound message sizes at the broker too")

    def _parse(self, name: str) -> tuple[Topic, str, bool]:
        topic = Topic.parse(name)
        found = topic, topic.kind.value, topic.kind is Kind.LIVE
        if len(self._topics) < _TOPICS_KEPT:
            self._topics[name] = found
        return found

    def _take(self, topic: Topic, payload: bytes, retained: bool) -> str:
        if retained and topic.kind not in _MAY_BE_RETAINED:
            return "retained"
        if topic.node == ZONE_NODE:
            return "ok"  # our own summary comes back to us
        if not payload:  # deletes what was retained
            if topic.kind is Kind.STATE:
                self._fleet.forget(topic.zone, topic.node)
            return "ok"
        signed = self._signed.get(topic.kind)
        return signed(topic, payload) if signed else self._fold(topic, payload, retained)

    def _live(self, topic: Topic, payload: bytes) -> str:
        heard = self._fleet.on_live(topic.zone, decode_live(topic, payload), self._clock())
        if heard is Heard.TAKEN:
            return "ok"
        if heard is Heard.JUMP:
            self._sinks.jump(topic.zone)
        return "stale" if heard is Heard.STALE else "ok"

    def _fold(self, topic: Topic, payload: bytes, retained: bool) -> str:
        message, now_s, fresh = decode(topic, payload), self._clock(), True
        match message:
            case Ledger():
                return "ok" if self._sinks.record(topic.zone, message, payload) else "refused"
            case State():
                fresh = self._fleet.on_state(topic.zone, message, now_s)
            case Birth():
                fresh = self._fleet.on_birth(topic.zone, message, now_s)
            case NodeSummary():
                fresh = self._fleet.on_summary(topic.zone, message)
            case Event():
                self._fleet.on_event(topic.zone, message)
            case Probe():
                self._sinks.probe(topic, message)
            case ControllerState() if topic.node == CONTROLLER_NODE:
                self._sinks.controller(message, retained)
            case Beat():
                self._sinks.beat(message)
            case _:
                raise WireError(f"{topic}: not for a collector")
        return "ok" if fresh else "stale"

    def _ack(self, topic: Topic, payload: bytes) -> str:
        ack = self._sinks.open_ack(payload, topic.zone)
        if ack.node != topic.node:
            raise CommandError("node", f"{topic}: signed by node {ack.node!r}")
        self._fleet.on_ack(topic.zone, ack)
        self._sinks.ack(topic.zone, ack)
        return "ok"

    def _run(self, topic: Topic, payload: bytes) -> str:
        report = self._sinks.open_run(payload, topic.zone)
        if report.node != topic.node:
            raise CommandError("node", f"{topic}: signed by node {report.node!r}")
        self._sinks.run(topic.zone, report)
        return "ok"

    def _submit(self, topic: Topic, payload: bytes) -> str:
        self._sinks.submit(topic.zone, payload)
        return "ok"

    def _complain(self, name: str, kind: str, why: str) -> None:
        """Log it: once a minute for each node, and so often for all of them together."""
        node, now_s = name.rpartition("/")[0], self._clock()
        if now_s - self._complained_s.get(node, float("-inf")) < _LOG_EVERY_S:
            return
        if len(self._complained_s) >= _COMPLAINTS_KEPT:
            self._complained_s.clear()
        self._complained_s[node] = now_s
        if now_s - self._minute_s >= _LOG_EVERY_S:
            self._minute_s, self._logged = now_s, 0
        self._logged += 1
        if self._logged > _LOGGED_A_MINUTE:  # somebody makes names up; they are counted all the same
            return
        self._log.warning("message dropped", topic=name[:200], kind=kind, why=why[:400])
