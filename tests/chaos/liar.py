"""A counter that lies when it is told to: a program between a machine's ``energy_uj`` and whoever reads it.

The machine goes on writing the file that it has open; what stands in its place shows that number and what is added.

    python -m tests.chaos.liar ENERGY_UJ ORDERS

``ORDERS`` is a file with microjoules to add to what the machine says, or ``stuck`` while it shows what it showed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_EVERY_S = 0.005


def main(counter, orders):
    true = counter.with_name("energy_uj.true")
    counter.rename(true)
    said = os.open(true, os.O_RDONLY)
    shown = os.open(counter, os.O_WRONLY | os.O_CREAT, 0o400)
    _show(shown, _read(said))
    orders.write_text("0")  # from now on somebody may read it
    while True:
        order = orders.read_text()
        if order and order != "stuck":
            _show(shown, _read(said) + int(order))
        time.sleep(_EVERY_S)


def _read(fd):
    return int(os.pread(fd, 32, 0))


def _show(fd, value):
    """Write 16 bytes at once, which no reader sees half, as the machine does."""
    os.pwrite(fd, (b"%d" % value).ljust(16, b"\n"), 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
