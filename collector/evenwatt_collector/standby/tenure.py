"""The active one's hold of the lease: beats in the database from a thread of its own, and on the broker.

The thread has its own connection, so that neither a batch of records nor a slow query delays a beat.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.control.accounts import MESSAGE_EXPIRY_S
from evenwatt_collector.standby.machine import BEAT_S, FENCE_BEFORE_S, Hold
from evenwatt_collector.storage import DatabaseError, FencedError
from evenwatt_collector.storage.lease import give_back, renew
from evenwatt_daemon import get_logger
from evenwatt_wire.messages import Beat

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenwatt_collector.fleet import Fleet
    from evenwatt_collector.standby.settings import StandbySettings
    from evenwatt_collector.storage import Connection

_WINDOW_S: Final = 1.0
_LEAST_QUIET_S: Final = 1.0
_JOIN_S: Final = 5.0


def hold_s() -> float:
    """Seconds that a hold is measured in: they run on while this machine is suspended, for its standby is awake."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tenure:
    """One stretch of being the active collector.

    Args:
        settings: Name and patience.
        epoch: Of the lease.
        claimed_s: When the lease was asked for, by :func:`hold_s`.
        sign_s: When the latest sign of the one before came; -inf if there was none.
        connection: Nobody else may use it from now on.
        fleet: The live view so far.
    """

    def __init__(
        self,
        settings: StandbySettings,
        epoch: int,
        claimed_s: float,
        sign_s: float,
        connection: Connection,
        fleet: Fleet,
    ) -> None:
        self._log: Any = get_logger("standby")
        self.name, self.epoch, self.fleet = settings.name, epoch, fleet
        fence_s = settings.takeover_s - FENCE_BEFORE_S
        self._hold = Hold(epoch, claimed_s, fence_s)
        self._connection = connection
        connection.fence = epoch
        # The last grants of the one before have arrived by then, and nodes have told what they hold.
        self._quiet_until_s = sign_s + fence_s + MESSAGE_EXPIRY_S + _WINDOW_S
        self.over = asyncio.Event()
        """Set when another collector has taken over."""
        self.trouble: str | None = None
        """Why the database cannot be beaten in."""
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self.online: Callable[[], bool] = lambda: True
        """Whether anybody hears us: one that nobody does must let the other one take over."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    @property
    def quiet_s(self) -> float:
        """For how long from now on to watch before the first grant."""
        return max(_LEAST_QUIET_S, self._quiet_until_s - time.monotonic())

    def start(self) -> None:
        """Beat in the database from now on."""
        self._thread.start()

    def beat(self, zone: str, number: int) -> Beat:
        """Return what is said on the broker."""
        return Beat(zone=zone, epoch=self.epoch, beat=number, name=self.name)

    def next_beat(self) -> int:
        """Return the number of the beat that is sent now."""
        return self._hold.beats(hold_s())

    def heard(self, beat: Beat) -> None:
        """Take a beat from the broker: our own, or another collector's."""
        self._hold.heard(beat.epoch, beat.beat)

    def may_act(self) -> bool:
        """Whether orders may be sent and work be taken now."""
        return not self._stopping.is_set() and self._hold.may_act(hold_s())

    def close(self) -> None:
        """Stop beating and give the lease back; call it when everything is written."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            return  # it hangs in the database; the standby will notice that nobody beats
        try:
            if not self._hold.lost:
                give_back(self._connection)
        except DatabaseError as error:
            self._log.warning("the lease cannot be given back; the standby waits for its end", why=str(error))
        self._connection.close()

    def _run(self) -> None:
        while not self._stopping.wait(BEAT_S):
            if not self.online():
                continue
            began_s = hold_s()
            try:
                renew(self._connection)
            except FencedError as error:
                self._hold.refused()
                self._log.warning("another collector is active; this one stands by from now on", why=str(error))
                self._loop.call_soon_threadsafe(self.over.set)
                return
            except DatabaseError as error:
                if self.trouble is None:
                    said = "no beat in the database; control goes on while the broker answers"
                    self._log.warning(said, why=str(error))
                self.trouble = str(error)
                continue
            self.trouble = None
            self._hold.renewed(began_s)
