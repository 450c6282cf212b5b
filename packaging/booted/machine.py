"""A Debian tree that boots in systemd-nspawn beside a simulated machine that it sees as its own hardware."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates,python3,mosquitto,curl,procps,init-system-helpers"
HARDWARE = """\
# Only in this test: the simulated machine's folders stand where the kernel would show its own.
[Unit]
DefaultDependencies=no
Before=sysinit.target
After=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --bind /srv/machine/sys/class /sys/class
ExecStart=/bin/mount --bind /srv/machine/sys/devices/virtual /sys/devices/virtual
[Install]
WantedBy=sysinit.target
"""
POLL_S = 0.02


class NotSeenError(Exception):
    """What was waited for did not come."""


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 30.0) -> T:
    """Return the condition's first true value.

    Raises:
        NotSeenError: it did not come in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(POLL_S)
    raise NotSeenError(f"waited {timeout_s:.0f} s in vain until {what}")


def base_tree(suite: str, cache: Path) -> Path:
    """Return a fresh Debian tree with what the packages depend on; made once, then taken from the cache."""
    base = cache / f"booted-{suite}"
    if not base.exists():
        cache.mkdir(parents=True, exist_ok=True)
        new = cache / f"booted-{suite}.new"
        shutil.rmtree(new, ignore_errors=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(new), MIRROR],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        new.rename(base)
    return base


class Hardware:
    """The simulated machine: its tree, and what its limits are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = {"machines": [{"id": "machine", "preset": "xeon_2s", "profile": {"kind": "steady", "load": 0.8}}]}
        (folder / "spec.json").write_text(json.dumps(spec))
        command = [sys.executable, "-m", "evenwatt_twin", str(folder / "spec.json"), "--dir", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self._process.stdout is None or not self._process.stdout.readline():
            raise NotSeenError("the simulated machine did not start")
        self.place = folder / "machine"
        self.originals = self.limits()

    def limits(self) -> dict[str, int]:
        """Limits of the packages in microwatts, as the devices have them."""
        found = (self.place / "sys" / "devices" / "virtual" / "powercap").rglob("constraint_*_power_limit_uw")
        return {str(path.relative_to(self.place)): int(path.read_text() or 0) for path in sorted(found)}

    def limit_w(self) -> float:
        """Return the sum of the packages' long-term limits."""
        return sum(v for k, v in self.limits().items() if k.count("intel-rapl:") == 1 and "constraint_0" in k) / 1e6

    def has_its_own(self) -> bool:
        """Whether all limits are what they were before anything was installed."""
        return self.limits() == self.originals

    @contextmanager
    def locked_limit(self) -> Iterator[None]:
        """Let nobody write one limit, root included."""
        path = self.place / next(path for path in self.limits() if "intel-rapl:0" in path and "constraint_0" in path)
        subprocess.run(["chattr", "+i", path], check=True)
        try:
            yield
        finally:
            subprocess.run(["chattr", "-i", path], check=True)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class Booted:
    """The system, from its first boot on.

    Args:
        root: Its tree.
        hardware: What it sees as its own.
        log: Takes what every command in it says.
    """

    def __init__(self, root: Path, hardware: Hardware, log: Path) -> None:
        self.root, self._hardware, self._log = root, hardware, log
        self._nspawn: subprocess.Popen[bytes] | None = None
        unit = root / "etc" / "systemd" / "system" / "simulated-hardware.service"
        unit.write_text(HARDWARE)
        wants = unit.with_name("sysinit.target.wants")
        wants.mkdir(exist_ok=True)
        (wants / unit.name).symlink_to(unit)
        (root / "etc" / "hostname").write_text("machine\n")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost machine\n")
        (root / "etc" / "machine-id").write_text("")

    def boot(self) -> None:
        """Start it; return when all that is to be started has been, and the service manager is idle."""
        command = [
            "systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot", "--register=no", "--keep-unit",
            f"--machine=evenwatt-test-{os.getpid()}", "--private-network", "--console=pipe", "--link-journal=no",
            f"--bind={self._hardware.place}:/srv/machine",
        ]  # fmt: skip
        with self._log.open("ab") as out:
            self._nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_for(lambda: self._leader() and self.said("systemctl is-system-running") == "running", "it has booted", 120)

    def _leader(self) -> int | None:
        """Return the first process in it; it changes with each boot."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            raise NotSeenError("systemd-nspawn has ended; see the log")
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def run(self, command: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a shell command in it as root."""
        enter = ["nsenter", "-t", str(self._leader()), "-m", "-u", "-i", "-n", "-p", "-r", "-w"]
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        done = subprocess.run(
            [*enter, *clean, "DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", command],
            capture_output=True, text=True, check=False, timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        with self._log.open("a") as out:
            out.write(f"# {command}\n{done.stdout}{done.stderr}# exit {done.returncode}\n")
        return done

    def said(self, command: str) -> str:
        """Return what a command prints, whatever its exit code."""
        return self.run(command).stdout.strip()

    def must(self, command: str) -> str:
        """Return what a command prints.

        Raises:
            NotSeenError: it failed.
        """
        done = self.run(command)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-3:]
            raise NotSeenError(f"{command.splitlines()[0]!r} exited {done.returncode}: {' / '.join(last)}")
        return done.stdout.strip()

    def shown(self, unit: str, key: str) -> str:
        """Return a property of a unit."""
        return self.said(f"systemctl show {unit} --property={key} --value")

    def pid(self, unit: str) -> int:
        """Return a unit's main process, 0 for none."""
        return int(self.shown(unit, "MainPID") or 0)

    def is_active(self, *units: str) -> bool:
        """Whether all of these run."""
        return self.run(f"systemctl is-active --quiet {' '.join(units)}").returncode == 0

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of root's in it."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode)
        file.chmod(mode)
        file.write_text(text)

    def cut_power(self) -> None:
        """End everything in it at once, as a power cut does."""
        leader = self._leader()
        if leader is not None:
            os.kill(leader, signal.SIGKILL)
        self.await_end()

    def power_off(self) -> None:
        """Shut it down, if it still runs."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            self._nspawn.send_signal(signal.SIGTERM)
            self.await_end()

    def await_end(self) -> None:
        """Wait until it has ended; a reboot ends it too, for :meth:`boot` to start it again."""
        if self._nspawn is None:
            return
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
