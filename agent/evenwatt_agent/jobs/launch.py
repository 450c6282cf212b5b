"""Getting a run ready and under way: folders, cgroup, plan, supervisor. Blocking; called in a thread."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_agent import cgroups
from evenwatt_agent.groups import TASK_PREFIX
from evenwatt_agent.jobs.asking import answer
from evenwatt_agent.jobs.identity import SEARCH_PATH
from evenwatt_agent.jobs.places import places
from evenwatt_agent.jobs.plan import Plan
from evenwatt_agent.jobs.templates import filled, limit_s
from evenwatt_agent.task_client import SOCKET_VARIABLE, TASK_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_agent.jobs.identity import Identity
    from evenwatt_agent.jobs.settings import TemplateSettings
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_wire import JobOrder

_INSIDE: Final = "/evenwatt/state"
"""Where a container sees its job's folder."""


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
    with suppress(OSError, ValueError, TypeError):
        plan = Plan.read(folder / "plan.claimed")
        if plan.scratch:
            shutil.rmtree(plan.scratch, ignore_errors=True)
        if plan.kill:
            answer(plan.kill)


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
