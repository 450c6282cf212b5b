"""The machine's power over IPMI DCMI, as ``ipmitool dcmi power reading`` prints it (DCMI 1.5, "Get Power Reading").

Used where ``ipmitool`` is installed and the kernel has an IPMI device; nothing needs to be configured.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent.sources import bmc
from evenwatt_agent.sources.model import Found, Problem, ReadError

if TYPE_CHECKING:
    from evenwatt_agent.settings import MeterSettings

_DEVICES: Final = ("ipmi0", "ipmi/0", "ipmidev/0")
_READING = re.compile(r"^\s*Instantaneous power reading\s*:\s*([0-9]{1,6})\s*Watts\s*$", re.MULTILINE)
_STATE = re.compile(r"^\s*Power reading state is\s*:\s*(\w+)\s*$", re.MULTILINE)
_TIMEOUT_S: Final = 10.0
_ACTIVATE: Final = "run: ipmitool dcmi power activate"
_FIXES: Final = {
    "power reading state": _ACTIVATE,
    "Invalid command": "this controller has no DCMI power meter; sources.meter.ipmi = false stops asking for it",
    "": "run the agent as root or open the device to its group; `ipmitool dcmi power reading` shows what it sees",
}


def discover(settings: MeterSettings, dev: Path = Path("/dev")) -> Found:
    """Use the machine's own controller if there is one."""
    tool = shutil.which("ipmitool")
    device = next((dev / name for name in _DEVICES if (dev / name).exists()), None)
    if not settings.ipmi or tool is None or device is None:
        return Found()
    poller = bmc.Poller(lambda: ask(tool), settings.period_s, "ipmi")
    poller.start(_TIMEOUT_S + 1.0)
    if poller.trouble:  # most controllers without DCMI say so at once, and will not learn it
        poller.close()
        fix = next(fix for word, fix in _FIXES.items() if word in poller.trouble)
        return Found([], [Problem("ipmi", str(device), poller.trouble, fix)])
    return Found([bmc.probe_of(poller, "ipmi", "ipmi")])


def parse(text: str) -> float:
    """Return the watts that ipmitool printed.

    Raises:
        ReadError: it printed something else, or the controller does not measure.
    """
    state, reading = _STATE.search(text), _READING.search(text)
    if state is not None and state[1] != "activated":
        raise ReadError(f"power reading state is {state[1]!r}, expected 'activated'; {_ACTIVATE}")
    if reading is None or state is None:
        first = (text.strip().splitlines() or ["nothing"])[0][:100]
        missing = "Instantaneous power reading: N Watts" if reading is None else "Power reading state is: activated"
        raise ReadError(f"ipmitool printed {first!r}, expected a line {missing!r}")
    return float(reading[1])


def ask(tool: str, timeout_s: float = _TIMEOUT_S) -> float:
    """Run ``tool`` once and return the watts it prints.

    Raises:
        OSError: it cannot be run, does not end in time, fails, or prints something else.
    """
    command = [tool, "dcmi", "power", "reading"]
    try:
        done = subprocess.run(command, capture_output=True, errors="replace", check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ReadError(f"ipmitool did not answer within {timeout_s:g} s") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise ReadError(f"ipmitool failed ({done.returncode}): {lines[-1][:200]}")
    return parse(done.stdout)
