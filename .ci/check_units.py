"""Hold the units against their promises: systemd finds nothing wrong, and the sandbox is as tight as said.

usage: check_units.py [UNITS_FOLDER]     default: systemd/ of this repository

Exits 1 where a promise is broken, 2 where it cannot be checked. Needs systemd-analyze 252 (Debian 12) or newer.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Promise(NamedTuple):
    """How exposed a unit with some drop-ins may be, 0 to 10 by ``systemd-analyze security``."""

    unit: str
    most: float
    drop_ins: tuple[str, ...] = ()


PROMISES = (
    Promise("evenwatt-agent", 2.2),
    Promise("evenwatt-actuator", 1.8),
    Promise("evenwatt-restore", 1.8),
    Promise("evenwatt-collector", 1.5),
    Promise("evenwatt-actuator", 1.8, ("actuator-cgroups", "actuator-graphics", "actuator-signals")),
    # CAP_SYS_ADMIN is what a board's driver asks for; without a network it reaches no farther than the machine.
    Promise("evenwatt-actuator", 1.8, ("actuator-nvidia",)),
    Promise("evenwatt-agent", 2.2, ("agent-perf",)),
    Promise("evenwatt-agent", 2.6, ("agent-one-process",)),
    Promise("evenwatt-agent", 3.2, ("agent-one-process", "agent-jobs")),
    Promise("evenwatt-restore", 1.8, ("restore-one-process",)),
)
"""trust.md's targets for the units as they are; what a drop-in costs is bounded too."""


def main(arguments: list[str]) -> int:
    """Check all units; print a line for each."""
    folder = Path(arguments[0]) if arguments else ROOT / "systemd"
    if not shutil.which("systemd-analyze"):
        print("check_units: systemd-analyze is missing; run: apt-get install systemd", file=sys.stderr)
        return 2
    broken = 0
    for unit in sorted(folder.glob("*.service")):
        broken += _report(unit.stem, "verified", _complaints(unit, folder))
    for promise in PROMISES:
        exposure = _exposure(promise, folder)
        name = " + ".join((promise.unit, *promise.drop_ins))
        problems = [] if exposure <= promise.most else [f"exposure {exposure} is above {promise.most}"]
        broken += _report(name, f"exposure {exposure} (at most {promise.most})", problems)
    return int(broken > 0)


def _report(name: str, well: str, problems: list[str]) -> int:
    print(f"{'FAIL' if problems else 'ok  '} {name}: {'; '.join(problems) or well}")
    return len(problems)


def _install(unit: Path, drop_ins: tuple[str, ...], root: Path) -> Path:
    """Copy a unit with stand-ins for its programs, and its drop-ins, into a root folder; return the unit's copy."""
    programs = root / "usr" / "bin"
    programs.mkdir(parents=True)
    sources = [unit, *(unit.parent / "drop-ins" / f"evenwatt-{name}.conf" for name in drop_ins)]
    for source in sources:
        for program in re.findall(r"^Exec\w+=/usr/bin/(evenwatt-\w+)", source.read_text(), re.MULTILINE):
            (programs / program).write_text("#!/bin/sh\n")
            (programs / program).chmod(0o755)
    copy = root / "etc" / "systemd" / "system" / unit.name
    extra = copy.with_name(f"{unit.name}.d")
    extra.mkdir(parents=True, exist_ok=True)
    shutil.copy(unit, copy)
    for source in sources[1:]:
        shutil.copy(source, extra)
    return copy


def _complaints(unit: Path, folder: Path) -> list[str]:
    """Return what systemd says of the unit, with each of its drop-ins too."""
    part = unit.stem.removeprefix("evenwatt-")
    drop_ins = tuple(
        path.stem.removeprefix("evenwatt-") for path in sorted((folder / "drop-ins").glob(f"evenwatt-{part}-*.conf"))
    )
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        copy = _install(unit, drop_ins, root)
        for path in (copy, *copy.with_name(f"{copy.name}.d").iterdir()):
            path.write_text(path.read_text().replace("/usr/bin/evenwatt", f"{root}/usr/bin/evenwatt"))
        said = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
        ).stderr
    return [line for line in said.splitlines() if "evenwatt" in line]


def _exposure(promise: Promise, folder: Path) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        _install(folder / f"{promise.unit}.service", promise.drop_ins, Path(temporary))
        said = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={temporary}",
             f"{promise.unit}.service"],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
    found = re.search(r"exposure level for \S+: ([\d.]+)", said.stdout)
    if found is None:
        raise SystemExit(f"check_units: systemd-analyze did not say an exposure: {said.stderr or said.stdout}")
    return float(found[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
