"""What the doctor says of the actuator: whether it answers this user, whose version it is, and what it does here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenwatt_agent.actuator.asking import connect, hear
from evenwatt_agent.actuator.protocol import Now, ProtocolError, Purpose, Refused, Welcome
from evenwatt_agent.findings import Finding, Verdict
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from evenwatt_agent.settings import AgentSettings

_ANSWER_S = 5.0
_START = "systemctl start evenwatt-actuator, and see its log (journalctl -u evenwatt-actuator)"


def check_actuator(settings: AgentSettings) -> list[Finding]:
    """Ask the actuator how things stand; nothing where the settings name none."""
    if not settings.by_actuator:
        return []
    path = settings.actuator.socket
    try:
        welcome, now = _look(path)
    except PermissionError:
        fix = f"run this as {settings.actuator.user} or as root; the folder is open to the group of the agent's user"
        return [Finding("actuator", Verdict.DENIED, f"{path}: not open to this user", fix)]
    except (OSError, ProtocolError) as error:
        told = f"{path}: {error}: no cap is taken, and counters that only root may open cannot be read"
        return [Finding("actuator", Verdict.BROKEN, told, _START)]
    if isinstance(welcome, Refused):
        return [Finding("actuator", Verdict.DENIED, f"{path}: {welcome.why}", _START.replace("start", "restart", 1))]
    return [_standing(welcome), _caps(settings, now)]


def _standing(welcome: Welcome) -> Finding:
    agent = f"the agent with pid {welcome.agent_pid} has control" if welcome.agent_pid else "no agent is connected"
    words = f"answers, {agent}, lends {len(welcome.lends)} energy counters"
    if welcome.software != __version__:
        fix = "restart both: systemctl restart evenwatt-actuator evenwatt-agent"
        return Finding("actuator", Verdict.BROKEN, f"{words}; it is {welcome.software}, this is {__version__}", fix)
    return Finding("actuator", Verdict.FOUND, f"{words}, version {welcome.software}")


def _caps(settings: AgentSettings, now: Now) -> Finding:
    if not settings.control.enabled:
        return Finding("caps", Verdict.SKIPPED, "control is off in the settings: this node only measures")
    knobs = now.standing.actuators
    if not now.standing.controllable and not knobs:
        fix = "load a cpufreq driver, or name cgroups in control.cpu_max; see docs/control-on-the-node.md"
        return Finding("caps", Verdict.ABSENT, "the actuator has found nothing here that limits power", fix)
    names = "; ".join(f"{knob.id} ({knob.floor_w:.0f} to {knob.ceiling_w:.0f} W)" for knob in knobs)
    lease = now.lease
    held = "its own limits" if lease.cap_w is None else f"{lease.cap_w:.0f} W ({lease.state.value})"
    locked = [knob.id for knob in knobs if knob.locked]
    if locked:
        fix = "the firmware or another program holds the limit; see docs/install-debian.md"
        return Finding("caps", Verdict.LOCKED, f"{', '.join(locked)} did not take a limit; in force: {held}", fix)
    return Finding("caps", Verdict.FOUND, f"{names}: held by the actuator, now {held}")


def _look(path: str) -> tuple[Any, Any]:
    with connect(path, Purpose.LOOK, _ANSWER_S) as sock:
        welcome, _ = hear(sock)
        if isinstance(welcome, Refused):
            return welcome, None
        now, _ = hear(sock)
    if not isinstance(welcome, Welcome) or not isinstance(now, Now):
        raise ProtocolError("it did not say how things stand")
    return welcome, now
