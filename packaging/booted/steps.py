"""What is done to the booted system, one step after the other, and what must be seen."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from keys import make_keys
from machine import Booted, Hardware, NotSeenError, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

AGENT, ACTUATOR, RESTORE, COLLECTOR = (
    f"evenwatt-{part}.service" for part in ("agent", "actuator", "restore", "collector")
)
SERVICES = (AGENT, ACTUATOR, COLLECTOR)
FALLBACK_W, CAP_W = 350.0, 280.0
RESERVE_W = 60.0
"""At most this much of a cap is set aside for the memory, which has no limit: the devices get that much less."""
APT = "apt-get -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 -qq -y --no-install-recommends"
FACES = ("man/man1/evenwatt-status.1.gz", "man/man8/evenwatt-agent.8.gz", "bash-completion/completions/evenwatt",
         "fish/vendor_completions.d/evenwatt.fish", "zsh/vendor-completions/_evenwatt")  # fmt: skip
"""Where man and shells look, below /usr/share."""
CONTROL = f"""
fleet = "fleet"
zone = "default"
node = "machine"
[mqtt]
host = "127.0.0.1"
[report]
ledger_s = 2.0
[control]
enabled = true
process = "actuator"
private_key = "/var/lib/evenwatt-actuator/node.pem"
trust = "/etc/evenwatt/trust.json"
root = "/etc/evenwatt/root.pub"
fallback_w = {FALLBACK_W}
require_synchronised_clock = false # whoever runs this test may have no time service
"""


COLLECTOR_KEYS = """
[keys]
private_key = "/run/credentials/evenwatt-collector.service/secret_controller.pem"
trust = "/etc/evenwatt/trust.json"
root = "/etc/evenwatt/root.pub"
"""
OPERATOR = """
fleet = "fleet"
zone = "default"
private_key = "/etc/evenwatt/operator.pem"
trust = "/etc/evenwatt/trust.json"
root = "/etc/evenwatt/root.pub"
"""


class Steps:
    """The steps; each returns what was seen, or raises :class:`NotSeenError`.

    Args:
        system: Where they are made.
        hardware: What that sees as its own.
        old: Version that is installed first.
        new: Version that is upgraded to.
    """

    def __init__(self, system: Booted, hardware: Hardware, old: str, new: str) -> None:
        self.system, self.hardware, self.old, self.new = system, hardware, old, new

    def packages(self, version: str, *parts: str) -> str:
        """Return the files of a version."""
        parts = parts or ("agent", "collector")
        return " ".join(f"/srv/packages/evenwatt-{part}_{version}_amd64.deb" for part in parts)

    def restarts(self, unit: str) -> int:
        """Return how often the service manager has started a unit again by itself."""
        return int(self.system.shown(unit, "NRestarts") or 0)

    def await_restart(self, unit: str, before: tuple[int, int], timeout_s: float = 60.0) -> str:
        """Wait until a unit runs again by the service manager's doing."""

        def again() -> bool:
            pid = self.system.pid(unit)
            return pid not in {0, before[1]} and self.restarts(unit) > before[0] and self.system.is_active(unit)

        wait_for(again, f"{unit} has been started again", timeout_s)
        return f"NRestarts {before[0]} -> {self.restarts(unit)}"

    def now(self, unit: str) -> tuple[int, int]:
        """Return restarts and main process of a unit."""
        return self.restarts(unit), self.system.pid(unit)

    def await_limit(self, watts: float, timeout_s: float = 30.0) -> str:
        """Wait until the devices hold a cap of the node."""

        def held() -> bool:
            return watts - RESERVE_W <= self.hardware.limit_w() <= watts

        try:
            wait_for(held, "", timeout_s)
        except NotSeenError:
            raise NotSeenError(f"limits are {self.hardware.limit_w():.0f} W, for a cap of {watts:.0f} W") from None
        return f"limits are {self.hardware.limit_w():.0f} W for a cap of {watts:.0f} W"

    def await_originals(self, timeout_s: float = 30.0) -> str:
        """Wait until all limits are the machine's own."""
        began = time.monotonic()
        wait_for(self.hardware.has_its_own, f"the originals are back, now {self.hardware.limit_w():.0f} W", timeout_s)
        return f"originals ({self.hardware.limit_w():.0f} W) back after {time.monotonic() - began:.2f} s"

    def await_found(self) -> None:
        """Wait until the agent has an actuator; before that a command is lost with the connection."""

        def found() -> bool:
            events = f"journalctl -u {AGENT} --no-pager -o cat | grep -oE 'actuator-(lost|found)' | tail -1"
            return self.system.said(events) == "actuator-found"

        wait_for(found, "the agent has found the actuator")

    def cap(self) -> str:
        """Cap the node by an operator's signed command; say what the devices hold."""
        self.system.must(f"evenwatt cap machine {CAP_W:.0f} --for 10m")
        return self.await_limit(CAP_W)

    def status(self) -> dict[str, object]:
        """Return what the node says of itself on its local socket."""
        return dict(json.loads(self.system.must("evenwatt status --via local --json || [ $? = 3 ]")))


