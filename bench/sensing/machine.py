"""The simulated machine, and other children: started, awaited, their processor time read, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from sensing import namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIFO_PRIORITY = 10


class BenchError(Exception):
    """Something could not be measured; the text says why."""


def say(text: str) -> None:
    """Progress."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


@contextmanager
def child(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with its output in ``log``; killed in the end whatever happens."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def twin(folder: Path, spec: dict[str, Any]) -> Iterator[Path]:
    """Run the twin of one machine ``n1`` and give its sysfs.

    It is scheduled before everything else, because hardware does not wait for a busy processor.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps({"machines": [{"id": "n1"} | spec]}))
    command = [sys.executable, "-m", "evenwatt_twin", str(folder / "spec.json"), "--dir", str(folder)]
    log = folder / "twin.log"
    with child(command, log) as process:
        await_true(lambda: '"ready": true' in log.read_text(), f"the twin is ready: {log}")
        with suppress(PermissionError):
            os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(_FIFO_PRIORITY))
        namespace.complete(folder / "n1" / "sys")
        yield folder / "n1" / "sys"
        process.terminate()
        process.wait(10)


def await_true(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait until ``condition``; raise naming ``what`` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {timeout_s:.0f} s in vain until {what}")
        time.sleep(0.02)


def cpu_s(pids: list[int]) -> float:
    """Processor seconds of processes so far."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def said(command: list[str], **options: Any) -> dict[str, Any]:
    """Run a command to its end and return the JSON of its last line."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    try:
        value: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        lines = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise BenchError(f"{Path(command[0]).name} failed: {lines[-1]}") from None
    return value


def counters(sysfs: Path) -> list[str]:
    """Every counter of the class."""
    return [str(path / "energy_uj") for path in sorted((sysfs / "class" / "powercap").glob("*:*"))]
