"""Looks at a node as its agent would, and says what is well, what is not, why, and the exact fix.

Nothing here decides for itself what can be read: the same discovery runs as in the agent, as the same user. A limit is
written only when asked, a twentieth below the present one, read back, and put back at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_agent import clocks, restore
from evenwatt_agent.actuator_check import check_actuator
from evenwatt_agent.actuators.throttle import Throttle
from evenwatt_agent.borrowing import Borrower
from evenwatt_agent.broker_check import check_connection, check_secrets
from evenwatt_agent.findings import UNHEALTHY, Finding, Verdict
from evenwatt_agent.inventory import Inventory, take_inventory
from evenwatt_agent.keys_check import check_trust
from evenwatt_agent.local import read_status
from evenwatt_agent.sources.held import entries, open_file, read_text
from evenwatt_daemon import Failure, lock_folder, machine_folder
from evenwatt_wire import Quality

if TYPE_CHECKING:
    from evenwatt_agent.actuators.ladder import Ladder
    from evenwatt_agent.governor import Governor, Outcome
    from evenwatt_agent.settings import AgentSettings
    from evenwatt_agent.sources import Problem

__all__ = ["UNHEALTHY", "Finding", "Verdict", "examine"]

_TRIAL_SHARE: Final = 0.95
"""Of the ceiling: far enough below it to be told from the device's rounding."""
_FIRMWARE_S: Final = 0.2
"""Firmware that does not obey may take a limit and restore its own a moment later."""


_WHERE: Final = {
    "powercap": "class/powercap",
    "hwmon": "class/hwmon",
    "ina": "class/hwmon",
    "power_supply": "class/power_supply",
}
_ABSENT: Final = {
    "powercap": "no RAPL zones: a virtual machine, an ARM board, or a kernel without them (modprobe intel_rapl_msr)",
    "perf": "no energy events, or not needed: powercap serves what they would",
    "nvml": "no libnvidia-ml.so.1: no NVIDIA driver here",
    "hwmon": "no hwmon device shows power or energy",
    "ina": "no current monitor shows rails",
    "power_supply": "no system battery",
    "redfish": "no controller configured (sources.meter.redfish_url)",
    "ipmi": "no ipmitool, or no IPMI device",
}

_NOWHERE: Final = "/nonexistent"
"""Debian's name of a folder that is not there: a state directory without anything."""


def examine(settings: AgentSettings, *, write_caps: bool = False) -> list[Finding]:
    """Examine this node.

    Raises:
        Failure: the settings name something that is not there.
    """
    root = os.geteuid() == 0
    known = _knows_limits(settings)
    steer = known and (not settings.by_actuator or (write_caps and root))
    if settings.by_actuator and steer:
        settings = msgspec.structs.replace(settings, state_dir=settings.actuator.state_dir)
    opener = Borrower(settings, patience_s=0.0).open if settings.by_actuator else open_file
    seen = settings if known else msgspec.structs.replace(settings, state_dir=_NOWHERE)
    inventory = take_inventory(seen, opener, steer=steer)
    try:
        findings = [_source(name, inventory, Path(settings.sources.sysfs)) for name in _ABSENT]
        findings.append(_total(inventory))
        if steer:
            findings.append(_caps(settings, inventory, write_caps=write_caps))
        elif not settings.by_actuator:
            found = f"{settings.state_path} is not this user's: what the agent has saved of limits cannot be read"
            findings.append(Finding("caps", Verdict.SKIPPED, found, "run the doctor as root or as the agent's user"))
    finally:
        inventory.close()
    findings += [finding for finding in check_actuator(settings) if finding.check != "caps" or not steer]
    findings.append(asyncio.run(_agent(settings)))
    findings += check_connection(settings.mqtt, settings.zone, settings.node, collector=False)
    findings.append(check_secrets(_secrets(settings, everything=steer or root)))
    findings.append(check_trust(settings))
    findings.append(_clock(settings))
    findings.append(_jobs(settings))
    return findings


