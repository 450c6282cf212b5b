"""Alerts to other people's servers: at least once, in order, each webhook on its own, and never in anybody's way.

A webhook has a bounded queue and one task. An attempt is one POST; its answer's body is not read, and redirects are not
followed, since a signed alert is for the host in the settings and no other. 2xx is delivered; what says that this body
will never be taken (400, 410, 413, 415, 422) is given up at once; everything else, a host that is down among it, is
tried again after doubling waits until the alert is an hour old. What is left when the service stops is written to a
file and goes out after the next start; a receiver tells repeats by ``X-Evenwatt-Delivery``.

Address and secret may both be secrets (Slack's address is one): logs and metrics have the webhook's name only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from evenwatt_collector import __version__
from evenwatt_collector.alerts import Alert, Severity
from evenwatt_collector.webhook_formats import body, sign
from evenwatt_collector.webhook_settings import WebhookSettings, address, secret_of
from evenwatt_daemon import Failure, get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# httpx logs each request with its address, which may be a secret.
logging.getLogger("httpx").setLevel(logging.WARNING)

_GIVEN_UP: Final = frozenset({400, 410, 413, 415, 422})
_TOO_BUSY: Final = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often; the defaults are for production, tests have less of it."""

    first_s: float = 2.0
    most_s: float = 300.0
    """Bounds of the wait between attempts."""
    deadline_s: float = 3600.0
    """An alert older than this is given up."""
    queued: int = 500
    keep_every_s: float = 10.0
    """How often what is undelivered is written, for the day when nobody says stop."""


@dataclass(slots=True)
class Counts:
    """What became of a webhook's alerts."""

    delivered: int = 0
    failed: int = 0
    """Attempts, each to be repeated."""
    refused: int = 0
    """Alerts that the receiver will never take."""
    expired: int = 0
    dropped: int = 0
    """Alerts for which there was no room."""


class Queue:
    """Alerts in order, at most ``most``: the oldest of the least severity goes first, never the one being sent."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[Alert] = deque()
        self.sending = False
        """Whether the first is on its way."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, alert: Alert) -> Alert | None:
        """Add an alert; return the one that had to make room."""
        self._items.append(alert)
        if len(self._items) <= self._most:
            return None
        rank = [Severity.INFO, Severity.TICKET, Severity.PAGE].index
        places = range(1 if self.sending else 0, len(self._items))
        place = min(places, key=lambda i: (rank(self._items[i].severity), i))
        dropped = self._items[place]
        del self._items[place]
        return dropped

    @property
    def first(self) -> Alert:
        """The one to be sent."""
        return self._items[0]

    def done(self) -> None:
        """Take the first out."""
        self._items.popleft()

    def all(self) -> list[Alert]:
        """Return all of them, the first first."""
        return list(self._items)


@dataclass(slots=True)
class _Hook:
    """One receiver."""

    settings: WebhookSettings = field(repr=False)
    url: str = field(repr=False)
    secret: bytes | None = field(repr=False)
    queue: Queue
    counts: Counts = field(default_factory=Counts)
    trouble: str = ""
    """Why the last attempt failed; empty when it did not."""
    delivered_s: float | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, alert: Alert) -> bool:
        named = not alert.webhooks or self.settings.name in alert.webhooks
        return named and (not self.settings.events or bool({alert.kind, alert.severity} & set(self.settings.events)))


