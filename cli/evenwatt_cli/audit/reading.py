"""Audit logs as they lie on a disk: which files a name means, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_daemon import Failure
from evenwatt_daemon.audit import Walk, walk
from evenwatt_daemon.audit_log import NAME, log_files, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from evenwatt_daemon.audit import Entry

PLACES: Final = ("/var/lib/evenwatt", "/var/lib/evenwatt-actuator", "/var/lib/evenwatt-collector")
FOLDER: Final = "audit"


@dataclass(frozen=True, slots=True)
class Log:
    """One log, read and walked."""

    name: str
    walk: Walk
    entries: list[Entry]


def read_logs(paths: Sequence[Path]) -> list[Log]:
    """Read the logs that are named: folders, or files in the order of their entries, which are one log.

    With none, those of this machine's agent, actuator and collector.

    Raises:
        Failure: one is not there or cannot be read.
    """
    if not paths:
        found = [folder for folder in (_folder(Path(place)) for place in PLACES) if folder is not None]
        if not found:
            raise Failure(f"no audit log in {', '.join(PLACES)}; name a folder or its files")
        return [_read(str(folder), log_files(folder)) for folder in found]
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    logs = []
    for path in folders:
        folder = _folder(path)
        if folder is None:
            raise Failure(f"{path}: there is no {NAME} in it nor in its folder {FOLDER}; name a state folder or files")
        logs.append(_read(str(folder), log_files(folder)))
    if files:
        logs.append(_read(", ".join(map(str, files)), files))
    return logs


def _folder(place: Path) -> Path | None:
    try:
        return next((folder for folder in (place, place / FOLDER) if log_files(folder)), None)
    except PermissionError:
        raise Failure(
            f"{place}: not readable by this user; audit logs are for root (or their service's user)"
        ) from None


def _read(name: str, files: Sequence[Path]) -> Log:
    try:
        found, entries = walk(_lines(files))
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    return Log(name, found, entries)


def _lines(files: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for path in files:
        yield from read_lines(path)
