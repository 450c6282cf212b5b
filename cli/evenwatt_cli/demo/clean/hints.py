"""How to look at the scenario from another terminal, and what one may submit to it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_cli.demo.clean.scenario import WORKLOADS

if TYPE_CHECKING:
    from evenwatt_cli.demo.clean.scenario import CleanScenario


def at_start(scenario: CleanScenario) -> str:
    """Return what can be looked at while it runs, and each template with its value."""
    config = scenario.settings("operator")
    looks = [f"  {_evenwatt()} {verb} -c {config}" for verb in ("status", "jobs", "plan")]
    kinds = [
        f"  {each.name}: values.amount = {each.unit}, {each.units_per_s:g} a second at full power, "
        f"{'may be interrupted' if each.interruptible else 'in one piece'}"
        for each in WORKLOADS
    ]
    submit = f"  {_evenwatt()} submit {scenario.folder}/job-NAME.json -c {config}"
    return "\n".join(
        ["demo: look at it from another terminal:", *looks, "demo: templates that one can submit:", *kinds,
         f"demo: the demo's own jobs are files that can be submitted again, once they are there:\n{submit}"]
    )  # fmt: skip


def at_end(scenario: CleanScenario) -> str:
    """Return where everything is, and how to have a report of it when nothing runs any more."""
    settings = f"-c {scenario.settings('operator')} --database {scenario.database}"
    return (
        f"demo: logs, settings and database are in {scenario.folder}; a report of them:\n"
        f"  {_evenwatt()} report --by workload {settings}"
    )


def _evenwatt() -> str:
    """Return how this command is called."""
    beside = Path(sys.executable).with_name("evenwatt")
    return str(beside) if beside.exists() else "evenwatt"