def boot(test: Steps) -> str:
    """Debian boots."""
    began = time.monotonic()
    test.system.boot()
    return f"{test.system.said('. /etc/os-release; echo $PRETTY_NAME')}, idle after {time.monotonic() - began:.1f} s"


def install(test: Steps) -> str:
    """Both packages are installed; agent and collector run, the actuator does not."""
    test.system.must(f"{APT} install {test.packages(test.old)}")
    wait_for(lambda: test.system.is_active(AGENT, COLLECTOR), "agent and collector are active")
    enabled = test.system.said(f"systemctl is-enabled {ACTUATOR}")
    if test.system.is_active(ACTUATOR) or enabled != "disabled":
        raise NotSeenError(f"the actuator is {enabled} before it has been configured")
    if not test.hardware.has_its_own():
        raise NotSeenError("limits have been changed by installing")
    test.system.must(f"cd /usr/share && readlink -e {' '.join(FACES)}")
    users = test.system.said(f"ps -o user= -p {test.system.pid(AGENT)} -p {test.system.pid(COLLECTOR)}").split()
    return f"active as {' and '.join(users)}, actuator {enabled}, limits untouched"


def measure_alone(test: Steps) -> str:
    """Without the actuator the agent runs on and says what it cannot read."""
    said = test.system.said(f"journalctl -u {AGENT} --no-pager -o cat")
    line = next((line for line in said.splitlines() if "energy_uj" in line or "only root may open" in line), None)
    if line is None:
        raise NotSeenError("the agent's log does not say why it cannot read the counters")
    return line[:160]


def unprivileged(test: Steps) -> str:
    """The agent's user can neither read a counter nor write a limit."""
    zone = "/sys/devices/virtual/powercap/intel-rapl/intel-rapl:0"
    for attempt in (f"cat {zone}/energy_uj", f"echo 1 > {zone}/constraint_0_power_limit_uw"):
        if test.system.run(f"runuser -u evenwatt -- sh -c {attempt!r}").returncode == 0:
            raise NotSeenError(f"as evenwatt this works: {attempt}")
    return "both are refused"


def control_on(test: Steps) -> str:
    """Keys are made, control is switched on, the actuator enabled; it begins in the fallback."""
    system = test.system
    make_keys(system, node="machine", zone="default", fleet="fleet")
    system.write("/etc/evenwatt/agent.toml", CONTROL)
    system.write("/etc/evenwatt/operator.toml", OPERATOR)
    system.must(f"cat >> /etc/evenwatt/collector.toml <<'END'\n{COLLECTOR_KEYS}\nEND")
    system.must("evenwatt-agent --config /etc/evenwatt/agent.toml --check")
    system.must(f"systemctl enable --now {ACTUATOR}")
    system.must(f"systemctl restart {AGENT} {COLLECTOR}")
    wait_for(lambda: system.is_active(*SERVICES), "all three are active")
    return test.await_limit(FALLBACK_W)


def lent(test: Steps) -> str:
    """The unprivileged agent reads the counters through lent descriptors."""
    descriptors = f"ls -l /proc/{test.system.pid(AGENT)}/fd"
    found = wait_for(lambda: test.system.said(descriptors).count("energy_uj"), "the agent holds energy counters")
    return f"{found} descriptors of energy_uj open in a process of evenwatt"


