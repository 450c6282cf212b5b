"""The steps of ``packaging/test-booted``; see there."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import steps
from machine import Booted, Hardware, NotSeenError, base_tree

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
CACHE = Path.home() / ".cache" / "evenwatt"
OLD, NEW = "0.0.1", "0.0.2"
"""Versions of the packages that are built for this; what is in them is the same."""


def main() -> int:
    """Run all steps; return the exit code."""
    parser = argparse.ArgumentParser(prog="packaging/test-booted")
    parser.add_argument("--keep", action="store_true", help="leave the system's tree, and say where it is")
    parser.add_argument("--log", type=Path, default=Path("test-booted.log"), help="what every command said")
    options = parser.parse_args()
    options.log.unlink(missing_ok=True)
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="evenwatt-booted-"))
    work.chmod(0o755)  # the tree's root, seen by every user of the booted system
    try:
        failed = _prove(work, options.log.resolve())
    finally:
        if options.keep:
            print(f"the tree is in {work}")
        else:
            shutil.rmtree(work)
    print(f"{failed} steps failed, {time.monotonic() - began:.0f} s, log in {options.log}")
    return int(failed > 0)


def _prove(work: Path, log: Path) -> int:
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    print(f"packages of commit {commit}", flush=True)
    for version in (OLD, NEW):
        build = [ROOT / "packaging" / "build-deb", "--quick", "--version", version, "--commit", commit]
        build += ["--out", work / "packages"]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    root = work / "system"
    subprocess.run(["cp", "-a", "--reflink=auto", base_tree("bookworm", CACHE), root], check=True)
    shutil.copytree(work / "packages", root / "srv" / "packages")
    hardware = Hardware(work)
    system = Booted(root, hardware, log)
    try:
        test = steps.Steps(system, hardware, OLD, NEW)
        return sum(_step(test, step) for step in steps.ORDER)
    finally:
        system.power_off()
        hardware.stop()


def _step(test: steps.Steps, step: Callable[[steps.Steps], str]) -> int:
    """Make one step; print what was seen, return 1 if it failed."""
    began = time.monotonic()
    try:
        seen, failed = step(test), 0
    except (NotSeenError, subprocess.SubprocessError) as error:
        seen, failed = str(error), 1
    said = (step.__doc__ or "").rstrip(".")
    print(f"{'FAIL' if failed else 'ok  '} {said}: {seen} ({time.monotonic() - began:.1f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