def _knows_limits(settings: AgentSettings) -> bool:
    """Whether this user may read what the agent has saved of this machine's limits."""
    with suppress(ValueError):  # damaged: the inventory says so
        try:
            restore.load(restore.originals_path(settings.state_path))
        except PermissionError:
            return False
    return True


def _secrets(settings: AgentSettings, *, everything: bool) -> list[str | None]:
    """Return the files that are secret; the node's key is the actuator's alone where there is one."""
    ours = [settings.mqtt.key_file, settings.mqtt.password_file]
    return [*ours, settings.control.private_key] if everything else ours


def _jobs(settings: AgentSettings) -> Finding:
    if not settings.jobs.enabled:
        return Finding("jobs", Verdict.SKIPPED, "off in the settings: nothing is run here on command")
    from evenwatt_agent.jobs.check import examine_jobs  # noqa: PLC0415  (nothing of jobs is loaded where they are off)

    return examine_jobs(settings)


def _source(name: str, inventory: Inventory, sysfs: Path) -> Finding:
    readable = _sources_of(inventory, name)
    problems = [problem for problem in inventory.problems if problem.source == name]
    if problems:
        finding = _trouble(name, readable, problems)
        if name == "powercap" and finding.verdict is Verdict.DENIED and _sources_of(inventory, "perf"):
            return Finding(name, Verdict.SKIPPED, f"{finding.detail}; perf reads the same counters", finding.fix)
        return finding
    if readable:
        return Finding(name, Verdict.FOUND, f"{len(readable)}: {', '.join(readable)}")
    where = sysfs / _WHERE[name] if name in _WHERE else None
    if where is not None and _masked(where):
        fix = f"mount the host's {where} read-only into the container, or run the agent on the host"
        return Finding(name, Verdict.MASKED, f"{where} is covered by an empty mount", fix)
    return Finding(name, Verdict.ABSENT, _ABSENT[name])


def _sources_of(inventory: Inventory, name: str) -> list[str]:
    return [domain.id for domain in inventory.domains if domain.source == name]


def _trouble(name: str, readable: list[str], problems: list[Problem]) -> Finding:
    denied = all("denied" in problem.found.lower() or "permi" in problem.found.lower() for problem in problems)
    first = problems[0]
    more = f" and {len(problems) - 1} more" if problems[1:] else ""
    besides = f"; readable: {', '.join(readable)}" if readable else ""
    verdict = Verdict.DENIED if denied else Verdict.BROKEN
    return Finding(name, verdict, f"{first.path}{more}: {first.found}{besides}", first.fix)


def _masked(where: Path) -> bool:
    """Whether a mount lies on the folder and hides everything (proc_pid_mountinfo(5)): how containers mask powercap."""
    real = {str(where), str(where.resolve()), "/sys/devices/virtual/powercap" if where.name == "powercap" else ""}
    mounted = {line.split()[4] for line in (read_text(Path("/proc/self/mountinfo")) or "").splitlines() if line}
    return bool(real & mounted) and not any(list(entries(entry)) for entry in entries(where) if entry.is_dir())


def _total(inventory: Inventory) -> Finding:
    if inventory.quality is Quality.ESTIMATED:
        fix = "set sources.idle_w and sources.max_w to this machine's own figures, or give the agent a counter"
        return Finding("node power", Verdict.FOUND, "estimated from utilisation; nothing here can be read", fix)
    return Finding("node power", Verdict.FOUND, f"{inventory.formula} ({inventory.quality.value})")


def _caps(settings: AgentSettings, inventory: Inventory, *, write_caps: bool) -> Finding:
    if not settings.control.enabled:
        return Finding("caps", Verdict.SKIPPED, "control is off in the settings: this node only measures")
    names = "; ".join(_ladder(ladder) for ladder in inventory.governor.ladders)
    if not names:
        fix = "load a cpufreq driver, or name cgroups in control.cpu_max; see docs/control-on-the-node.md"
        return Finding("caps", Verdict.ABSENT, "nothing here limits power; commands that cap will be refused", fix)
    if not write_caps:
        return Finding("caps", Verdict.SKIPPED, f"{names}: not tried; --write-caps writes a limit and puts it back")
    return _try_caps(settings, inventory, names)


