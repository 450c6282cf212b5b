"""``evenwatt doctor``: is this node (or an operator's way to the fleet) healthy, and if not, what is to be done."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evenwatt_agent.broker_check import check_connection, check_secrets
from evenwatt_agent.doctor import UNHEALTHY, Finding, Verdict, examine
from evenwatt_agent.settings import load
from evenwatt_agent.transport import LinkLostError
from evenwatt_cli import operator_settings, progress
from evenwatt_cli.exits import Exit
from evenwatt_cli.steer import Order, ask
from evenwatt_daemon import Failure
from evenwatt_wire.command import Code
from evenwatt_wire.topics import CONTROLLER_NODE, TopicError, check_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_STYLES = {Verdict.FOUND: "green", Verdict.ABSENT: "dim", Verdict.SKIPPED: "dim"}


def run_doctor(config: str | None, *, write_caps: bool, as_json: bool) -> Exit:
    """Print the findings; return DEGRADED if one of them needs a person.

    Raises:
        Failure: the agent's settings are wrong.
    """
    settings = load(config)
    with progress.waiting("examining this node"):
        findings = examine(settings, write_caps=write_caps)
    return _report(findings, as_json=as_json)


def run_broker_doctor(config: Path | None, *, zone: str | None, node: str | None, as_json: bool) -> Exit:
    """Examine an operator's way to the broker, to the collector and, with a name, to a node.

    Raises:
        Failure: the operator's settings are wrong.
    """
    settings = operator_settings.load(config)
    try:
        place = check_id(zone or settings.zone, "zone")
    except TopicError as error:
        raise Failure(str(error)) from None
    with progress.waiting("asking the broker and the collector"):
        findings = check_connection(settings.mqtt, place, CONTROLLER_NODE, collector=True)
        findings.append(check_secrets([settings.mqtt.key_file, settings.mqtt.password_file, settings.private_key]))
        if node is not None:
            findings.append(_ping(settings, place, node))
    return _report(findings, as_json=as_json)


def _ping(settings: operator_settings.OperatorSettings, zone: str, node: str) -> Finding:
    """Send a node a signed command that does nothing, and verify its signed answer."""
    began_s = time.monotonic()
    try:
        ack = ask(Order("ping", node, zone), settings)
    except LinkLostError as error:
        return Finding(node, Verdict.BROKEN, str(error), "see broker above")
    except TimeoutError:
        fix = f"is it running with control enabled, and is {zone!r} its zone? its rights: evenwatt broker acl --reload"
        return Finding(node, Verdict.BROKEN, "does not answer a signed ping", fix)
    passed_ms = (time.monotonic() - began_s) * 1e3
    if ack.code != Code.ACCEPTED:
        return Finding(node, Verdict.DENIED, f"answers: {ack.code}, {ack.detail}", "see docs/commands.md for the check")
    return Finding(node, Verdict.FOUND, f"answered a signed ping in {passed_ms:.0f} ms")


def _report(findings: Sequence[Finding], *, as_json: bool) -> Exit:
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
