"""Gives a machine its own limits back after any death of the agent. Standard library only.

Before the agent writes a limit for the first time it saves what was there to ``<state>/originals.json``. This program
writes those values back and removes the file; the service manager runs it whenever the agent has ended, SIGKILL
included, and once at boot. It imports nothing else of evenwatt, so that it works when everything else is broken.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence


class Saved(TypedDict):
    """One value to put back; see ``actuators.model.Original``."""

    kind: str
    where: str
    value: str


def originals_path(state_dir: Path) -> Path:
    """Where the originals of an agent with this state directory are kept."""
    return state_dir / "originals.json"


def load(path: Path) -> list[Saved]:
    """Return the saved values; an absent file means that nothing was changed.

    Raises:
        ValueError: the file is there and is not what was written.
    """
    try:
        document = json.loads(path.read_bytes())
        return [_row(row["kind"], row["where"], row["value"]) for row in document]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: not a list of saved limits ({error})") from None


def _row(kind: object, where: object, value: str) -> Saved:
    if not (isinstance(kind, str) and isinstance(where, str)) or "\0" in where:
        raise TypeError("a row without a kind or a place")
    number = int(value)
    if not -(2**63) <= number < 2**64:
        raise TypeError(f"the value of {where} is none that a device has")
    return Saved(kind=kind, where=where, value=str(number))


def save(path: Path, originals: list[Saved]) -> None:
    """Write the file so that a power cut leaves the old or the new one, never half of one."""
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        json.dump(originals, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def restore(path: Path, keep: Collection[Saved] = ()) -> list[str]:
    """Put every saved value back but those to ``keep``, and forget what was put back if all of it worked.

    Returns:
        One line for each value that could not be put back; empty when all were.
    """
    rows = load(path)
    problems = put_back([row for row in rows if row not in keep])
    if not problems:
        left = [row for row in rows if row in keep]
        if left:
            with suppress(OSError):  # a full disk: the longer list does no harm
                save(path, left)
        else:
            path.unlink(missing_ok=True)
    return problems


def put_back(rows: Sequence[Saved]) -> list[str]:
    """Put values back, whatever becomes of the others; return one line for each that could not be."""
    problems = []
    for row in rows:
        try:
            _PUT_BACK[row["kind"]](row["where"], int(row["value"]))
        except (OSError, KeyError, ValueError, AttributeError) as error:  # also a place or a library that is none
            problems.append(f"{row['kind']} {row['where']}: {error}")
    return problems


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the arguments; the manual page is made of it."""
    parser = argparse.ArgumentParser(
        prog="evenwatt-restore", description="Give this machine its own power limits back."
    )
    state = os.environ.get("STATE_DIRECTORY", "/var/lib/evenwatt").split(":")[0]
    parser.add_argument("--state-dir", type=Path, default=Path(state), help="the agent's state directory (%(default)s)")
    return parser


def main() -> int:
    """Restore one state directory; exit 0 when everything is back, 1 when something is not, 2 for a broken file."""
    path = originals_path(make_parser().parse_args().state_dir)
    try:
        problems = restore(path)
    except ValueError as error:
        print(f"evenwatt-restore: {error}; restore by hand or reboot, then remove it", file=sys.stderr)  # noqa: T201
        return 2
    for problem in problems:
        print(f"evenwatt-restore: not restored: {problem}", file=sys.stderr)  # noqa: T201
    return 1 if problems else 0


def _put_file(where: str, value: int) -> None:
    _write(where, b"%d\n" % value, lambda text: int(text) == value)


def _write(where: str, content: bytes, is_there: Callable[[str], bool]) -> None:
    """Write a file. Gone is well, its limit with it; one that refuses is well where it holds the value already."""
    try:
        descriptor = os.open(where, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return
    except OSError:
        with suppress(OSError, ValueError):
            if is_there(Path(where).read_text().strip()):
                return
        raise


def _put_signal(where: str, value: int) -> None:
    pid, started = (int(part) for part in where.split(":"))
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if int(fields[19]) != started:
            return  # another process by now
        number = signal.Signals(value)
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (FileNotFoundError, ProcessLookupError):
        return


def _put_nvml(where: str, value: int) -> None:
    with _board(where) as (library, handle):
        now = ctypes.c_uint()
        if library.nvmlDeviceGetPowerManagementLimit(handle, ctypes.byref(now)) == 0 and now.value == value:
            return  # a board whose limit is locked would refuse what it has
        _nvml(library.nvmlDeviceSetPowerManagementLimit(handle, ctypes.c_uint(value)), "SetPowerManagementLimit")


@contextmanager
def _board(uuid: str) -> Iterator[tuple[ctypes.CDLL, ctypes.c_void_p]]:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    handle = ctypes.c_void_p()
    _nvml(library.nvmlInit_v2(), "nvmlInit_v2")
    try:
        _nvml(library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)), "nvmlDeviceGetHandleByUUID")
        yield library, handle
    finally:
        library.nvmlShutdown()


def _put_quota(where: str, value: int) -> None:
    quota = "max" if value < 0 else str(value)
    _write(where, f"{quota}\n".encode(), lambda text: text.split()[:1] == [quota])


def _put_clocks(where: str, _value: int) -> None:
    with _board(where) as (library, handle):
        _nvml(library.nvmlDeviceResetGpuLockedClocks(handle), "ResetGpuLockedClocks")


def _nvml(code: int, name: str) -> None:
    if code:
        raise OSError(f"{name} answered NVML error {code}")


_PUT_BACK = {
    "file": _put_file,
    "quota": _put_quota,
    "signal": _put_signal,
    "nvml": _put_nvml,
    "nvml-clocks": _put_clocks,
}

if __name__ == "__main__":
    sys.exit(main())
