"""What an owner lets be run here on command, and as whom: the ``jobs`` table of the agent's settings."""

from __future__ import annotations

import pwd
import re
import signal
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from evenwatt_daemon import Failure
from evenwatt_wire.messages import NodeId

Argument = Annotated[str, Meta(max_length=4_000)]
PLACEHOLDER: Final = re.compile(r"\{([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\}")
_UNIT: Final = re.compile(r"[A-Za-z0-9:_.@\\-]{1,200}\.service")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,250}")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS: Final = "EVENWATT_"
_NOT_FOR_SAVING: Final = frozenset({signal.SIGKILL, signal.SIGSTOP})


class CheckpointSettings(Struct, forbid_unknown_fields=True):
    """How work is asked to save its state."""

    signal: str = "SIGTERM"
    """Sent to its first process, which saves and exits by itself, with 0 if that went well."""
    wait_s: Annotated[float, Meta(gt=0, le=3_600)] = 30.0
    """Then it is terminated."""

    @property
    def number(self) -> int:
        """The signal's number."""
        return int(signal.Signals[self.signal])


class TemplateSettings(Struct, forbid_unknown_fields=True):
    """One thing that may be run: exactly one of ``command``, ``unit`` and ``container``."""

    name: NodeId
    """What jobs call it."""
    command: list[Argument] = []
    """The program (an absolute path) and its arguments, in which ``{value}`` stands for what a job fills in. No shell
    ever sees it."""
    unit: str = ""
    """A systemd service of this machine, started and stopped as it is."""
    container: str = ""
    """An image, run by ``jobs.engine``."""
    arguments: list[Argument] = []
    """Of the container: what comes after the image; may have placeholders."""
    options: list[Argument] = []
    """Of the engine: what comes before the image, e.g. ``["--network=none"]``; fixed."""
    values: dict[NodeId, Annotated[str, Meta(max_length=1_000)]] = {}
    """What a job has to fill in: a name, and the regular expression that the whole value must match."""
    interruptible: bool = False
    """It saves its state when asked to, and goes on from there when it is run again."""
    checkpoint: CheckpointSettings | None = None
    """Default for what is interruptible: SIGTERM, and 30 s."""
    max_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    """Longest run; default and most: ``jobs.max_run_s``."""
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """What a run of it takes of the node's ``jobs.slots``."""
    directory: str = ""
    """Where it starts; default: a folder of its own that goes when it ends."""
    environment: dict[str, Argument] = {}
    """Variables that it is given besides the usual few."""
    nice: Annotated[int, Meta(ge=0, le=19)] = 0
    """Of a command: how far it gives way to others for the processor."""
    reserve: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of the processors set aside for it, whose idle energy it carries."""

    @property
    def saving(self) -> CheckpointSettings | None:
        """How it is asked to save its state; None where it does not."""
        return (self.checkpoint or CheckpointSettings()) if self.interruptible else None


class JobsSettings(Struct, forbid_unknown_fields=True):
    """Running work on command. Needs control, whose keys say who may."""

    enabled: bool = False
    """Run work on signed commands."""
    user: str = ""
    """As whom commands and containers run: an existing user without privileges, for this alone."""
    slots: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """What all runs at once may take."""
    max_run_s: Annotated[float, Meta(gt=0, le=31_536_000)] = 86_400.0
    """No run is longer, whatever it is asked to be."""
    work_dir: str = ""
    """Default: ``jobs`` in the state folder. The user must be able to reach it."""
    state_mb: Annotated[float, Meta(gt=0)] = 10_000.0
    """What a job may keep for its next run, scratch files of the run included."""
    states: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """Jobs whose state is kept; the one that ran longest ago goes first."""
    log_kb: Annotated[int, Meta(ge=16, le=1_000_000)] = 2_000
    """What is kept of the output of a run."""
    processes: Annotated[int, Meta(ge=16, le=4_194_304)] = 4_096
    """Processes and threads that the user may have (RLIMIT_NPROC)."""
    engine: str = "/usr/bin/podman"
    """The container engine: podman or docker."""
    templates: Annotated[list[TemplateSettings], Meta(max_length=64)] = field(default_factory=list)

    def template(self, name: str) -> TemplateSettings | None:
        """Return the template of this name, or None."""
        return next((template for template in self.templates if template.name == name), None)


def check_jobs(where: str, jobs: JobsSettings, *, control: bool) -> None:
    """Hold the table against what can be trusted; nothing is checked while jobs are off.

    Args:
        where: The file, for messages.
        jobs: The table.
        control: Whether control is on, with its keys.

    Raises:
        Failure: naming the key, what was found and the fix.
    """
    if not jobs.enabled:
        return
    if not control:
        fix = "switch control on and name its keys, since only signed commands start work, or leave jobs off"
        raise Failure(f"{where}: key 'jobs.enabled' is true, but control is off; {fix}")
    _check_user(where, jobs.user)
    names = [template.name for template in jobs.templates]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"{where}: two of jobs.templates are called {name!r}; give each its own name")
    for key, path in (("work_dir", jobs.work_dir), ("engine", jobs.engine)):
        if path and not path.startswith("/"):
            raise Failure(f"{where}: key 'jobs.{key}' is {path!r}; give an absolute path")
    for template in jobs.templates:
        _check_template(f"{where}: template {template.name!r}", template, jobs)


def _check_user(where: str, user: str) -> None:
    fix = "make one for this alone, e.g. `useradd --system --no-create-home evenwatt-jobs`"
    if not user:
        raise Failure(f"{where}: key 'jobs.user' is missing; {fix}, and name it")
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Failure(f"{where}: key 'jobs.user' is {user!r}, whom this machine does not know; {fix}") from None
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise Failure(f"{where}: key 'jobs.user' is {user!r}, who is root or in its group; work never runs so: {fix}")


def _check_template(where: str, template: TemplateSettings, jobs: JobsSettings) -> None:
    _check_what(where, template)
    if template.directory and not template.directory.startswith("/"):
        raise Failure(f"{where}: directory is {template.directory!r}; give an absolute path")
    if template.max_s is not None and template.max_s > jobs.max_run_s:
        raise Failure(f"{where}: max_s is {template.max_s:g}, above jobs.max_run_s = {jobs.max_run_s:g}; lower it")
    if template.slots > jobs.slots:
        raise Failure(f"{where}: takes {template.slots} slots, jobs.slots is {jobs.slots}; it could never run")
    _check_values(where, template)
    _check_environment(where, template)
    _check_checkpoint(where, template)


def _check_what(where: str, template: TemplateSettings) -> None:
    given = [key for key in ("command", "unit", "container") if getattr(template, key)]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise Failure(f"{where} has {found}; it needs exactly one of 'command', 'unit' and 'container'")
    if template.command and (not template.command[0].startswith("/") or PLACEHOLDER.search(template.command[0])):
        raise Failure(f"{where}: command begins with {template.command[0]!r}; give the program's absolute path")
    if template.unit and not _UNIT.fullmatch(template.unit):
        raise Failure(f"{where}: unit is {template.unit!r}; name a service of systemd, e.g. 'train.service'")
    if template.container and not _IMAGE.fullmatch(template.container):
        raise Failure(f"{where}: container is {template.container!r}; name an image, e.g. 'registry/train:3'")
    if (template.arguments or template.options) and not template.container:
        raise Failure(f"{where}: 'arguments' and 'options' belong to a container; put a command's into 'command'")
    if template.unit and (template.environment or template.directory):
        raise Failure(f"{where}: environment and directory of a unit stand in the unit itself (a drop-in)")
    if template.nice and not template.command:
        raise Failure(f"{where}: 'nice' belongs to a command; it stands in the unit, or in a container's options")


def _check_values(where: str, template: TemplateSettings) -> None:
    used = {name for part in [*template.command, *template.arguments] for name in PLACEHOLDER.findall(part)}
    if missing := sorted(used - template.values.keys()):
        raise Failure(f"{where}: '{{{missing[0]}}}' has no pattern; add values.{missing[0]}, or write a fixed value")
    if unused := sorted(template.values.keys() - used):
        raise Failure(f"{where}: values.{unused[0]} is used nowhere; write '{{{unused[0]}}}' where it belongs")
    for name, pattern in template.values.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise Failure(f"{where}: values.{name}: {pattern!r} is no regular expression: {error}") from None
    if any("\0" in part for part in [*template.command, *template.arguments, *template.options]):
        raise Failure(f"{where}: an argument contains a NUL character; no program can be given one")


def _check_environment(where: str, template: TemplateSettings) -> None:
    for name, value in template.environment.items():
        if not _NAME.fullmatch(name) or name.startswith(_OURS) or "\0" in value:
            raise Failure(f"{where}: environment has {name!r}; use letters, digits and '_', and not {_OURS}*")


def _check_checkpoint(where: str, template: TemplateSettings) -> None:
    if template.checkpoint is None:
        return
    if not template.interruptible:
        raise Failure(f"{where}: has a checkpoint but is not interruptible; set interruptible = true, or remove it")
    name = template.checkpoint.signal
    if name not in signal.Signals.__members__ or signal.Signals[name] in _NOT_FOR_SAVING:
        raise Failure(f"{where}: checkpoint.signal is {name!r}; name one that can be caught, e.g. 'SIGUSR1'")
