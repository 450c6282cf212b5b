"""The agent's settings, one TOML file. Every key has a default: with no file at all the agent measures and shows."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct, field

from evenwatt_agent.jobs.settings import JobsSettings, check_jobs
from evenwatt_agent.limits import LocalLimits, limits_path, load_limits
from evenwatt_daemon import Failure, load_settings
from evenwatt_daemon.broker import BrokerSettings
from evenwatt_daemon.logs import LogFormat, LogLevel
from evenwatt_wire import TopicError
from evenwatt_wire.topics import check_id

KnobKind = Literal["powercap", "hwmon", "nvml", "cpufreq", "nvml-clocks", "cpu.max"]
KNOB_KINDS: Final[tuple[KnobKind, ...]] = get_args(KnobKind)
Share = Annotated[float, Meta(gt=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]


class MeterSettings(Struct, forbid_unknown_fields=True):
    """The meter of the whole machine, in its management controller."""

    redfish_url: str | None = None
    """e.g. ``https://10.0.0.7``; needs the extra ``evenwatt[bmc]``."""
    redfish_user: str = ""
    """A login that may only read."""
    redfish_password_file: str | None = None
    """Readable by the agent's user alone."""
    redfish_ca: str | None = None
    """Certificates to trust instead of the system's, as a file."""
    redfish_verify: bool = True
    """Check the controller's certificate; false only on a network that nobody else reaches."""
    ipmi: bool = True
    """Ask this machine's own controller where ``ipmitool`` and an IPMI device are there."""
    period_s: Annotated[float, Meta(ge=2, le=300)] = 10.0
    """Seconds between two questions to the meter."""


class SourceSettings(Struct, forbid_unknown_fields=True):
    """What is read, and how often."""

    sysfs: str = "/sys"
    """Where sysfs is mounted; a container may see the host's elsewhere."""
    procfs: str = "/proc"
    """Where procfs is mounted, likewise; tasks can only be run where it is this system's own."""
    rate_hz: Annotated[float, Meta(ge=10, le=1000)] = 100.0
    """Readings of each fast counter per second while power moves."""
    quiet_rate_hz: Annotated[float, Meta(ge=10, le=1000)] | None = None
    """While power does not move for ten seconds; default 10. Never above ``rate_hz``, which switches it off."""
    burst_rate_hz: Annotated[float, Meta(ge=10, le=1000)] | None = None
    """For two seconds after a cap has changed or a task has begun or ended; default ``rate_hz``."""
    slow_rate_hz: Annotated[float, Meta(ge=0.1, le=20)] = 10.0
    """For drivers and buses that take milliseconds."""
    rescan_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    """Time between looks for devices that have appeared."""
    idle_w: Annotated[float, Meta(ge=0)] | None = None
    """Ends of the estimate, used only where nothing can be read."""
    max_w: Positive | None = None
    """Watts at full load: the upper end of that estimate."""
    integrated_gpus: list[str] = []
    """Domains of graphics inside a counted package, e.g. ``["amdgpu"]`` on an APU."""
    meter: MeterSettings = field(default_factory=MeterSettings)


class AttributionSettings(Struct, forbid_unknown_fields=True):
    """Whose joules they are."""

    enabled: bool = True
    """Watch who runs; without it all energy is the row ``unattributed``."""
    period_s: Annotated[float, Meta(ge=0.2, le=60)] = 1.0
    """Time between looks at who runs; it grows by itself where looking would cost over 1 % of a processor."""
    top: Annotated[int, Meta(ge=1, le=100)] = 20
    """Groups kept by name in each ledger record; the rest is ``other``. Tasks are always kept."""
    cpu_idle_w: Annotated[float, Meta(ge=0)] | None = None
    """Power of all but GPU boards with nothing to do; learned where it is not given."""
    gpu_idle_w: Annotated[float, Meta(ge=0)] | None = None
    """The same of one GPU board."""
    reserved: dict[str, Annotated[float, Meta(gt=0, le=1)]] = {}
    """Share of the processors set aside for a group, e.g. ``"unit/nginx.service" = 0.25``: it carries that share of
    the idle energy. A group's ``cpu.max`` counts where nothing is said here."""


