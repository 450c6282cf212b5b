"""Takes ledger records to disk on a thread of its own, so that no fsync ever holds up control.

One transaction takes all that arrived while the one before was being written. Only after the commit does the loop
hear of it and the node get its ``stored``. While the disk is full or the database locked, nothing is acknowledged:
the batch is tried again, the queue fills, and records it cannot take are left to the nodes, who send them again.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.storage import DatabaseError, LedgerWriter
from evenwatt_collector.storage.lease import new_epoch
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evenwatt_collector.books import BootTotals, Commit, Entry
    from evenwatt_collector.carbon.labels import LabelSettings
    from evenwatt_collector.storage.writer import Part

QUEUE_RECORDS: Final = 20_000
QUEUE_BYTES: Final = 32 * 1024 * 1024
"""Of payloads; decoded they take some five times as much."""
BATCH_RECORDS: Final = 5_000
_IDLE_S: Final = 1.0
_GATHER_S: Final = 0.1
"""Records that come within this are written together: each commit waits for the disk."""
_RETRY_S: Final = 1.0
_SETTLE_SOON_S: Final = 0.5
_SETTLE_LATE_S: Final = 5.0
_REFUSED_SAID_S: Final = 60.0


class Store:
    """The writer thread and its queue.

    Args:
        where: The database: a file or a URL.
        on_commit: Told of each commit, on the writer thread.
        slots: Slots an hour by zone's name, where it is not the default.
        labels: Rules for what is no task.
        epoch: Of the lease that this collector holds; None where there is no standby, and an epoch begins here.
        part: What this collector has of a database that others write too; None where it has all.

    Raises:
        Failure: the database cannot be opened.
    """

    def __init__(
        self,
        where: str,
        on_commit: Callable[[Commit], None],
        slots: Mapping[str, int] | None = None,
        labels: Sequence[LabelSettings] = (),
        epoch: int | None = None,
        part: Part | None = None,
    ) -> None:
        self._log: Any = get_logger("store")
        self._database = LedgerWriter(where, slots, labels, fence=epoch, part=part)
        begun = (epoch, True) if epoch is not None else new_epoch(self._database.connection, int(time.time()))
        self.epoch, self.took_over = begun
        self.identities = self._database.identities
        """What nodes are told of what the database holds."""
        self.loaded: tuple[BootTotals, ...] = self._database.totals()
        self._on_commit = on_commit
        self._queue: queue.Queue[Entry | None] = queue.Queue(QUEUE_RECORDS)
        self._stopping = threading.Event()
        self._closed = False
        self._settled_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self.alarm: str | None = None
        """What is wrong with the database; None when records are being stored."""
        self.turned_s = time.monotonic()
        """When the writer last came round, whether it had anything to do or not."""
        self.refused = 0
        """Records that did not fit into the queue."""
        self._refused_s = float("-inf")
        self._offered_bytes = self._taken_bytes = 0
        """Written by one thread each; their difference is in the queue."""

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def offer(self, entry: Entry) -> bool:
        """Queue a record; False if there is no room, and then it must not be acknowledged."""
        size = len(entry.payload)
        try:
            if not self._stopping.is_set() and self._offered_bytes - self._taken_bytes + size <= QUEUE_BYTES:
                self._queue.put_nowait(entry)
                self._offered_bytes += size
                return True
        except queue.Full:
            pass
        self.refused, self._refused_s = self.refused + 1, time.monotonic()
        return False

    @property
    def room(self) -> int:
        """Records that still fit into the queue, as far as their number goes."""
        return max(0, QUEUE_RECORDS - self._queue.qsize())

    def troubles(self) -> list[str]:
        """Say that records cannot be taken: none is lost, nodes keep them."""
        if time.monotonic() - self._refused_s > _REFUSED_SAID_S:
            return []
        return [f"records come faster than the database takes them ({self.refused} refused); nodes keep them"]

    def silent_s(self) -> float:
        """Return how long the writer has been waiting for the database."""
        return time.monotonic() - self.turned_s

    @property
    def waiting(self) -> int:
        """Records in the queue."""
        return self._queue.qsize()

    def close(self, patience_s: float = 10.0) -> None:
        """Write what is queued and close; what cannot be written in time stays with the nodes."""
        if self._closed:
            return
        self._closed = True
        self._stopping.set()
        with suppress(queue.Full):  # this only wakes the writer, and a full queue has
            self._queue.put_nowait(None)
        if self._thread.ident is not None:
            self._thread.join(patience_s)
        if self._thread.is_alive():
            self._log.warning("stopped with records unwritten; the nodes still have them", records=self.waiting)
            return
        self._database.close()

    def _run(self) -> None:
        while True:
            self.turned_s = time.monotonic()
            batch = self._take()
            if batch:
                self._write(batch)
            last = not batch and self._stopping.is_set() and self._queue.empty()
            self._settle(0.0 if last else _SETTLE_LATE_S if batch else _SETTLE_SOON_S)
            if last:
                return

    def _settle(self, after_s: float) -> None:
        """Bring the books to disk, so long after the last time; what stays in memory is in the ledger anyway."""
        if not self._database.due or time.monotonic() - self._settled_s < after_s:
            return
        self._settled_s = time.monotonic()
        try:
            self._database.settle()
        except DatabaseError as error:
            self._complain(str(error))
            return
        self._well()

    def _well(self) -> None:
        if self.alarm is not None:
            self._log.info("the ledger can be written again")
        self.alarm = None

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        try:
            first = self._queue.get(timeout=_IDLE_S)
            batch += [first] if first else []
            self._stopping.wait(_GATHER_S)
            while len(batch) < BATCH_RECORDS:
                entry = self._queue.get_nowait()
                batch += [entry] if entry else []
        except queue.Empty:
            pass
        self._taken_bytes += sum(len(entry.payload) for entry in batch)
        return batch

    def _write(self, batch: list[Entry]) -> None:
        while True:
            self.turned_s = time.monotonic()
            try:
                commit = self._database.append(batch, time.time())
            except DatabaseError as error:
                self._complain(str(error))
                if self._stopping.wait(_RETRY_S) and not self._retry_once(batch):
                    return
                continue
            self._well()
            self._on_commit(commit)
            return

    def _retry_once(self, batch: list[Entry]) -> bool:
        """While stopping: one more try, then the rest stays with the nodes."""
        try:
            self._on_commit(self._database.append(batch, time.time()))
        except DatabaseError:
            self._log.warning("stopped with records unwritten; the nodes still have them", records=len(batch))
        return False

    def _complain(self, error: str) -> None:
        if self.alarm != error:
            self._log.error(
                "the ledger cannot be written; nodes keep their records until it can", error=error, waiting=self.waiting
            )
        self.alarm = error
