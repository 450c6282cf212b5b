"""A wall clock that can be stepped, for one process only (``wall.c``)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support import need


class Wall:
    """The wall clock of the processes that are started with its ``environment``."""

    def __init__(self, folder):
        compiler = shutil.which("cc") or shutil.which("gcc")
        need(compiler, "a C compiler", "gcc libc6-dev")
        self._offset, library = folder / "wall", folder / "wall.so"
        source = Path(__file__).parent / "wall.c"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        self.environment = {"LD_PRELOAD": str(library), "WALL_OFFSET": str(self._offset)}
        self.step(0)

    def step(self, offset_s):
        """Set it so many seconds off this machine's."""
        aside = self._offset.with_name("wall.new")
        aside.write_text(str(offset_s))
        aside.replace(self._offset)


def life(windows, since_s):
    """Judge the first end of a lease after a moment, by windows of one node: (moment of their end, window).

    The last grant came after the last window that does not know it, and before the first one that does. The lease must
    have lived from then for its time to live, by the clock that windows carry.

    Returns:
        From when and until when it may have been granted, and the moment of the first window without it; None while
        no lease has ended.
    """
    rows = sorted(windows, key=lambda row: row[0])
    ended = next((i for i, (at_s, said) in enumerate(rows) if at_s >= since_s and said.lease.state != "leased"), None)
    if not ended:
        return None
    last = rows[ended - 1][1].lease
    first = ended - 1
    while first and (rows[first - 1][1].lease.epoch, rows[first - 1][1].lease.seq) == (last.epoch, last.seq):
        first -= 1
    assert first, "no window is from before the last grant"
    return rows[first - 1][0], rows[first][0], rows[ended][0]
