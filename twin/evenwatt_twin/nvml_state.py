"""The file that the twin and the fake NVML library share: its layout, and one object that reads and writes it.

The layout is written down a second time in ``nvml.c``. Any process may open it, as a test does to break a board.
Numbers are moved through typed views, which copies each in one piece.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = 0x4C4D_564E_5457_4557
VERSION: Final = 4
MAX_BOARDS: Final = 16
PROCESSES: Final = 8
"""Processes that one board shows at most."""
_BLOCK: Final = 512
"""Bytes of the header, and of each board after it."""

_NAME_AT: Final = 104
_UUID_AT: Final = 200


class Flag(IntFlag):
    """What a board is."""

    NEEDS_ROOT = 1
    """Every new limit is refused with NO_PERMISSION, as to a caller without privilege."""
    NO_ENERGY = 2
    """Older than Volta: no energy counter."""
    MIG_CAPABLE = 4
    MIG_ENABLED = 8
    PERSISTENT = 16
    GONE = 32
    """Fallen off the bus: not counted, and the boards after it have moved up by one."""
    NO_AVERAGE = 64
    """The average power field is not supported; the instant one is."""
    OLD_FIELDS = 128
    """The driver is older than the power fields, and calls them invalid."""
    LIMIT_LOCKED = 256
    """Its power limit cannot be set (NOT_SUPPORTED), as on boards of vendors that fix it."""


class Field(IntEnum):
    """The 32-bit numbers of a board, by their index from the start of its block."""

    POWER_MW = 6
    AVERAGE_MW = 7
    LIMIT_MW = 8
    ENFORCED_MW = 9
    DEFAULT_MW = 10
    MIN_MW = 11
    MAX_MW = 12
    UTIL_GPU = 13
    UTIL_MEMORY = 14
    TEMPERATURE_C = 15
    ERROR = 16
    FLAGS = 17
    ARCHITECTURE = 18
    CC_MAJOR = 19
    CC_MINOR = 20
    PCI_BUS = 21
    PCI_DEVICE_ID = 22
    RELOADS = 23
    SET_CALLS = 24
    PROCESS_PID = 74
    """First of ``PROCESSES``."""
    PROCESS_SM = 82
    """First of ``PROCESSES``: percent of the time that its kernels ran."""
    MODULE_MW = 90
    """Power of the module around the board; 0 where there is none."""
    PROCESS_ERROR = 91
    """NVML code that queries by process answer, while every other call works; 0 for none."""
    AHEAD_S = 92
    """Seconds that the stamps of process samples are ahead, as before the clock was set back."""
    LOCKED_MHZ = 93
    """Upper bound of the graphics clock; 0 for none."""
    TOP_MHZ = 94
    CLOCK_MHZ = 95


class NvmlState:
    """The shared file, mapped."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._map = mmap.mmap(fd, _BLOCK * (1 + MAX_BOARDS))
        finally:
            os.close(fd)
        whole = memoryview(self._map)
        self._longs = whole.cast("Q")
        self._words = whole.cast("I")
        self.numbers = self._words
        """Every 32-bit number of the file; a board's are at ``at(index, field)``."""

    @classmethod
    def create(cls, path: Path, boards: int, driver: str, nvml: str) -> Self:
        """Write a fresh file for some boards and map it; the magic number comes last."""
        path.write_bytes(bytes(_BLOCK * (1 + MAX_BOARDS)))
        state = cls(path)
        struct.pack_into("=II80s80s", state._map, 8, VERSION, boards, driver.encode(), nvml.encode())
        state._longs[0] = MAGIC
        return state

    @property
    def boards(self) -> int:
        """How many boards there are."""
        return self._words[3]

    def name_board(self, index: int, name: str, uuid: str) -> None:
        """Set what a board is called."""
        base = _BLOCK * (1 + index)
        struct.pack_into("96s", self._map, base + _NAME_AT, name.encode())
        struct.pack_into("96s", self._map, base + _UUID_AT, uuid.encode())

    @staticmethod
    def at(index: int, field: Field) -> int:
        """Return where a board's number is in ``numbers``."""
        return _BLOCK * (1 + index) // 4 + field

    def get(self, index: int, field: Field) -> int:
        """Return one number of a board."""
        return self._words[self.at(index, field)]

    def set(self, index: int, field: Field, value: int) -> None:
        """Set one number of a board."""
        self._words[self.at(index, field)] = value

    def set_energy(self, index: int, millijoules: int) -> None:
        """Set a board's energy counter."""
        self._longs[_BLOCK * (1 + index) // 8] = millijoules

    def set_memory(self, index: int, total: int, used: int) -> None:
        """Set a board's memory in bytes."""
        base = _BLOCK * (1 + index) // 8
        self._longs[base + 1] = total
        self._longs[base + 2] = used

    def set_process(self, index: int, slot: int, pid: int, sm_pct: int) -> None:
        """Put a process on a board, idle with 0 %; pid 0 takes it away."""
        base = _BLOCK * (1 + index) // 4 + slot
        self._words[base + Field.PROCESS_SM] = sm_pct
        self._words[base + Field.PROCESS_PID] = pid

    def inject_error(self, index: int, code: int) -> None:
        """Let every call on a board fail with an NVML code (15 is GPU_IS_LOST); 0 mends it."""
        self.set(index, Field.ERROR, code)

    def take_away(self, index: int) -> None:
        """Let a board fall off the bus, which renumbers those after it."""
        self.set(index, Field.FLAGS, self.get(index, Field.FLAGS) | Flag.GONE)

    def reload_driver(self, index: int) -> None:
        """Start a board's counter at 0 and its limit at the default, at the twin's next step."""
        self.set(index, Field.RELOADS, self.get(index, Field.RELOADS) + 1)

    def close(self) -> None:
        """Unmap the file."""
        self._words.release()
        self._longs.release()
        self._map.close()
