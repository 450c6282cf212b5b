"""Where runs keep what they need, who may go there, and what is removed when."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_agent.jobs.identity import closed_to
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Collection

    from evenwatt_agent.jobs.identity import Identity
    from evenwatt_agent.settings import AgentSettings


@dataclass(frozen=True, slots=True)
class Places:
    """Where runs keep what they need."""

    base: Path

    def run(self, run: str) -> Path:
        """Folder of a run: the agent's own."""
        return self.base / "runs" / run

    def state(self, job: str) -> Path:
        """Folder of a job that survives its runs: the user's."""
        return self.base / "state" / job

    def scratch(self, run: str) -> Path:
        """Folder of a run that goes with it: the user's."""
        return self.base / "scratch" / run


def places(settings: AgentSettings) -> Places:
    """Return where this node's runs lie."""
    return Places(Path(settings.jobs.work_dir or settings.state_path / "jobs"))


def prepare_places(where: Places, user: Identity) -> None:
    """Make the folders that all runs share.

    Raises:
        Failure: one cannot be made, or the user cannot reach them.
    """
    try:
        for folder, mode in ((where.base, 0o711), *((where.base / n, 0o711) for n in ("state", "scratch", "runs"))):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(mode)
    except OSError as error:
        raise Failure(
            f"{error.filename}: {error.strerror}; jobs.work_dir must be a folder that root can write"
        ) from None
    if (closed := closed_to(user, where.base)) is not None:
        fix = f"chmod o+x {closed}, or name another jobs.work_dir"
        raise Failure(f"{where.base}: user {user.name!r} cannot reach it, because {closed} is closed to others; {fix}")


def keep_private(state: Path) -> None:
    """Close the agent's own memory to others, whatever umask it was made with: the way to it may be open now."""
    for path in state.glob("agent.db*"):
        path.chmod(0o600)


def let_in(socket: Path, user: Identity) -> None:
    """Open a socket to the user's group, and the way to it.

    Raises:
        Failure: that is not possible.
    """
    try:
        os.chown(socket, -1, user.gid)
        socket.parent.chmod(stat.S_IMODE(socket.parent.stat().st_mode) | 0o011)
    except OSError as error:
        raise Failure(f"{socket}: {error.strerror}; runtime_dir must be a folder of root") from None


def leave_word(folder: Path, word: str) -> None:
    """Tell a run's supervisor something: ``keep``, ``now`` or ``seen``.

    Raises:
        OSError: the disk does not take it.
    """
    temporary = folder / "stop.new"
    temporary.write_text(word)
    temporary.replace(folder / "stop")


def forget_states(where: Places, in_use: Collection[str], most: int) -> None:
    """Remove what jobs keep whose last run is longest ago, beyond the ``most`` latest."""
    with suppress(OSError):
        found = sorted((where.base / "state").iterdir(), key=lambda path: -path.lstat().st_mtime)
        for folder in found[most:]:
            if folder.name not in in_use:
                shutil.rmtree(folder, ignore_errors=True)  # safe against links that are put in its way


def forget_run(where: Places, run: str) -> None:
    """Remove a run's folder."""
    shutil.rmtree(where.run(run), ignore_errors=True)
    shutil.rmtree(where.scratch(run), ignore_errors=True)
