"""As whom work runs, and what that user can reach and change on this machine."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_AS_GOOD_AS_ROOT: Final = frozenset({"docker", "lxd", "incus-admin", "sudo", "wheel", "disk", "shadow", "kmem"})
"""Groups whose members can become root, or read and write what only root may."""


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom work runs."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    def may(self, path: Path, bit: int) -> bool:
        """Whether this user's permission on a path includes ``bit`` (4 read, 2 write, 1 execute or enter)."""
        status = path.stat()
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in (self.gid, *self.groups) else 0
        return bool(status.st_mode >> shift & bit)


def identity(jobs: JobsSettings) -> Identity:
    """Return the user that work runs as.

    Raises:
        Failure: this agent cannot become that user, or must not.
    """
    entry = pwd.getpwnam(jobs.user)
    groups = tuple(sorted(set(os.getgrouplist(jobs.user, entry.pw_gid)) - {entry.pw_gid}))
    if os.geteuid() != 0:
        raise Failure(f"jobs.user is {jobs.user!r}, but only an agent that is root can start work as another user")
    if entry.pw_uid == 0 or 0 in (entry.pw_gid, *groups):
        raise Failure(f"jobs.user is {jobs.user!r}, who is root or in its group; name a user without privileges")
    if strong := sorted({grp.getgrgid(gid).gr_name for gid in (entry.pw_gid, *groups)} & _AS_GOOD_AS_ROOT):
        raise Failure(f"jobs.user is {jobs.user!r}, who is in group {strong[0]!r} and so as good as root; take it out")
    return Identity(jobs.user, entry.pw_uid, entry.pw_gid, groups)


def closed_to(user: Identity, path: Path) -> Path | None:
    """Return the first folder on the way to a path that a user may not enter, or None."""
    return next((folder for folder in reversed([path, *path.parents]) if not user.may(folder, 1)), None)


def trouble_with(template: TemplateSettings, jobs: JobsSettings, user: Identity) -> str:
    """Return why a template cannot be run on this machine now; empty if it can."""
    if template.unit and shutil.which("systemctl", path=SEARCH_PATH) is None:
        return "there is no systemctl here"
    if template.container and not os.access(jobs.engine, os.X_OK):
        return f"{jobs.engine} cannot be executed; name the engine in jobs.engine"
    if not template.command:
        return ""
    try:
        return _trouble_with_program(Path(template.command[0]), user)
    except OSError as error:
        return f"{template.command[0]}: {error.strerror}"


def _trouble_with_program(path: Path, user: Identity) -> str:
    program = path.resolve(strict=True)
    way = [program, *program.parents]
    if (closed := closed_to(user, program.parent)) is not None:
        return f"{path} cannot be reached by {user.name}: {closed} is closed to others"
    if not stat.S_ISREG(program.stat().st_mode) or not user.may(program, 1):
        return f"{path} cannot be executed by {user.name}"
    owned = next((part for part in way if part.stat().st_uid == user.uid or _may_change(user, part)), None)
    return f"{owned} can be changed by {user.name}, so anything could run in its place" if owned else ""


def _may_change(user: Identity, path: Path) -> bool:
    """Whether a user may replace what lies there; in a sticky folder nobody replaces what others own."""
    return user.may(path, 2) and not path.stat().st_mode & stat.S_ISVTX
