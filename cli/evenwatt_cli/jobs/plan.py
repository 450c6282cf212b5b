"""``evenwatt plan``: the rolling plan over the intensity ahead, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.client import Client
from evenwatt_cli.jobs.timeline import legend, timeline
from evenwatt_collector.jobs.desk import PlanView
from evenwatt_collector.jobs.model import JobState
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path


def show_plan(*, hours: float | None, zones: list[str], limit: int, as_json: bool, config: Path | None) -> Exit:
    """Print the plan; DEGRADED if a job is late.

    Raises:
        Failure: the collector cannot be asked, or there is no such zone.
    """
    client = Client.of(config)
    plan = client.get("plan", PlanView)
    known = [place.zone for place in plan.places]
    unknown = next((zone for zone in zones if zone not in known), None)
    if unknown is not None:
        raise Failure(f"--zone {unknown!r}: the plan has {', '.join(known) or 'no zone yet'}")
    if zones:
        plan = msgspec.structs.replace(
            plan,
            places=[place for place in plan.places if place.zone in zones],
            jobs=[job for job in plan.jobs if any(piece.zone in zones for piece in job.pieces)],
        )
    if as_json:
        print(msgspec.json.encode(plan).decode())
    else:
        console = Console(highlight=False, markup=False, soft_wrap=True)
        plain = not (console.encoding or "").lower().startswith("utf")
        serving = client.serving(
            [(job.job, job.name) for job in plan.jobs if job.state is JobState.RUNNING and not job.pieces]
        )
        for line in timeline(plan, console.width, hours=hours, limit=limit, ascii_only=plain, serving=serving):
            console.print(line)
        if console.is_terminal and plan.places:
            console.print(legend(ascii_only=plain))
    return Exit.DEGRADED if any(job.late for job in plan.jobs) else Exit.OK