class Webhooks:
    """All webhooks.

    Args:
        settings: One each.
        kept: The file for what is undelivered when the service stops; its folder must exist.
        patience: How long and how often.
        wall: Unix time.

    Raises:
        Failure: a name stands twice, an address is none, or a secret cannot be read.
    """

    def __init__(
        self,
        settings: Sequence[WebhookSettings],
        kept: Path,
        *,
        patience: Patience | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._kept, self._patience, self._wall = kept, patience or Patience(), wall
        self._log: Any = get_logger("webhooks")
        self._hooks: dict[str, _Hook] = {}
        for one in settings:
            if not one.name or one.name in self._hooks:
                raise Failure(f"webhook {one.name!r}: give each [[webhooks]] a name of its own")
            self._hooks[one.name] = _Hook(one, address(one), secret_of(one), Queue(self._patience.queued))
        self._written = self._take_up()

    def post(self, alert: Alert) -> None:
        """Take an alert for every webhook that it is for; this neither waits nor raises."""
        for hook in self._hooks.values():
            if hook.wants(alert):
                self._queue(hook, alert)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop``; what is undelivered then goes to the file, also what is just on its way."""
        with ThreadPoolExecutor(1, "webhooks") as writer:
            async with httpx.AsyncClient(headers={"User-Agent": f"evenwatt/{__version__}"}) as client:
                tasks = [asyncio.create_task(self._serve(hook, client)) for hook in self._hooks.values()]
                tasks.append(asyncio.create_task(self._keep(writer)))
                try:
                    await stop.wait()
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)
            await self._write(writer)

    def health(self) -> list[dict[str, Any]]:
        """Return how each webhook fares, for the status document and metrics; no address, no secret."""
        return [
            {
                "webhook": name,
                "queued": len(hook.queue),
                "delivered_s": hook.delivered_s,
                "trouble": hook.trouble,
                **asdict(hook.counts),
            }
            for name, hook in self._hooks.items()
        ]

    # --- delivering -----------------------------------------------------------------------------------------------

    def _queue(self, hook: _Hook, alert: Alert) -> None:
        dropped = hook.queue.add(alert)
        if dropped is not None:
            hook.counts.dropped += 1
            self._log.warning("alert dropped: queue full", webhook=hook.settings.name, delivery=dropped.delivery)
        hook.arrived.set()

    async def _serve(self, hook: _Hook, client: httpx.AsyncClient) -> None:
        while True:
            hook.arrived.clear()
            while len(hook.queue):
                hook.queue.sending = True
                try:
                    await self._deliver(hook, client, hook.queue.first)
                    hook.queue.done()
                finally:
                    hook.queue.sending = False
            await hook.arrived.wait()

    async def _deliver(self, hook: _Hook, client: httpx.AsyncClient, alert: Alert) -> None:
        """Try until it is delivered, refused or too old."""
        for attempt in count():
            asked_s = await self._attempt(hook, client, alert)
            if asked_s is None:
                return
            hook.counts.failed += 1
            if self._wall() - alert.at_s > self._patience.deadline_s:
                hook.counts.expired += 1
                self._log.error("alert not delivered: too old", webhook=hook.settings.name, delivery=alert.delivery)
                return
            bound_s = min(self._patience.most_s, self._patience.first_s * 2.0 ** min(attempt, 20))
            wait_s = random.uniform(bound_s / 2, bound_s)  # noqa: S311  (spreads load, hides nothing)
            await asyncio.sleep(max(wait_s, min(asked_s, self._patience.most_s)))

    async def _attempt(self, hook: _Hook, client: httpx.AsyncClient, alert: Alert) -> float | None:
        """Post once; return None when it is settled, else how long the receiver asks to wait, 0 without a word."""
        payload = body(alert, hook.settings.format)
        headers = {
            "Content-Type": "application/json",
            "X-Evenwatt-Delivery": _printable(alert.delivery),
            "X-Evenwatt-Event": alert.kind,
        }
        if hook.secret is not None:
            headers["X-Evenwatt-Signature"] = sign(hook.secret, payload, self._wall())
        try:
            async with (
                asyncio.timeout(hook.settings.timeout_s),
                client.stream("POST", hook.url, content=payload, headers=headers, timeout=None) as response,
            ):
                status, asked = response.status_code, response.headers.get("Retry-After", "")
        except TimeoutError:
            return self._failed(hook, f"no answer within {hook.settings.timeout_s:g} s")
        except Exception as error:  # noqa: BLE001  (whatever a receiver makes of HTTP, the other alerts must go out)
            return self._failed(hook, f"{type(error).__name__}: {error}" if _tame(error) else type(error).__name__)
        if 200 <= status < 300:
            self._settled(hook)
            hook.counts.delivered += 1
            hook.delivered_s = self._wall()
            return None
        if status in _GIVEN_UP:
            self._settled(hook)
            hook.counts.refused += 1
            self._log.error("alert refused", webhook=hook.settings.name, delivery=alert.delivery, status=status)
            return None
        hint = ": redirects are not followed, set the final address" if 300 <= status < 400 else ""
        self._failed(hook, f"status {status}{hint}")
        return float(asked) if status in _TOO_BUSY and asked.isascii() and asked.isdigit() else 0.0

    def _failed(self, hook: _Hook, why: str) -> float:
        if not hook.trouble:
            self._log.warning("webhook does not take alerts", webhook=hook.settings.name, why=why)
        hook.trouble = why
        return 0.0

    def _settled(self, hook: _Hook) -> None:
        if hook.trouble:
            self._log.info("webhook takes alerts again", webhook=hook.settings.name)
        hook.trouble = ""

    # --- what outlives the process --------------------------------------------------------------------------------

    def _take_up(self) -> bytes:
        """Queue what an earlier run left; return what the file holds."""
        try:
            held = self._kept.read_bytes()
            kept = msgspec.json.decode(held, type=dict[str, list[Alert]])
        except FileNotFoundError:
            return b""
        except (OSError, msgspec.MsgspecError, UnicodeError) as error:
            self._log.error("undelivered alerts cannot be read", file=str(self._kept), error=str(error))
            with suppress(OSError):
                self._kept.rename(self._kept.with_suffix(".unreadable"))
            return b""
        for name, alerts in kept.items():
            hook = self._hooks.get(name)
            if hook is None:
                self._log.warning("alerts for a webhook that is no more", webhook=name, alerts=len(alerts))
                continue
            for alert in alerts:
                self._queue(hook, alert)
        return held

    async def _keep(self, writer: ThreadPoolExecutor) -> None:
        """Write what is undelivered now and then."""
        while True:
            await asyncio.sleep(self._patience.keep_every_s)
            await self._write(writer)

    async def _write(self, writer: ThreadPoolExecutor) -> None:
        """Write what is undelivered, if that has changed; one thread, so that writes keep their order."""
        left = {name: hook.queue.all() for name, hook in self._hooks.items() if len(hook.queue)}
        content = msgspec.json.encode(left) if left else b""
        if content == self._written:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(writer, _replace, self._kept, content)
            self._written = content
        except OSError as error:
            self._log.error("undelivered alerts cannot be kept", file=str(self._kept), error=error.strerror)


def _replace(path: Path, content: bytes) -> None:
    """Put a file's content in place as a whole, for our eyes only; nothing to keep, no file."""
    if not content:
        path.unlink(missing_ok=True)
        return
    aside = path.with_suffix(".new")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123  (the mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def _tame(error: Exception) -> bool:
    """Whether an error's text tells of the connection only, and holds no address that may be a secret."""
    return isinstance(error, httpx.NetworkError | httpx.ProtocolError | OSError)


def _printable(text: str) -> str:
    """Return what a header may hold."""
    return text.encode("ascii", "backslashreplace").decode()