class ReportSettings(Struct, forbid_unknown_fields=True):
    """How often it reports."""

    window_s: Annotated[float, Meta(ge=0.2, le=60)] = 1.0
    """Length of a live window in seconds."""
    ledger_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Length of a ledger record in seconds."""
    summary_s: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    """Seconds between two summaries of the node."""
    spool_records: Annotated[int, Meta(ge=10)] = 20_160
    """Ledger records kept, stored ones included: two weeks of minutes. Of more, the oldest are added up."""
    spool_mb: Annotated[float, Meta(ge=1, le=100_000)] = 64.0
    """Megabytes that they may take; whichever is reached first."""


class PausableSettings(Struct, forbid_unknown_fields=True):
    """One thing that a command may pause: a cgroup v2 folder or a process."""

    name: str
    """What commands call it."""
    cgroup: str | None = None
    """Its cgroup v2 folder, which is frozen; or else:"""
    pidfile: str | None = None
    """A file that holds the number of a process, which is stopped by SIGSTOP; with its group where it leads one."""


class ControlSettings(Struct, forbid_unknown_fields=True):
    """What may be done to this machine. Off until it is switched on here; nothing remote can loosen it."""

    enabled: bool = False
    """Take signed commands; without it the agent only measures."""
    process: Literal["agent", "actuator"] = "agent"
    """Who holds the limits and checks commands: the agent itself, which is then root, or ``evenwatt-actuator``, which
    also lends the energy counters that the agent's user may not open."""
    private_key: str | None = None
    """This node's Ed25519 key (PEM), with which it signs acknowledgements."""
    trust: str | None = None
    """The trust document: whose keys count, signed by the root. A newer one that comes over MQTT is kept elsewhere."""
    root: str | None = None
    """The root's public key, or two while one takes over (PEM): what nobody but this node's owner can change."""
    limits: str | None = None
    """What the owner of this machine lets be asked of it, whatever is signed (``limits.toml``); by default the file of
    that name beside this one, if it is there."""
    audit_mb: Annotated[int, Meta(ge=2, le=100_000)] = 16
    """Megabytes that the audit log may take in the state folder."""
    fallback_w: Positive | None = None
    """Cap when nobody holds a lease; default: half way between floor and ceiling."""
    fallback_max_w: Positive | None = None
    """Up to where the fallback that a controller sends with its leases counts when they end; default: ``fallback_w``.
    A policy's ``on_lost = "hold"`` sends the cap itself as fallback, ``"restore"`` the ceiling: without a permission
    here the node goes to its own ``fallback_w`` all the same."""
    knobs: list[KnobKind] = field(default_factory=lambda: list(KNOB_KINDS))
    """What may be used, and of several for one domain in which order: the next one takes over from one that is locked,
    ignored or not obeyed."""
    cpu_max: list[str] = []
    """cgroup v2 folders whose ``cpu.max`` may be lowered, e.g. ``["/sys/fs/cgroup/machine.slice"]``; never one that
    holds the agent."""
    ceilings_w: dict[str, Positive] = {}
    """Highest power of a domain that has no limit in watts, e.g. ``"package-0" = 280.0``; estimated where it is not
    given, and learned."""
    floor_share: Share = 0.4
    """Least limit of a device that states none, as a share of its ceiling; a first estimate where it is learned."""
    reserve_share: Annotated[float, Meta(ge=0, le=1)] = 0.1
    """Set aside for what no actuator reaches (memory, fans), as a share of the ceilings, where such domains count."""
    max_ttl_s: Annotated[float, Meta(gt=0, le=86_400)] = 3600.0
    """Longest lease in seconds that a command may ask for."""
    require_synchronised_clock: bool = True
    """Refuse commands while this machine's clock is not synchronised, since their age cannot be told."""
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    """0 gives way first, 9 last; a policy's class may set another."""
    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """Share of the power against others of the same priority; a policy's class may set another."""
    pausable: list[PausableSettings] = []


class ActuatorSettings(Struct, forbid_unknown_fields=True):
    """``evenwatt-actuator``: read by it and by the agent, which only wants the socket."""

    socket: str = "/run/evenwatt-actuator/actuator.sock"
    """Where the two processes meet."""
    user: str = "evenwatt"
    """The agent's user, by name or number: besides root, nobody else is heard."""
    state_dir: str = "/var/lib/evenwatt-actuator"
    """What must survive a restart; root's alone."""
    grace_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """How long leases go on when no agent is connected; then the machine gets its own limits back."""


class LogSettings(Struct, forbid_unknown_fields=True):
    """The log on standard error."""

    level: LogLevel = "info"
    """Least level that is written."""
    style: LogFormat = "auto"
    """``console`` for people, ``json`` lines for machines; ``auto``: by whether it is a terminal."""


