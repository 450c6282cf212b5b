"""Between what happens and the audit log: entries through the one worker, and what is said where they fail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from evenwatt_agent.actuator.manners import Complaints
from evenwatt_daemon.audit_log import AuditError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evenwatt_agent.journal import Journal
    from evenwatt_daemon.audit import Facts
    from evenwatt_wire import CommandError


class Scribe:
    """Writes things down for an authority; with control off there is no log, and nothing to write.

    Args:
        journal: This node's.
        in_worker: Runs a blocking call on the one worker thread.
        event: Publishes what happened.
    """

    def __init__(
        self,
        journal: Journal | None,
        in_worker: Callable[[Callable[[], Any]], Awaitable[Any]],
        event: Callable[..., None],
    ) -> None:
        self.journal = journal
        self._in_worker, self.event = in_worker, event
        self._complaints = Complaints()
        self._failing = False

    @property
    def head(self) -> str:
        """Number and hash of the latest entry."""
        return self.journal.head if self.journal is not None else ""

    async def begin(self, facts: Facts, begun: str | None) -> None:
        """Enter what is in force from now on, and say what an earlier run left open."""
        troubles: list[str] = []
        await self.enter(lambda journal: troubles.extend(journal.begin(facts, begun)))
        for trouble in troubles:
            self.event("audit-trouble", "", why=trouble)

    async def note(self, kind: str, facts: Facts) -> None:
        """Enter something that happened."""
        await self.enter(lambda journal: journal.note(kind, facts))

    async def enter(self, entry: Callable[[Journal], None]) -> None:
        """Write something down. Where that fails it is said; no command is carried out then until it works again."""
        journal = self.journal
        if journal is None:
            return
        try:
            await self._in_worker(lambda: entry(journal))
        except AuditError as error:
            if not self._failing:
                self.event("audit-failed", "", why=str(error))
            self._failing = True
        else:
            self._failing = False

    def complain(self, error: CommandError, target: str) -> None:
        """Say that a command was refused, once a minute for each reason; the log counts all."""
        held_back = self._complaints.admit(error.code, time.monotonic())
        if held_back is not None:
            self.event("command-refused", target, code=error.code, why=str(error), held_back=held_back)

    async def close(self, facts: Facts) -> None:
        """Enter the end of this run."""
        journal, self.journal = self.journal, None
        if journal is not None:
            await self._in_worker(lambda: journal.close(facts))
