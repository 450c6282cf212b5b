"""Getting a run ready and under way: folders, cgroup, plan, supervisor. Blocking; called in the worker thread."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent import cgroups
from evenwatt_agent.groups import TASK_PREFIX
from evenwatt_agent.jobs.plan import Plan
from evenwatt_agent.jobs.templates import filled, limit_s
from evenwatt_agent.task_client import SOCKET_VARIABLE, TASK_VARIABLE
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from evenwatt_agent.jobs.settings import JobsSettings, TemplateSettings
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_wire import JobOrder

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_END_S: Final = 20.0
_INSIDE: Final = "/evenwatt/state"
"""Where a container sees its job's folder."""


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
    return Identity(jobs.user, entry.pw_uid, entry.pw_gid, groups)


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


def prepare(
    order: JobOrder, template: TemplateSettings, settings: AgentSettings, user: Identity, root: Path | None
) -> Plan:
    """Make a run's folders and cgroup, and write its plan.

    Raises:
        OSError: something of it cannot be made.
        CommandError: a value does not fit.
    """
    where = places(settings)
    folder, state, scratch = where.run(order.run), where.state(order.job), where.scratch(order.run)
    folder.mkdir(mode=0o700)
    for own in (state, scratch):
        with suppress(FileExistsError):
            own.mkdir(mode=0o700)
            os.chown(own, user.uid, user.gid, follow_symlinks=False)
    os.utime(state)  # the job that ran longest ago is forgotten first
    make = _of_command if template.command else _of_unit if template.unit else _of_container
    plan = make(order, template, settings, user, root)
    plan.write(folder / "plan.json")
    return plan


def launch(folder: Path) -> subprocess.Popen[bytes]:
    """Start a run's supervisor.

    Raises:
        OSError: it cannot be started.
    """
    with (folder / "supervisor.log").open("ab") as trouble:
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "evenwatt_agent.jobs.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=trouble,
            cwd="/",
            env={"PATH": SEARCH_PATH, "LANG": "C.UTF-8"},
            start_new_session=True,
        )


def end_elsewhere(folder: Path) -> None:
    """End work that lives outside its supervisor's tree, whose supervisor is gone."""
    with suppress(OSError, ValueError, TypeError, subprocess.TimeoutExpired):
        plan = Plan.read(folder / "plan.claimed")
        if plan.scratch:
            shutil.rmtree(plan.scratch, ignore_errors=True)
        if plan.kill:
            quiet = subprocess.DEVNULL
            subprocess.run(
                plan.kill,
                stdin=quiet,
                stdout=quiet,
                stderr=quiet,
                check=False,
                timeout=_END_S,
                env={"PATH": SEARCH_PATH},
            )


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


def make_cgroup(run: str, root: Path | None) -> str:
    """Make a cgroup for a run below our own; return its path, or an empty one where that is not possible."""
    if root is None:
        return ""
    own, _ = cgroups.path_of(Path("/proc"), os.getpid(), of_v2_only=True)
    path = f"{own}/{TASK_PREFIX}{run}"
    folder = Path(f"{root}{path}")
    with suppress(OSError):
        folder.mkdir()
        if (folder / "cpu.stat").exists():
            return path
        folder.rmdir()
    return ""


def remove_cgroup(path: str, root: Path | None, patience_s: float = 2.0) -> None:
    """Remove a run's cgroup; the kernel needs a moment after its last process has ended."""
    folder = Path(f"{root}{path}")
    deadline = time.monotonic() + patience_s
    while path and root is not None and folder.exists() and time.monotonic() < deadline:
        for inner in sorted((Path(where) for where, _, _ in os.walk(folder)), key=lambda p: -len(p.parts)):
            cgroups.remove(inner)
        time.sleep(0.02)


