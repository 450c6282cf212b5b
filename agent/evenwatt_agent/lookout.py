"""Looks, now and then, at what goes wrong without an error: answers that do not come, certificates that end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

from evenwatt_agent.hearing import PATIENCE_S, Heard, Hearing
from evenwatt_daemon.certificate_watch import CertificateWatch
from evenwatt_wire.topics import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_agent.settings import AgentSettings

_LOOK_S: Final = 10.0


class _Event(Protocol):
    def __call__(self, name: str, subject: str, **facts: str | float | bool | None) -> None: ...


class Lookout:
    """Says each trouble once as an event when it begins and when it ends, and certificates once a day.

    Args:
        settings: The agent's.
        event: Says what happened.
        waiting: How many records wait for an answer.
        online: Whether the broker is there.
    """

    def __init__(
        self, settings: AgentSettings, event: _Event, waiting: Callable[[], int], online: Callable[[], bool]
    ) -> None:
        self._settings, self._event, self._waiting, self._online = settings, event, waiting, online
        self._certificates = CertificateWatch(settings.mqtt)
        self.hearing = Hearing()

    @property
    def trouble(self) -> str:
        """What is wrong now, or nothing."""
        unanswered = [self._unanswered()] if self.hearing.state is Heard.UNANSWERED else []
        return "; ".join([*unanswered, *self._certificates.troubles])

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for one in self._certificates.look(time.monotonic(), time.time()):
                self._event("certificate-ends", "", why=one)
            if self.hearing.look(time.monotonic(), waiting=self._waiting(), online=self._online()):
                silent = self.hearing.state is Heard.UNANSWERED
                self._event(
                    "ledger-unanswered" if silent else "ledger-answered", "", why=self._unanswered() if silent else ""
                )
            await asyncio.sleep(_LOOK_S)

    def _unanswered(self) -> str:
        mine = f"{PREFIX}/{self._settings.zone}/{self._settings.node}"
        return (
            f"the collector is there and has confirmed none of {self._waiting()} records for over {PATIENCE_S:.0f} s: "
            f"check the broker's access list for this login (topic write {mine}/ledger, topic read {mine}/stored), and "
            f"the collector's alarms; evenwatt doctor shows which"
        )