def _ladder(ladder: Ladder) -> str:
    """Return the knobs of one domain in the order in which they are tried."""
    return ", then ".join(
        f"{knob.id} ({knob.floor_w:.0f} to {knob.ceiling_w:.0f} W{' estimated' * isinstance(knob, Throttle)})"
        for knob in ladder.knobs
    )


def _try_caps(settings: AgentSettings, inventory: Inventory, names: str) -> Finding:
    try:
        lock = lock_folder(machine_folder(settings.sources.sysfs), "an agent or an actuator controls this machine")
    except Failure as failure:
        return Finding("caps", Verdict.SKIPPED, str(failure), "stop it for this test, or try `evenwatt cap`")
    governor = inventory.governor
    try:
        settings.state_path.mkdir(parents=True, exist_ok=True)  # the originals are kept there first
        outcome = _hold_trial(governor)
        replaced = governor.take_replaced()
        left = governor.restore()
    except OSError as error:
        return Finding("caps", Verdict.DENIED, str(error), "run as root, or as the agent's unit does")
    finally:
        os.close(lock)
    if outcome.locked or left:
        fix = "the firmware or another program holds the limit; see docs/install-debian.md"
        return Finding("caps", Verdict.LOCKED, outcome.locked or "; ".join(left), fix)
    if replaced:
        words = "; ".join(f"{row.knob} does not work ({row.why}), {row.by} takes its place" for row in replaced)
        return Finding("caps", Verdict.FOUND, f"{words}; written, read back, and put back")
    return Finding("caps", Verdict.FOUND, f"{names}: written, read back, and put back")


def _hold_trial(governor: Governor) -> Outcome:
    """Hold a cap a twentieth below the ceiling, long enough for every knob that does not work to be replaced."""
    knobs = sum(len(ladder.knobs) for ladder in governor.ladders)
    for _ in range(2 * knobs):
        outcome = governor.apply(_TRIAL_SHARE * governor.ceiling_w)
        time.sleep(_FIRMWARE_S)
        if outcome.locked or not governor.verify().locked:
            break
    return governor.outcome


async def _agent(settings: AgentSettings) -> Finding:
    try:
        said = json.loads(await read_status(settings.socket_path))
    except PermissionError:
        fix = "join the group of the agent's service (evenwatt), or use sudo"
        return Finding("agent", Verdict.DENIED, f"{settings.socket_path}: not open to this user", fix)
    except (OSError, TimeoutError, ValueError):
        return Finding("agent", Verdict.ABSENT, f"none answers on {settings.socket_path}")
    summary, link = said["summary"], said["link"]
    words = f"running as {summary['node']}, {summary['rss_mb']:.0f} MB, {summary['cost_cpu_pct']:.1f} % of a processor"
    words += f", trust version {said['trust_version']} in force" if said["trust_version"] else ""
    if link["trouble"]:
        return Finding("agent", Verdict.BROKEN, f"{words}; {link['trouble']}", "see broker and collector below")
    if link["spool"]["trouble"]:
        fix = "make room in its state_dir or make it writable: no joule is lost while the agent runs"
        return Finding("agent", Verdict.BROKEN, f"{words}; records cannot be kept: {link['spool']['trouble']}", fix)
    return Finding("agent", Verdict.FOUND, f"{words}, {link['state']}")


def _clock(settings: AgentSettings) -> Finding:
    with suppress(OSError, AttributeError):
        if not clocks.clock_synchronised():
            if not settings.control.require_synchronised_clock:
                return Finding("clock", Verdict.SKIPPED, "not synchronised, and the settings do not ask for it")
            if not settings.control.enabled:
                fix = "enable time synchronisation (timedatectl set-ntp true): records are dated by this clock"
                return Finding("clock", Verdict.SKIPPED, "not synchronised; without control no command needs it", fix)
            fix = "enable time synchronisation (timedatectl set-ntp true): commands are refused when they look old"
            return Finding("clock", Verdict.BROKEN, "not synchronised", fix)
    return Finding("clock", Verdict.FOUND, time.strftime("synchronised, %Y-%m-%d %H:%M:%S UTC", time.gmtime()))
