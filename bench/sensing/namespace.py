"""A private view of this machine in which ``/sys/class/powercap`` is a simulated one, so that peers run unmodified.

The whole benchmark runs in its own mount and process namespaces: nothing outside sees the mounts, and when its first
process ends, however it ends, the kernel kills every child (https://man7.org/linux/man-pages/man7/pid_namespaces.7.html).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

INSIDE = "EVENWATT_BENCH_INSIDE"


def enter(script: Path, arguments: list[str]) -> int:
    """Run ``script`` again inside new namespaces; return its exit code."""
    if os.geteuid() != 0:
        print("bench: mounting needs root: sudo ./dev bench sense", file=sys.stderr)
        return 2
    if shutil.which("unshare") is None:
        print("bench: unshare is missing: apt-get install util-linux", file=sys.stderr)
        return 2
    options = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="evenwatt-bench-", ignore_cleanup_errors=True) as folder:
        child = subprocess.Popen(
            ["unshare", *options, sys.executable, str(script), *arguments], env={**os.environ, INSIDE: folder}
        )
        try:
            return child.wait()
        except KeyboardInterrupt:
            return 130
        finally:
            child.kill()  # and with it, by --kill-child, everything inside
            child.wait()


def show(sysfs: Path) -> None:
    """Mount a simulated powercap class over ours; everything else below ``/sys`` stays what it is."""
    for below in ("class", "devices/virtual"):
        _mount_beside(Path("/sys") / below, sysfs / below / "powercap")


def complete(sysfs: Path) -> None:
    """Add the kernel's own ``subsystem`` link to every device: CodeCarbon starts from it."""
    root = sysfs / "devices" / "virtual" / "powercap"
    for name in [*root.rglob("name"), *root.glob("*/enabled")]:
        link = name.parent / "subsystem"
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(sysfs / "class" / "powercap", name.parent))


def _mount_beside(place: Path, powercap: Path) -> None:
    """Rebuild ``place`` on a tmpfs with its own entries bound in, and ``powercap`` instead of its own.

    sysfs takes no new folders, so an entry that is not there cannot be mounted over.
    """
    aside = tempfile.mkdtemp(prefix="evenwatt-bench-aside-")
    _mount("--bind", str(place), aside)
    _mount("-t", "tmpfs", "evenwatt-bench", str(place))
    for entry in Path(aside).iterdir():
        if entry.name != "powercap" and entry.is_dir():
            _bind(entry, place / entry.name)
    _bind(powercap, place / "powercap")
    subprocess.run(["umount", "--lazy", aside], check=True)
    Path(aside).rmdir()  # never a recursive removal: what was bound there is the kernel's


def _bind(source: Path, place: Path) -> None:
    place.mkdir()
    _mount("--bind", str(source), str(place))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
