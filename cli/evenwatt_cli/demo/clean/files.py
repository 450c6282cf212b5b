"""Settings files of the scenario, as they would stand on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from evenwatt_cli.demo.clean.scenario import CleanScenario, Workload

ZONE: Final = "demo"
GRID: Final = "DE"
SERVICE: Final = "summaries"
TASK: Final = "summarise"
MODEL: Final = "reader"
UNIT: Final = "request"
PUE: Final = 1.2
BUDGET_W: Final = 3_000.0
"""More than all machines together can draw: nothing but learning caps them."""
FALLBACK_W: Final = 500.0
LEDGER_S: Final = 5.0
HORIZON_HOURS: Final = 48
EXPLORE_SHARE: Final = 0.5
"""Of a few minutes of work; the default, 0.04, is for hours of it."""


def agent(scenario: CleanScenario, node: str) -> str:
    """Return the settings of an agent."""
    from evenwatt_cli.demo.clean.scenario import WORKLOADS

    machine = scenario.twins / node
    text = f"""\
{_common(scenario, node)}
[sources]
sysfs = "{machine / "sys"}"
procfs = "{machine / "proc"}"

[report]
ledger_s = {LEDGER_S}

[control]
enabled = true
private_key = "{scenario.folder / (node + ".pem")}"
trust = "{scenario.folder / "trust.json"}"
root = "{scenario.folder / "root.pub"}"
fallback_w = {FALLBACK_W}
require_synchronised_clock = false  # issuer and node share one clock here
"""
    if node not in scenario.batch:
        return text
    jobs = '\n[jobs]\nenabled = true\nuser = "nobody"\nslots = 1\nmax_run_s = 900\n'
    jobs += f'work_dir = "{scenario.folder / "shared"}"  # what a run has saved lies where every node reads it\n'
    return text + jobs + "".join(_template(scenario, node, workload) for workload in WORKLOADS)


def _template(scenario: CleanScenario, node: str, workload: Workload) -> str:
    command = [
        scenario.python, "-I", "-S", str(scenario.program), "--guests", str(scenario.guests(node)),
        "--unit", workload.unit, "--units-per-s", f"{workload.units_per_s:g}", "--load", f"{workload.load:g}",
        "--sensitivity", f"{workload.sensitivity:g}", "--amount", "{amount}",
    ]  # fmt: skip
    words = ", ".join(f'"{word}"' for word in command)
    checkpoint = 'checkpoint = { signal = "SIGTERM", wait_s = 5 }\n' if workload.interruptible else ""
    return f"""
[[jobs.templates]]
name = "{workload.name}"
command = [{words}]
values = {{ amount = "[0-9]{{1,6}}" }}
interruptible = {str(workload.interruptible).lower()}
{checkpoint}reserve = 1.0  # a job has its machine for itself, and carries what that draws with nothing to do
"""


def collector(scenario: CleanScenario) -> str:
    """Return the settings of the collector. An hour of the grid is a slot of the plan."""
    hour_s = scenario.day.hour_s
    return f"""\
fleet = "demo"
state_dir = "{scenario.database.parent}"
models = "{scenario.models}"

[mqtt]
port = {scenario.broker_port}

[http]
port = {scenario.http_port}
tokens = "{scenario.tokens}"

[keys]
private_key = "{scenario.folder / "controller.pem"}"
trust = "{scenario.folder / "trust.json"}"
root = "{scenario.folder / "root.pub"}"

[log]
style = "json"

[[zones]]
name = "{ZONE}"
grid = "{GRID}"
pue = {PUE}
budget_w = {BUDGET_W}
slot_s = {hour_s}

[[grids]]
name = "{GRID}"
[[grids.sources]]
type = "file"
name = "made-up"
path = "{scenario.intensity}"
period_s = {max(1, hour_s // 2)}

[jobs]
enabled = true
slot = "{hour_s}s"
horizon = "{hour_s * HORIZON_HOURS}s"
replan_s = 5.0

[jobs.tuning]
enabled = true
explore_share = {EXPLORE_SHARE}
horizon = "10m"
warmup_s = 1.5

[jobs.policy]
version = "clean-hours"
control_share = 0.0  # of a dozen jobs none is run at once on purpose, to see what the decisions are worth
"""


def operator(scenario: CleanScenario) -> str:
    """Return a person's settings."""
    return f"""\
fleet = "demo"
zone = "{ZONE}"
private_key = "{scenario.folder / "operator.pem"}"
trust = "{scenario.folder / "trust.json"}"
root = "{scenario.folder / "root.pub"}"
collector_url = "{scenario.url}"
token_file = "{scenario.tokens}"

[mqtt]
port = {scenario.broker_port}
"""


def _common(scenario: CleanScenario, name: str) -> str:
    state = scenario.state_dir(name)
    return f"""\
fleet = "demo"
zone = "{ZONE}"
node = "{name}"
state_dir = "{state}"
runtime_dir = "{state}"

[mqtt]
port = {scenario.broker_port}

[log]
style = "json"
"""


MODELS: Final = f"""\
# Two variants of one model: what the service may run. Joules per request are measured here.
[[models]]
task = "{TASK}"
model = "{MODEL}"
variant = "large"
unit = "{UNIT}"
quality = {{ metric = "rouge-l", value = 0.44, source = "made up for the demo" }}

[[models]]
task = "{TASK}"
model = "{MODEL}"
variant = "small"
unit = "{UNIT}"
quality = {{ metric = "rouge-l", value = 0.40, source = "made up for the demo" }}
"""
