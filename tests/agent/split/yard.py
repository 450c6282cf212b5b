"""A simulated machine whose counters are root's alone, an actuator as root, and an agent as nobody."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest

from evenwatt_agent.actuator.protocol import VERSION, Hello, Purpose, decode_said, encode
from evenwatt_wire import Live, State
from evenwatt_wire.messages import NodeState
from tests.site import Site, written
from tests.support import eventually, process, wait_for

USER, UID, GID = "nobody", 65534, 65534
AS_NOBODY = ["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups", "--"]


def need_two_users():
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to run the agent as another user")
    seen = subprocess.run([*AS_NOBODY, sys.executable, "-c", "import evenwatt_agent"], capture_output=True, check=False)
    if seen.returncode:
        pytest.skip(f"user {USER} cannot run {sys.executable} from here: the agent would not start as that user")


class SplitSite(Site):
    """A site with two processes."""

    grace_s = 60.0

    def __init__(self, folder, port):
        super().__init__(folder, port)
        for name in ("state", "run"):
            (folder / name).mkdir()
            os.chown(folder / name, UID, GID)
        self.path = str(folder / "actuator" / "actuator.sock")
        self.own_limits = {}

    def write_settings(self, control="", **top):
        tables = f"""process = "actuator"
{control}
[actuator]
socket = "{self.folder / "actuator" / "actuator.sock"}"
user = "{USER}"
state_dir = "{self.folder / "actuator-state"}"
grace_s = {self.grace_s}
"""
        super().write_settings(tables, **top)

    def set_grace(self, grace_s):
        self.grace_s = grace_s
        self.write_settings()

    def lock_counters(self):
        """Give the counters the mode that they have since CVE-2020-8694."""
        found = list(self.sysfs.rglob("energy_uj"))
        for counter in found:
            counter.chmod(0o400)
        self.own_limits = self.limits()
        return found

    def actuator(self):
        return process(
            [sys.executable, "-m", "evenwatt_agent.actuator", "--config", str(self.folder / "agent.toml")],
            self.folder / "actuator.log",
        )

    def agent(self):
        command = [*AS_NOBODY, sys.executable, "-m", "evenwatt_agent", "--config", str(self.folder / "agent.toml")]
        return process(command, self.folder / "agent.log")

    def await_actuator(self, times=1):
        log = self.folder / "actuator.log"
        wait_for(lambda: log.read_text().count('"event": "starting"') >= times, "the actuator is ready")

    def restore(self):
        """What the service manager runs after any death of the actuator."""
        state = str(self.folder / "actuator-state")
        subprocess.run([sys.executable, "-m", "evenwatt_agent.restore", "--state-dir", state], check=True)

    def package_limits_w(self):
        """Long-term limits of the packages."""
        found = self.sysfs.glob("devices/virtual/powercap/intel-rapl/intel-rapl:?/constraint_0_power_limit_uw")
        return [int(written(path)) / 1e6 for path in found]

    def capped(self):
        return self.limits() != self.own_limits


class Hostile:
    """Somebody who speaks the socket's protocol as the agent's user may, and does what no agent would."""

    def __init__(self, path, purpose=Purpose.CONTROL, version=VERSION):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(60)
        self.sock.connect(path)
        if purpose is not None:
            self.say(Hello(version, purpose, "0"))

    def say(self, message):
        self.send(encode(message))

    def send(self, raw):
        self.sock.send(raw, socket.MSG_NOSIGNAL)

    def hear(self):
        """Return the next message, or None when the connection has been closed."""
        try:
            raw = self.sock.recv(1 << 18)
        except ConnectionError:
            return None
        return decode_said(raw) if raw else None

    def hear_kind(self, kind):
        while True:
            said = self.hear()
            if said is None or isinstance(said, kind):
                return said

    def hear_all(self):
        while (said := self.hear()) is not None:
            yield said

    def close(self):
        self.sock.close()


async def joined(listener, boots=1):
    def ready():
        return len({s.boot for s in listener.said[State] if s.state is NodeState.READY}) >= boots

    await eventually(ready, "the node is ready")
    await eventually(lambda: listener.said[Live], "a window is told")
