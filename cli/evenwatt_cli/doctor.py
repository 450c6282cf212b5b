"""``evenwatt doctor``: is this node healthy, and if not, what exactly is to be done."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenwatt_agent.doctor import UNHEALTHY, Finding, Verdict, examine
from evenwatt_agent.settings import load
from evenwatt_cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

_STYLES = {Verdict.FOUND: "green", Verdict.ABSENT: "dim", Verdict.SKIPPED: "dim"}


def run_doctor(config: str | None, *, write_caps: bool, as_json: bool) -> Exit:
    """Print the findings; return DEGRADED if one of them needs a person.

    Raises:
        Failure: the agent's settings are wrong.
    """
    findings = examine(load(config), write_caps=write_caps)
    healthy = not any(finding.verdict in UNHEALTHY for finding in findings)
    if as_json:
        print(json.dumps({"healthy": healthy, "findings": [asdict(finding) for finding in findings]}))
    else:
        _print(findings, Console(highlight=False))
    return Exit.OK if healthy else Exit.DEGRADED


def _print(findings: Sequence[Finding], out: Console) -> None:
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        verdict = Text(finding.verdict.value, style=_STYLES.get(finding.verdict, "bold red"))
        table.add_row(finding.check, verdict, Text(finding.detail, overflow="fold"))
        if finding.fix:
            table.add_row("", "", Text(f"fix: {finding.fix}", style="yellow", overflow="fold"))
    out.print(table)
