"""Options of ``evenwatt report``; the work is in ``report``.

Each verb imports what it needs when it is called.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads it at run time)
from typing import Annotated, Optional

import typer

from evenwatt_cli import completing
from evenwatt_cli.options import HELP, Config, Json

report_app = typer.Typer(context_settings=HELP)


@report_app.command()
def report(
    *,
    by: Annotated[str, typer.Option(help="zone, node, workload, model, phase, team or task.")] = "zone",
    start: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", help="2026-11-01, 2026-11-01T12:00+01:00, yesterday, 'last week', '7d ago', ..."),
    ] = None,
    end: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--to", help="End, not included; default: now, or the end of the period that --from names."),
    ] = None,
    tz: Annotated[
        str | None, typer.Option(help="Time zone of days, e.g. Europe/Berlin; default: this machine's.")
    ] = None,
    known_at: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="As known then: without later corrections and late energy."),
    ] = None,
    zone: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--zone", "-z", help="Only this zone.", autocompletion=completing.zone),
    ] = None,
    node: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Only this node.", autocompletion=completing.node),
    ] = None,
    workload: Annotated[Optional[str], typer.Option("--workload", "-w", help="Only this workload.")] = None,  # noqa: UP045
    form: Annotated[
        str, typer.Option("--format", "-f", help="table, json, csv, parquet, html or codecarbon.")
    ] = "table",
    json: Json = False,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="Write to this file.")] = None,  # noqa: UP045
    per: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="SCI per this unit, as tasks report it: request, token, epoch, sample, image."),
    ] = None,
    per_count: Annotated[
        float | None, typer.Option(help="How many units were done, if tasks do not report it.")
    ] = None,
    sci_intensity: Annotated[str, typer.Option(help="I of SCI: average or marginal.")] = "average",
    compare: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Beside another period: previous, 'last week', 2026-10-01..2026-11-01."),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="Show energy above idle beside the whole.")] = False,
    database: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Read this database instead of asking the collector: a file or postgresql://..."),
    ] = None,
    config: Config = None,
) -> None:
    """Report energy and emissions of a period, with sources, coverage and ranges; default: the last 7 days.

    Exit code 3 if less than 80 % of the period is metered, or if a score or comparison cannot be given.
    """
    from evenwatt_cli.report import Options, show_report

    options = Options(
        by=by,
        start=start,
        end=end,
        timezone=tz,
        known_at=known_at,
        zone=zone,
        node=node,
        workload=workload,
        format="json" if json else form,
        out=out,
        per=per,
        per_count=per_count,
        sci_intensity=sci_intensity,
        compare=compare,
        dynamic=dynamic,
        config=config,
        database=database,
    )
    raise typer.Exit(show_report(options))
