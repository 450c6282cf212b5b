"""Whether work can be run here on command, and why not: a line of ``evenwatt doctor``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from evenwatt_agent import cgroups
from evenwatt_agent.findings import Finding, Verdict
from evenwatt_agent.jobs.identity import closed_to, identity, trouble_with
from evenwatt_agent.jobs.launch import make_cgroup, remove_cgroup
from evenwatt_agent.jobs.places import places
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_agent.settings import AgentSettings

_TRIAL: Final = "000000000000"


def examine_jobs(settings: AgentSettings) -> Finding:
    """Look at everything that a start would need; nothing is started."""
    jobs = settings.jobs
    if os.geteuid() != 0:
        fix = "run as root (sudo), as the agent does"
        return Finding("jobs", Verdict.SKIPPED, "only root can tell whether work could be started", fix)
    try:
        user = identity(jobs)
    except Failure as failure:
        return Finding("jobs", Verdict.BROKEN, str(failure), "see docs/running-jobs.md")
    base = _first_that_exists(places(settings).base)
    if (closed := closed_to(user, base)) is not None:
        fix = f"chmod o+x {closed}, or name another jobs.work_dir"
        return Finding("jobs", Verdict.DENIED, f"{user.name} cannot reach {base}: {closed} is closed to others", fix)
    troubles = [f"{t.name}: {why}" for t in jobs.templates if (why := trouble_with(t, jobs, user))]
    if troubles:
        return Finding("jobs", Verdict.BROKEN, "; ".join(troubles), "correct jobs.templates, or what they name")
    names = ", ".join(template.name for template in jobs.templates) or "nothing is on the list"
    words = f"as {user.name}, {jobs.slots} slots, {_held()}: {names}"
    if not settings.attribution.enabled:
        return Finding("jobs", Verdict.FOUND, f"{words}; their energy is not counted", "set attribution.enabled = true")
    return Finding("jobs", Verdict.FOUND, words)


def _held() -> str:
    root = cgroups.find_root()
    path = make_cgroup(_TRIAL, root)
    remove_cgroup(path, root)
    return "each in a cgroup of its own" if path else "as process trees (no cgroup v2 that may be written)"


def _first_that_exists(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
