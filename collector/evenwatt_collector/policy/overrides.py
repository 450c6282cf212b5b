"""Limits that a person has set for a while. Pure but for one small file beside the policy.

``evenwatt policy override`` writes them and the collector reads them, so they outlive both. Each ends at a moment of
wall time, after a day at the latest; it can only tighten, for a zone obeys the lowest of its bounds.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from evenwatt_collector.policy.schema import Name, Watts
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST_S: Final = 86_400.0
"""An override lasts a day at the most: what is meant for longer belongs into the policy."""
FILE_NAME: Final = "overrides.json"


class Override(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One zone's limit."""

    zone: Name
    budget_w: Watts
    since_s: float
    """Unix time, as is ``until_s``."""
    until_s: float
    reason: str = ""

    @property
    def ends_s(self) -> float:
        """When it ends: after a day at the latest, whatever the file says."""
        return min(self.until_s, self.since_s + LONGEST_S)

    def holds(self, wall_s: float) -> bool:
        """Whether it has not ended."""
        return wall_s < self.ends_s


class OverrideFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    overrides: tuple[Override, ...] = ()


def path_beside(policy: Path) -> Path:
    """Return the file that belongs to a policy."""
    return policy.parent / FILE_NAME


def load_overrides(path: Path) -> tuple[Override, ...]:
    """Read overrides; none where there is no file.

    Raises:
        Failure: it cannot be read, or is not one of ours.
    """
    try:
        return parse_overrides(path.read_bytes(), path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; the collector's user must be able to read it") from None


def parse_overrides(text: bytes, path: Path) -> tuple[Override, ...]:
    """Return what a file's text says. Raises :class:`Failure` where it is not one of ours."""
    try:
        return msgspec.json.decode(text, type=OverrideFile).overrides
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(f"{path}: {error}; delete it, and set overrides with `evenwatt policy override`") from None


def put_override(policy: Path, override: Override, wall_s: float) -> None:
    """Write an override in place of the zone's earlier one. Raises :class:`Failure` where it cannot."""
    _rewrite(policy, override.zone, [override], wall_s)


def cancel_override(policy: Path, zone: str, wall_s: float) -> Override | None:
    """Remove a zone's override and return it; None if there was none. Raises :class:`Failure` where it cannot."""
    return _rewrite(policy, zone, [], wall_s)


def _rewrite(policy: Path, zone: str, fresh: Sequence[Override], wall_s: float) -> Override | None:
    path = path_beside(policy)
    try:
        with _only_one(policy.parent):
            before = load_overrides(path)
            kept = [entry for entry in before if entry.zone != zone and entry.holds(wall_s)]
            _replace(path, msgspec.json.format(msgspec.json.encode(OverrideFile((*kept, *fresh)))) + b"\n")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; run this as the user that owns the policy's folder") from None
    return next((entry for entry in before if entry.zone == zone and entry.holds(wall_s)), None)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Keep two people from writing at once, each over what the other has just added."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, also after a crash."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        try:
            draft.write(text)
            draft.flush()
            os.fchmod(draft.fileno(), 0o644)
            os.fsync(draft.fileno())
            Path(draft.name).replace(path)
        except BaseException:
            Path(draft.name).unlink(missing_ok=True)
            raise
