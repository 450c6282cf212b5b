"""The thread that keeps what is not the ledger: readings, facts, days, retention; and answers what takes long.

It has its own connection, so that neither an fsync of the ledger nor the event loop ever waits for a query. Readings
that cannot be stored are kept and tried again; what is rolled up too late is rolled up later.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from evenwatt_collector.storage import DatabaseError, connect
from evenwatt_collector.storage.intensity import record
from evenwatt_collector.storage.keeping import tidy
from evenwatt_collector.storage.rollup import due, roll_up
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from evenwatt_collector.carbon.series import Reading
    from evenwatt_collector.storage import Connection

T = TypeVar("T")

_ROUND_S: Final = 10.0
_TIDY_S: Final = 3600.0
_MOST_PENDING: Final = 200_000
"""Readings kept while the database cannot be written: a month of five-minute values of twenty grids."""


class Keeper:
    """The thread and its connection.

    Args:
        where: The database.
        minutes_days: How long records are kept.
        hours_days: How long hours are kept.
        fence: The epoch in which alone this may write; None where there is no standby.
        shard: Which of several on this database.

    Raises:
        Failure: the database cannot be opened.
    """

    def __init__(
        self, where: str, minutes_days: float, hours_days: float, fence: int | None = None, shard: str = ""
    ) -> None:
        self._log: Any = get_logger("keeper")
        self._kept_days = (minutes_days, hours_days)
        self._connection: Connection = connect(where, exclusive=False, fence=fence, shard=shard)
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._pending: deque[Reading] = deque(maxlen=_MOST_PENDING)
        self._tidy_s = time.monotonic() + _TIDY_S / 10
        self._tidying: Iterator[str] | None = None
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._stopping = threading.Event()
        self.alarm: str | None = None
        """What is wrong; None when all is being stored."""
        self.turned_s = time.monotonic()

    def start(self) -> None:
        """Start working."""
        self._thread.start()

    def take(self, readings: list[Reading]) -> None:
        """Store readings soon."""
        self._pending.extend(readings)
        self._jobs.put(self._store_readings)

    def ask(self, job: Callable[[Connection], T]) -> Future[T]:
        """Run a job on the thread; what it raises is in the future."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(job(self._connection))
            except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
                future.set_exception(error)

        self._jobs.put(run)
        return future

    def close(self, patience_s: float = 5.0) -> None:
        """Store what is pending and close."""
        self._stopping.set()
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join(patience_s)
        if not self._thread.is_alive():
            self._connection.close()

    def _run(self) -> None:
        round_s = time.monotonic()
        while not self._stopping.is_set():
            self.turned_s = time.monotonic()
            with suppress(queue.Empty):
                job = self._jobs.get(timeout=max(0.0, min(_ROUND_S, round_s - self.turned_s)))
                if job is not None:
                    job()
                continue
            round_s = time.monotonic() + (0.05 if self._work() else _ROUND_S)
        self._store_readings()

    def _work(self) -> bool:
        """Do one bounded piece of what is due; return whether there is more."""
        try:
            return self._roll_up() or self._tidy()
        except DatabaseError as error:
            self._complain(str(error))
        except Exception as error:  # noqa: BLE001  (a fault of ours must not end the thread; what it was is said)
            self._complain(f"{type(error).__name__}: {error}")
        self._tidying = None
        return False

    def _roll_up(self) -> bool:
        now_s = time.time()
        for day, zone in due(self._connection, now_s):
            if roll_up(self._connection, day, zone, now_s):
                self._well()
                return True
        return False

    def _tidy(self) -> bool:
        if self._tidying is None:
            if time.monotonic() < self._tidy_s:
                return False
            self._tidy_s = time.monotonic() + _TIDY_S
            self._tidying = tidy(self._connection, time.time(), *self._kept_days)
        done = next(self._tidying, None)
        if done is None:
            self._tidying = None
            return False
        self._log.info("forgotten: older than it is kept", what=done)
        return True

    def _store_readings(self) -> None:
        count = len(self._pending)
        if not count:
            return
        try:
            record(self._connection, [self._pending[i] for i in range(count)])
        except DatabaseError as error:
            self._complain(str(error))  # they stay, and go with the next ones
            return
        for _ in range(min(count, len(self._pending))):
            self._pending.popleft()
        self._well()

    def _complain(self, error: str) -> None:
        if self.alarm != error:
            self._log.error("intensities and days cannot be stored; they are kept and tried again", error=error)
        self.alarm = error

    def _well(self) -> None:
        if self.alarm is not None:
            self._log.info("intensities and days can be stored again")
        self.alarm = None
