r"""From a cgroup's path to who it is: a systemd unit, a container, a pod, a Slurm step, a user, a machine. Pure.

Grouping is by cgroup and not by process: per-process series drown their reader (kepler#1486). Names follow systemd's
(https://systemd.io/CGROUP_DELEGATION/), the container runtimes' and Slurm's own layouts:

- ``system.slice/nginx.service`` -> ``unit/nginx.service``
- ``system.slice/docker-<id>.scope``, ``docker/<id>``, ``libpod-<id>``, ``cri-containerd-<id>``, ``crio-<id>`` ->
  ``container/<12 digits>``
- ``kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice`` and ``kubepods/burstable/pod<uid>`` ->
  ``pod/<uid>``
- ``system.slice/slurmstepd.scope/job_7/step_0``, ``slurm/uid_1/job_7/step_batch`` -> ``slurm/7.0``, ``slurm/7.batch``
- ``user.slice/user-1000.slice`` -> ``user/1000``; ``machine.slice/machine-qemu\x2d1\x2dvm.scope`` -> ``vm/vm``
- anything else that is no slice -> ``cgroup/<path>``
"""

from __future__ import annotations

import re
from typing import Final

from evenwatt_agent.attribution import Owner

TASK_PREFIX: Final = "evenwatt-task-"
"""Cgroups made by ``evenwatt run``: accounted as tasks, not as groups."""

_CONTAINER = re.compile(r"(?:(?:docker|libpod|cri-containerd|crio|containerd)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_POD = re.compile(r"(?:kubepods.*-)?pod(?P<uid>[0-9a-f]{8}[-_0-9a-f]+)(?:\.slice)?")
_JOB = re.compile(r"job_(?P<job>[0-9]{1,20})")
_STEP = re.compile(r"step_(?P<step>\w{1,40})", re.ASCII)
_USER = re.compile(r"user-(?P<uid>[0-9]{1,20})\.slice")
_MACHINE = re.compile(r"machine-(?P<name>.+)\.scope")
_QEMU = re.compile(r"qemu-\d+-(?P<name>.+)")
_NAME_LENGTH: Final = 80


def owner_of(path: str) -> Owner | None:
    """Return whom a cgroup belongs to, or None for one that only holds others (the root, a slice).

    Args:
        path: Relative to the root of the hierarchy, as in ``/proc/PID/cgroup``; a path below an owner's is the
            owner's as well.
    """
    names = [name for name in path.split("/") if name]
    job = ""
    for depth, name in enumerate(names):
        if name.startswith(TASK_PREFIX):
            return None
        if match := _JOB.fullmatch(name):
            job = match["job"]
        elif job and (match := _STEP.fullmatch(name)):
            return Owner("slurm", f"{job}.{match['step']}")
        elif not job:
            found = _owner_of_name(name) or _other(names[: depth + 1])
            if found is not None:
                return found
    return Owner("slurm", job) if job else None


def is_final(path: str) -> bool:
    """Whether nothing below this cgroup can belong to somebody else: a Slurm job may still have steps."""
    owner = owner_of(path)
    return owner is not None and not (owner.kind == "slurm" and "." not in owner.name)


def _owner_of_name(name: str) -> Owner | None:
    if match := _POD.fullmatch(name):
        return Owner("pod", _short(match["uid"].replace("_", "-")))
    if match := _CONTAINER.fullmatch(name):
        return Owner("container", match["id"][:12])
    if name.startswith("lxc.payload."):
        return Owner("container", _short(name.removeprefix("lxc.payload.")))
    if match := _USER.fullmatch(name):
        return Owner("user", match["uid"])
    if match := _MACHINE.fullmatch(name):
        plain = _unescape(match["name"])
        qemu = _QEMU.fullmatch(plain)
        return Owner("vm", _short(qemu["name"])) if qemu else Owner("container", _short(plain))
    return None


_HOLDERS: Final = frozenset({"docker", "kubepods", "besteffort", "burstable", "slurm", "slurmstepd.scope", "lxc"})


def _other(names: list[str]) -> Owner | None:
    name = names[-1]
    if name in _HOLDERS or name.endswith(".slice") or name.startswith(("uid_", "slurmstepd")):
        return None
    if name.endswith((".service", ".scope", ".socket", ".mount", ".swap")):
        return Owner("unit", _short(_unescape(name)))
    return Owner("cgroup", _short("/".join(names)))


def _unescape(name: str) -> str:
    r"""Undo systemd's ``\xNN``."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), name)


def _short(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:_NAME_LENGTH]
