"""Becoming the unprivileged user, and then the work. Standard library only; called by a supervisor, which is root.

What the work cannot do is settled between fork and exec: it has the user's ids and groups alone, gains no privilege by
executing anything (prctl(2), PR_SET_NO_NEW_PRIVS), holds no descriptor but its own, and dies with its supervisor
(PR_SET_PDEATHSIG). A failure on the way ends the child before anything of the work has run, and is told.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from evenwatt_agent.jobs.plan import Plan

PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_UNITS_FD: Final = 3
_UNITS_VARIABLE: Final = "EVENWATT_UNITS_FD"
_OUT_OF_THE_WAY: Final = 10
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process (prctl(2)).

    Raises:
        OSError: the kernel refuses.
    """
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def start(plan: Plan, output: int, units: int) -> int:
    """Start the work of a plan and return its pid.

    Args:
        plan: What to start, and as whom.
        output: Descriptor that takes its standard output and error.
        units: Descriptor that takes its units of work.

    Raises:
        OSError: it cannot be started; the text says at which step.
    """
    trouble, tell = os.pipe2(os.O_CLOEXEC)
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(plan, (output, units, tell), supervisor)
    os.close(tell)
    with os.fdopen(trouble, "rb") as said:
        words = said.read()
    if words:
        os.waitpid(pid, 0)
        raise OSError(words.decode(errors="replace"))
    return pid


def _become(plan: Plan, descriptors: tuple[int, int, int], supervisor: int) -> NoReturn:
    """Never return: become the work, or say why not and exit."""
    step = "session"
    tell = descriptors[2]
    try:
        os.setsid()
        if plan.cgroup:
            step = plan.cgroup
            with open(f"{plan.cgroup}/cgroup.procs", "w") as file:  # noqa: PTH123
                file.write("0")
        step = "descriptors"
        tell = _keep_only(*descriptors)
        step = "limits"
        _limit(plan)
        if plan.as_user:
            step = f"user {plan.uid}"
            _drop(plan)
        step = "parent"
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the ids have changed, which clears it
        if os.getppid() != supervisor:
            os._exit(1)
        step = f"directory {plan.directory}"
        os.chdir(plan.directory)
        _forget_signals()
        step = plan.argv[0]
        os.execve(plan.argv[0], plan.argv, {**plan.environment, _UNITS_VARIABLE: str(_UNITS_FD)})  # noqa: S606
    except BaseException as error:  # noqa: BLE001 (nothing of this process may go on)
        with suppress(OSError):
            words = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
            os.write(tell, f"{step}: {words}".encode(errors="replace")[:400])
    os._exit(127)


def _keep_only(output: int, units: int, tell: int) -> int:
    """Leave standard streams, units and the way to tell trouble; return where that is now."""
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for descriptor in (output, units, tell)]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(high[0], 1)
    os.dup2(high[0], 2)
    os.dup2(high[1], _UNITS_FD)
    tell = os.dup2(high[2], _UNITS_FD + 1, inheritable=False)
    os.closerange(tell + 1, _most_descriptors())
    return tell


def _most_descriptors() -> int:
    return max(int(name) for name in os.listdir("/proc/self/fd")) + 1  # noqa: PTH208


def _limit(plan: Plan) -> None:
    os.umask(0o077)
    os.nice(plan.nice)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if plan.as_user:
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        most = plan.processes if hard == resource.RLIM_INFINITY else min(plan.processes, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _drop(plan: Plan) -> None:
    if plan.uid == 0 or plan.gid == 0 or 0 in plan.groups:
        raise PermissionError("work never runs as root or in its group")
    os.setgroups(plan.groups)
    os.setresgid(plan.gid, plan.gid, plan.gid)
    os.setresuid(plan.uid, plan.uid, plan.uid)
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    with suppress(PermissionError):
        os.setuid(0)
        raise RuntimeError("root could be regained")


def _forget_signals() -> None:
    """Python ignores some signals, and an ignored one stays so in what is executed."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