class AgentSettings(Struct, forbid_unknown_fields=True):
    """The whole file."""

    fleet: str = "fleet"
    """Name of the fleet, part of every signed command; the same on all machines."""
    zone: str = "default"
    """Power domain that this node belongs to."""
    node: str = ""
    """Default: the host's name, made an identifier."""
    state_dir: str = field(default_factory=lambda: os.environ.get("STATE_DIRECTORY", "/var/lib/evenwatt").split(":")[0])
    """Folder of what must survive a restart. Default: ``$STATE_DIRECTORY``, else ``/var/lib/evenwatt``."""
    runtime_dir: str = field(default_factory=lambda: os.environ.get("RUNTIME_DIRECTORY", "/run/evenwatt").split(":")[0])
    """Folder of the sockets. Default: ``$RUNTIME_DIRECTORY``, else ``/run/evenwatt``."""
    mqtt: BrokerSettings = field(default_factory=BrokerSettings)
    sources: SourceSettings = field(default_factory=SourceSettings)
    attribution: AttributionSettings = field(default_factory=AttributionSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    actuator: ActuatorSettings = field(default_factory=ActuatorSettings)
    jobs: JobsSettings = field(default_factory=JobsSettings)
    log: LogSettings = field(default_factory=LogSettings)

    @property
    def by_actuator(self) -> bool:
        """Whether another process holds this machine's limits."""
        return self.control.process == "actuator"

    @property
    def state_path(self) -> Path:
        """Directory of what must survive a restart."""
        return Path(self.state_dir)

    @property
    def socket_path(self) -> Path:
        """The local status socket."""
        return Path(self.runtime_dir) / "agent.sock"

    @property
    def task_socket_path(self) -> Path:
        """Where programs say which tasks they run."""
        return Path(self.runtime_dir) / "task.sock"


def load(path: str | None) -> AgentSettings:
    """Read and check the agent's settings.

    Raises:
        Failure: naming the file, the key, what was found and the fix.
    """
    settings = load_settings(AgentSettings, path)
    where = path or "built-in defaults"
    settings.node = settings.node or _host_id()
    try:
        for key in ("fleet", "zone", "node"):
            check_id(getattr(settings, key), key)
    except TopicError as error:
        raise Failure(f"{where}: {error}") from None
    _check_control(where, settings.control)
    limits = limits_path(path, settings.control.limits)
    settings.control.limits = None if limits is None else str(limits)
    if not settings.by_actuator:  # it reads them itself, and the agent's user may not be able to
        read_limits(settings.control)
    check_jobs(where, settings.jobs, control=settings.control.enabled)
    if settings.jobs.enabled and settings.by_actuator:
        raise Failure(
            f"{where}: key 'jobs.enabled' is true, but control.process is 'actuator': work is run as other users, "
            f"which takes an agent that is root; set control.process to 'agent' and run it as root, or leave jobs off"
        )
    return settings


def read_limits(control: ControlSettings) -> LocalLimits:
    """Read ``limits.toml``, where there is one.

    Raises:
        Failure: naming the file, the key, what was found and the fix.
    """
    return load_limits(Path(control.limits) if control.limits else None, [item.name for item in control.pausable])


def _check_control(where: str, control: ControlSettings) -> None:
    if control.enabled and not (control.private_key and control.trust and control.root):
        raise Failure(
            f"{where}: key 'control.enabled' is true, but control.private_key, control.trust and control.root are not "
            f"all set; `evenwatt enroll` makes and writes them (docs/enrolment.md), or leave control off"
        )
    if control.fallback_max_w is not None and control.fallback_max_w < (control.fallback_w or 0.0):
        raise Failure(
            f"{where}: key 'control.fallback_max_w' is {control.fallback_max_w:g}, below control.fallback_w = "
            f"{control.fallback_w:g}; give a value from there up, or remove it"
        )
    if len(set(control.knobs)) < len(control.knobs):
        raise Failure(f"{where}: key 'control.knobs' names one kind twice: {', '.join(control.knobs)}; name each once")
    if control.cpu_max and "cpu.max" not in control.knobs:
        raise Failure(
            f"{where}: key 'control.cpu_max' names cgroups, but control.knobs leaves 'cpu.max' out; add it, or remove "
            f"control.cpu_max"
        )
    for item in control.pausable:
        if (item.cgroup is None) == (item.pidfile is None):
            raise Failure(f"{where}: pausable {item.name!r} needs exactly one of 'cgroup' and 'pidfile'")


def _host_id() -> str:
    return re.sub(r"[^a-z0-9]+", "-", socket.gethostname().split(".")[0].lower()).strip("-")[:63] or "node"