def seen_by_collector(test: Steps) -> str:
    """The collector sees the node's power as measured."""

    def watts() -> str:
        return test.system.said("evenwatt status machine | grep -E 'machine.* W'")

    return wait_for(watts, "the collector shows power")


def cap(test: Steps) -> str:
    """An operator's signed cap is in the devices."""
    return test.cap()


def kill_actuator(test: Steps) -> str:
    """SIGKILL of the actuator: originals back by the restorer, then the fallback again."""
    before = test.now(ACTUATOR)
    agent = test.now(AGENT)
    test.system.must(f"systemctl kill -s KILL {ACTUATOR}")
    seen = test.await_originals()
    again = test.await_restart(ACTUATOR, before)
    limit = test.await_limit(FALLBACK_W)
    test.await_found()
    if test.now(AGENT) != agent:
        raise NotSeenError("the agent did not live on")
    return f"{seen}; {again}; {limit}; the agent lived on"


def kill_agent(test: Steps) -> str:
    """SIGKILL of the agent: started again, the cap in the devices is held meanwhile."""
    test.cap()
    before = test.now(AGENT)
    test.system.must(f"systemctl kill -s KILL {AGENT}")
    again = test.await_restart(AGENT, before)
    return f"{again}; {test.await_limit(CAP_W, 2.0)}"


def hang_agent(test: Steps) -> str:
    """A hung agent (SIGSTOP) is killed by its watchdog and started again."""
    before = test.now(AGENT)
    test.system.must(f"systemctl kill -s STOP {AGENT}")
    again = test.await_restart(AGENT, before, 120)
    return f"{again}; {watchdog_said(test, AGENT)}"


def hang_actuator(test: Steps) -> str:
    """A hung actuator is killed by its watchdog: originals back, then the fallback."""
    before = test.now(ACTUATOR)
    test.system.must(f"systemctl kill -s STOP {ACTUATOR}")
    seen = test.await_originals(120)
    again = test.await_restart(ACTUATOR, before)
    return f"{seen}; {again}; {watchdog_said(test, ACTUATOR)}; {test.await_limit(FALLBACK_W)}"


def watchdog_said(test: Steps, unit: str) -> str:
    """Return the service manager's word that the watchdog has acted."""
    said = test.system.said(f"journalctl -u {unit} --no-pager -o cat | grep -i 'watchdog timeout' | tail -1")
    if not said:
        raise NotSeenError(f"no watchdog timeout in the log of {unit}")
    return said


def steady(test: Steps) -> str:
    """Watchdogs are fed: nothing is started again by itself in more than a watchdog's time."""
    before = {unit: test.now(unit) for unit in SERVICES}
    time.sleep(35)
    after = {unit: test.now(unit) for unit in SERVICES}
    if before != after:
        raise NotSeenError(f"{before} became {after}")
    return f"35 s, watchdogs of {test.system.shown(AGENT, 'WatchdogUSec')}"


def upgrade(test: Steps) -> str:
    """An upgrade restarts all three in the new version, with settings and keys kept."""
    test.cap()
    before = test.system.said("md5sum /etc/evenwatt/* /var/lib/evenwatt-actuator/node.pem 2>/dev/null")
    test.system.must(f"{APT} install {test.packages(test.new)}")
    wait_for(lambda: test.system.is_active(*SERVICES), "all three are active again")
    after = test.system.said("md5sum /etc/evenwatt/* /var/lib/evenwatt-actuator/node.pem 2>/dev/null")
    if before != after:
        raise NotSeenError(f"files changed: {before} became {after}")
    shown = test.system.said("dpkg-query -W -f '${Package} ${Version}  ' 'evenwatt-*'")
    return f"{shown}; {test.await_limit(FALLBACK_W)}"


def downgrade(test: Steps) -> str:
    """A downgrade is refused with a reason, and what runs runs on."""
    before = {unit: test.now(unit) for unit in SERVICES}
    done = test.system.run(f"{APT} --allow-downgrades install {test.packages(test.old)}")
    if done.returncode == 0:
        raise NotSeenError("it was not refused")
    said = next((line for line in done.stderr.splitlines() if "was written by version" in line), "")
    shown = test.system.said("dpkg-query -W -f '${Version} ${db:Status-Abbrev} ' 'evenwatt-*'")
    if not said or shown.count(test.new) != 2 or before != {unit: test.now(unit) for unit in SERVICES}:
        raise NotSeenError(f"packages {shown}, said {said!r}, {before}")
    return said


