"""What the doctor says of the broker: login, delivery both ways, certificates and the files that hold secrets."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent.findings import Finding, Verdict
from evenwatt_agent.round_trip import WAIT_S, Trip, broker_fix, collector_fix, make_trip
from evenwatt_daemon.tls import CredentialsError
from evenwatt_daemon.validity import day

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_daemon.broker import BrokerSettings

_LOOPBACK: Final = ("127.", "::1", "localhost")
_LOOK: Final = "check that the broker runs and that [mqtt] names it, with this login and certificate"
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP


def check_broker(
    broker: BrokerSettings, zone: str, place: str, *, collector: bool, wait_s: float = WAIT_S
) -> list[Finding]:
    """Prove that messages are delivered.

    Args:
        broker: Where, and as whom.
        zone: The zone to probe in.
        place: The node that we are, or ``_ctl`` for an operator.
        collector: Whether a collector must be there.
        wait_s: How long an answer may take.
    """
    try:
        trip = asyncio.run(make_trip(broker, zone, place, wait_s))
    except CredentialsError as error:
        fix = "run this as the service's user, or as root" if "not readable" in str(error) else "see docs/broker.md"
        return [Finding("broker", Verdict.DENIED, str(error), fix)]
    return judge(trip, broker.where, collector=collector)


def judge(trip: Trip, where: str, *, collector: bool) -> list[Finding]:
    """Say what a trip has shown."""
    if trip.refused:
        return [Finding("broker", Verdict.BROKEN, trip.refused, _LOOK)]
    if trip.own_s is None and trip.echo_s is None:
        return [Finding("broker", Verdict.BROKEN, f"{where} takes our messages and delivers none", broker_fix(trip))]
    if trip.own_s is None:  # it was delivered to the collector, so only hearing ourselves is forbidden
        own = Finding("broker", Verdict.BROKEN, f"{where} does not let us hear ourselves", broker_fix(trip))
    else:
        own = Finding("broker", Verdict.FOUND, f"{where}: a message went there and back in {_ms(trip.own_s)}")
    if trip.echo_s is not None:
        return [own, Finding("collector", Verdict.FOUND, f"answered in {_ms(trip.echo_s)} (epoch {trip.epoch})")]
    if trip.ready:
        what, verdict = f"a collector of zone {trip.zone} says that it is there, and does not answer", Verdict.BROKEN
    else:
        what, verdict = f"none answers in zone {trip.zone}", Verdict.BROKEN if collector else Verdict.ABSENT
    return [own, Finding("collector", verdict, what, collector_fix(trip))]


def check_certificates(broker: BrokerSettings, now_s: float) -> Finding:
    """Say until when certificates are valid."""
    if broker.ca_file is None:
        if all(one.host.startswith(_LOOPBACK) for one in broker.brokers):
            return Finding("certificates", Verdict.SKIPPED, f"no TLS to {broker.where}, on this machine alone")
        fix = "set mqtt.ca_file, cert_file and key_file; docs/broker.md"
        return Finding("certificates", Verdict.SKIPPED, f"no TLS to {broker.where}: the network reads and writes", fix)
    troubles = broker.expiring(now_s)
    if troubles:
        return Finding("certificates", Verdict.BROKEN, "; ".join(troubles), "evenwatt broker cert; docs/broker.md")
    known = "; ".join(f"{path} until {day(valid.ends_s)}" for path, valid in broker.certificates().items())
    return Finding("certificates", Verdict.FOUND, known)


def check_secrets(paths: Iterable[str | None]) -> Finding:
    """Say which files with keys or passwords are open to others."""
    there = [Path(path) for path in paths if path is not None and Path(path).exists()]
    for path in there:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            what = f"{path}: mode {mode:04o} opens it to others; expected 0600"
            return Finding("secrets", Verdict.BROKEN, what, f"chmod 600 {path}, and renew it if somebody has read it")
    if not there:
        return Finding("secrets", Verdict.ABSENT, "no key or password is named in the settings")
    return Finding("secrets", Verdict.FOUND, f"{', '.join(map(str, there))}: not open to others")


def check_connection(broker: BrokerSettings, zone: str, place: str, *, collector: bool) -> list[Finding]:
    """Look at certificates, then prove delivery by each broker."""
    found = [check_certificates(broker, time.time())]
    for one in broker.brokers:
        found += check_broker(one, zone, place, collector=collector)
    return found


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"
