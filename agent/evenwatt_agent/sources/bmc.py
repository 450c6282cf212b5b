"""Meters of the whole machine, read by its management controller: slow, and outside of what the counters see.

A management controller answers in 50 ms to several seconds and averages over a second or more, so it is asked every ten
seconds by a thread of its own. Its power is a cross-check of the sum of the counters, and the difference (fans, drives,
the supplies' losses) is the unmetered overhead; where nothing else can be read it is the node's power.

Besides: what a controller on the network is told and trusted with, namely its address, a login from a file, and whose
certificate counts.
"""

from __future__ import annotations

import os
import ssl
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from evenwatt_agent.sources.model import Probe, ReadError, Unit
from evenwatt_daemon import Failure
from evenwatt_wire import Domain, Quality

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_agent.settings import MeterSettings

MAX_POWER_W: Final = 20_000.0
"""No single chassis of 2026 draws it."""
_FRESH_PERIODS: Final = 3
_MAX_PAUSE_S: Final = 600.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(slots=True)
class Polled:
    """What a controller said last, and when it is asked again. Pure: it is told the time."""

    period_s: float
    power_w: float = 0.0
    at_s: float | None = None
    trouble: str = "no answer yet"
    failures: int = 0

    def said(self, power_w: float, now_s: float) -> float:
        """Take an answer; return the seconds until the next question."""
        if not 0 < power_w <= MAX_POWER_W:
            return self.failed(f"says {power_w:g} W, expected more than 0 and at most {MAX_POWER_W:.0f}")
        self.power_w, self.at_s, self.trouble, self.failures = power_w, now_s, "", 0
        return self.period_s

    def failed(self, trouble: str) -> float:
        """Take a failure; return the seconds until the next question, doubled each time up to ten minutes."""
        self.trouble = trouble
        self.failures += 1
        return min(max(_MAX_PAUSE_S, self.period_s), self.period_s * 2.0 ** min(self.failures - 1, 20))

    def power_uw(self, now_s: float) -> int:
        """Return the latest answer in microwatts.

        Raises:
            ReadError: there is none, or it is older than three periods.
        """
        if self.at_s is None or now_s - self.at_s > _FRESH_PERIODS * self.period_s:
            age = "" if self.at_s is None else f"no answer for {now_s - self.at_s:.0f} s: "
            raise ReadError(f"{age}{self.trouble or 'it is late'}")
        return round(self.power_w * 1e6)


class Poller:
    """Asks ``fetch`` for watts from a thread of its own.

    Args:
        fetch: Asks once and blocks; raises OSError or ValueError.
        period_s: Time between questions while they are answered.
        name: Of the thread.
        end: Called by the thread when it ends.
    """

    def __init__(
        self, fetch: Callable[[], float], period_s: float, name: str, end: Callable[[], None] | None = None
    ) -> None:
        self._fetch, self._polled, self._end = fetch, Polled(period_s), end
        self._stop, self._asked = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, wait_s: float) -> None:
        """Begin, and wait for the first answer, so that the first reading is there; but no longer than ``wait_s``."""
        self._thread.start()
        self._asked.wait(wait_s)

    def read(self) -> int:
        """Return the latest power in microwatts (``Polled.power_uw``)."""
        return self._polled.power_uw(time.monotonic())

    @property
    def trouble(self) -> str:
        """Why the last question was not answered; empty when it was."""
        return self._polled.trouble

    def close(self) -> None:
        """End the thread; it is not waited for, since a question under way ends by its own time limit."""
        self._stop.set()

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            pause_s = self._ask()
            self._asked.set()
        if self._end is not None:
            self._end()

    def _ask(self) -> float:
        try:
            return self._polled.said(self._fetch(), time.monotonic())
        except (OSError, ValueError) as error:
            return self._polled.failed(str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001  (a thread that ends is a meter lost until the agent restarts)
            return self._polled.failed(f"{type(error).__name__}: {error}")


def probe_of(poller: Poller, identity: str, source: str) -> Probe:
    """Return a probe of the machine's whole power. All of them meter one machine, so a second one is a copy."""
    domain = Domain(id=identity, kind="machine", source=source, quality=Quality.INTEGRATED)
    return Probe(
        domain=domain,
        unit=Unit.POWER_UW,
        read=poller.read,
        reopen=_nothing,  # the poller asks again by itself
        close=poller.close,
        slow=True,
        max_power_w=MAX_POWER_W,
        silicon="bmc",
    )


def unasked(identity: str, source: str) -> Probe:
    """Return a meter that another process asks: here only what it is is of interest."""

    def ask() -> float:
        raise ReadError("another process asks this controller")

    return probe_of(Poller(ask, 1.0, source), identity, source)


def _nothing() -> None:
    """There is nothing to open."""


def address(settings: MeterSettings) -> str:
    """Return ``redfish_url`` without a slash at its end.

    Raises:
        Failure: it is no web address, holds a login, or would take a password over the network in the clear.
    """
    try:
        parts = urlsplit(settings.redfish_url or "")
        host = parts.hostname or ""
    except ValueError:
        raise Failure("sources.meter.redfish_url is no address; expected e.g. https://10.0.0.7") from None
    if "@" in parts.netloc:  # not repeated here: the text before it may be a password
        raise Failure("sources.meter.redfish_url holds a login; use redfish_user and redfish_password_file")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
        raise Failure(f"sources.meter.redfish_url is {settings.redfish_url!r}, expected e.g. https://10.0.0.7")
    if parts.scheme == "http" and settings.redfish_password_file and host not in _LOOPBACK:
        raise Failure(f"sources.meter.redfish_url is {settings.redfish_url!r}: a password needs https")
    return (settings.redfish_url or "").rstrip("/")


def login(settings: MeterSettings) -> tuple[str, str] | None:
    """Return user and password; None where none are configured.

    Raises:
        Failure: the file is not there, is empty, or can be read by other users.
    """
    if settings.redfish_password_file is None:
        return None
    path = Path(settings.redfish_password_file)
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise Failure(f"{path}: {reason}; sources.meter.redfish_password_file must name a readable file") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Failure(f"{path}: other users may read this password; run: chmod 600 {path}")
    if not text:
        raise Failure(f"{path}: empty, expected the password of {settings.redfish_user!r}")
    return settings.redfish_user, text


def trust(settings: MeterSettings) -> ssl.SSLContext | bool:
    """Return what the controller's certificate is checked with: the system's authorities, or ``redfish_ca`` alone.

    A controller's own certificate in ``redfish_ca`` is pinned by it.

    Raises:
        Failure: ``redfish_ca`` holds no certificate.
    """
    if not settings.redfish_verify:
        return False
    try:
        context = ssl.create_default_context(cafile=settings.redfish_ca)
    except OSError as error:  # ssl.SSLError is one
        raise Failure(
            f"{settings.redfish_ca}: {error.strerror or error}; sources.meter.redfish_ca must name certificates in PEM"
        ) from None
    if settings.redfish_ca is not None:
        # Python 3.13 begins to allow a pinned leaf and to ask for RFC 5280 to the letter, which controllers' own
        # certificates rarely keep; the same rules on every Python.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