def power_cut(test: Steps) -> str:
    """Power is cut with a cap in the devices: originals back at boot, before anything else."""
    test.cap()
    test.system.must(f"systemctl disable {ACTUATOR} && sync")
    test.system.cut_power()
    held = test.await_limit(CAP_W, 1.0)
    test.system.boot()
    if test.system.shown(RESTORE, "ConditionResult") != "yes" or test.system.shown(RESTORE, "Result") != "success":
        raise NotSeenError(f"the restorer did not run: {test.system.said(f'systemctl status {RESTORE}')}")
    seen = test.await_originals(1.0)
    wait_for(lambda: test.system.is_active(AGENT, COLLECTOR), "agent and collector are active")
    return f"{held} in between; {seen}"


def reboot(test: Steps) -> str:
    """An orderly reboot gives the limits back, and all three come up."""
    test.system.must(f"systemctl enable --now {ACTUATOR}")
    test.await_limit(FALLBACK_W)
    test.system.run("systemctl reboot")
    test.system.await_end()
    seen = test.await_originals(1.0)
    test.system.boot()
    wait_for(lambda: test.system.is_active(*SERVICES), "all three are active")
    return f"{seen}; {test.await_limit(FALLBACK_W)}"


def stubborn_removal(test: Steps) -> str:
    """Removal fails loudly while a limit cannot be put back."""
    test.cap()
    with test.hardware.locked_limit():
        done = test.system.run(f"{APT} remove evenwatt-agent")
        status = test.system.said("dpkg-query -W -f '${db:Status-Abbrev}' evenwatt-agent").strip()
    said = next((line for line in done.stderr.splitlines() if "not removed" in line), "")
    if done.returncode == 0 or not said or status != "ii":
        raise NotSeenError(f"exit {done.returncode}, package {status!r}, said {said!r}")
    return said


def remove(test: Steps) -> str:
    """Removal gives the limits back; settings, keys, audit log and records stay."""
    test.system.must(f"systemctl restart {ACTUATOR} {AGENT}")
    wait_for(lambda: test.system.is_active(*SERVICES), "all three are active")
    test.cap()
    test.system.must(f"{APT} remove evenwatt-agent evenwatt-collector")
    seen = test.await_originals(1.0)
    kept = test.system.said("ls /etc/evenwatt/agent.toml /var/lib/evenwatt-actuator/node.pem /var/lib/evenwatt/*.db")
    left = test.system.said("pgrep -fa '^[^ ]*python.*evenwatt'; ls -d /usr/lib/evenwatt-* /usr/bin/evenwatt* 2>&-")
    if left or len(kept.split()) < 3:
        raise NotSeenError(f"left: {left!r}, kept: {kept!r}")
    return f"{seen}; kept: {' '.join(kept.split())}"


def purge(test: Steps) -> str:
    """Purge leaves nothing but the locked user and what a person put into /etc/evenwatt."""
    test.system.must(f"{APT} purge evenwatt-agent evenwatt-collector")
    left = test.system.said(
        "find / -xdev \\( -path /srv -o -path /proc -o -path /var/log -o -path /etc/evenwatt \\) -prune"
        " -o -name '*evenwatt*' -print"
    )
    if left:
        raise NotSeenError(f"left: {' '.join(left.split())}")
    kept = test.system.must("cd /etc/evenwatt && ls operator.* trust.json root.pub collector.secrets/controller.pem")
    if own := test.system.said("cd /etc/evenwatt && ls -d agent.toml limits.toml collector.toml node* 2>&-"):
        raise NotSeenError(f"left: {own}")
    return f"{test.system.said('getent passwd evenwatt').strip()}; kept: {' '.join(kept.split())}"


ORDER: tuple[Callable[[Steps], str], ...] = (
    boot, install, measure_alone, unprivileged, control_on, lent, seen_by_collector, cap, kill_actuator, kill_agent,
    hang_agent, hang_actuator, steady, upgrade, downgrade, power_cut, reboot, stubborn_removal, remove, purge,
)  # fmt: skip
