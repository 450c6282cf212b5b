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
_READING = re.compile(r"^\s*Instantaneous power reading\s*:\s*(\d+)\s*Watts\s*$", re.MULTILINE)
_STATE = re.compile(r"^\s*Power reading state is\s*:\s*(\w+)\s*$", re.MULTILINE)
_TIMEOUT_S: Final = 10.0
_FIX: Final = "run the agent as root or open the device to its group; `ipmitool dcmi power reading` shows what it sees"


def discover(settings: MeterSettings, dev: Path = Path("/dev")) -> Found:
    """Use the machine's own controller if there is one."""
    tool = shutil.which("ipmitool")
    device = next((dev / name for name in _DEVICES if (dev / name).exists()), None)
    if not settings.ipmi or tool is None or device is None:
        return Found()
    poller = bmc.Poller(lambda: _ask(tool), settings.period_s, "ipmi")
    poller.start()
    if poller.trouble:  # most controllers without DCMI say so at once, and will not learn it
        poller.close()
        return Found([], [Problem("ipmi", str(device), poller.trouble, _FIX)])
    return Found([bmc.probe_of(poller, "ipmi", "ipmi")])


def parse(text: str) -> float:
    """Return the watts that ipmitool printed.

    Raises:
        ReadError: it printed something else, or the controller does not measure.
    """
    state, reading = _STATE.search(text), _READING.search(text)
    if state is not None and state[1] != "activated":
        raise ReadError(f"power reading is {state[1]}; run: ipmitool dcmi power activate")
    if reading is None:
        first = (text.strip().splitlines() or ["nothing"])[0][:100]
        raise ReadError(f"ipmitool printed {first!r}, expected 'Instantaneous power reading: N Watts'")
    return float(reading[1])


def _ask(tool: str) -> float:
    command = [tool, "dcmi", "power", "reading"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ReadError(f"ipmitool did not answer within {_TIMEOUT_S:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ReadError(f"ipmitool failed: {lines[-1][:200]}")
    return parse(done.stdout)