def _of_command(
    order: JobOrder, template: TemplateSettings, settings: AgentSettings, user: Identity, root: Path | None
) -> Plan:
    where = places(settings)
    scratch = str(where.scratch(order.run))
    cgroup = make_cgroup(order.run, root)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "USER": user.name,
        "LOGNAME": user.name,
        "HOME": scratch,
        "TMPDIR": scratch,
        **template.environment,
        **_told(order, str(where.state(order.job))),
        TASK_VARIABLE: order.run,
        SOCKET_VARIABLE: str(settings.task_socket_path),
    }
    argv = filled(template.command, template, order)
    plan = _plan(order, template, settings, user, argv, environment, as_user=True)
    return replace(plan, directory=template.directory or scratch, cgroup=f"{root}{cgroup}" if cgroup else "")


def _of_container(
    order: JobOrder, template: TemplateSettings, settings: AgentSettings, user: Identity, _root: Path | None
) -> Plan:
    jobs, name = settings.jobs, f"evenwatt-{order.run}"
    told = {**template.environment, **_told(order, _INSIDE)}
    argv = [
        jobs.engine, "run", "--rm", f"--name={name}", "--pull=never", "--log-driver=none",
        f"--user={user.uid}:{user.gid}", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        f"--pids-limit={jobs.processes}", f"--volume={places(settings).state(order.job)}:{_INSIDE}",
        *(f"--env={key}={value}" for key, value in told.items()),
        *([f"--workdir={template.directory}"] if template.directory else []),
        *template.options, template.container, *filled(template.arguments, template, order),
    ]  # fmt: skip
    plan = _plan(order, template, settings, user, argv, {"PATH": SEARCH_PATH, "HOME": "/root"}, as_user=False)
    saving = template.saving
    return replace(
        plan,
        save=[jobs.engine, "kill", f"--signal={saving.signal}", name] if saving else [],
        terminate=[jobs.engine, "stop", "-t", "10", name],
        kill=[jobs.engine, "rm", "-f", name],
        main_pid=[jobs.engine, "inspect", "--format", "{{.State.Pid}}", name],
    )


def _of_unit(
    order: JobOrder, template: TemplateSettings, settings: AgentSettings, user: Identity, _root: Path | None
) -> Plan:
    systemctl, unit = shutil.which("systemctl", path=SEARCH_PATH) or "systemctl", template.unit
    argv = [systemctl, "start", "--wait", unit]
    plan = _plan(order, template, settings, user, argv, {"PATH": SEARCH_PATH}, as_user=False)
    saving = template.saving
    return replace(
        plan,
        save=[systemctl, "kill", "--kill-who=main", f"--signal={saving.signal}", unit] if saving else [],
        terminate=[systemctl, "stop", "--no-block", unit],
        kill=[systemctl, "stop", unit],
        main_pid=[systemctl, "show", "--property=MainPID", "--value", unit],
        busy=[systemctl, "is-active", "--quiet", unit],
    )


def _plan(
    order: JobOrder,
    template: TemplateSettings,
    settings: AgentSettings,
    user: Identity,
    argv: Sequence[str],
    environment: dict[str, str],
    *,
    as_user: bool,
) -> Plan:
    where, jobs, saving = places(settings), settings.jobs, template.saving
    return Plan(
        run=order.run,
        job=order.job,
        argv=list(argv),
        environment=environment,
        uid=user.uid,
        gid=user.gid,
        groups=list(user.groups),
        as_user=as_user,
        directory="/",
        scratch=str(where.scratch(order.run)),
        state=str(where.state(order.job)),
        state_bytes=int(jobs.state_mb * 1e6),
        log_bytes=jobs.log_kb * 1_000,
        processes=jobs.processes,
        nice=template.nice,
        limit_s=limit_s(template, jobs, order.limit_s),
        signal=saving.number if saving else 0,
        wait_s=saving.wait_s if saving else 0.0,
        cgroup="",
        task_socket=str(settings.task_socket_path),
    )


def _told(order: JobOrder, state: str) -> dict[str, str]:
    return {
        "EVENWATT_JOB": order.job,
        "EVENWATT_RUN": order.run,
        "EVENWATT_RESUME": "1" if order.resume else "0",
        "EVENWATT_STATE_DIR": state,
    }
