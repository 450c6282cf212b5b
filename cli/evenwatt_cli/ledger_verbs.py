"""Options of ``evenwatt ledger``; the work is in ``ledger``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads it at run time)
from typing import Annotated

import typer

ledger_app = typer.Typer(
    name="ledger",
    help="Look into a collector's database, move it, and bring corrected intensities into it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# typer reads annotations at run time, so the types of options are real objects here (Path).
Database = Annotated[
    str,
    typer.Option("--database", "-d", envvar="EVENWATT_DATABASE", help="A collector's file, or postgresql://HOST/NAME."),
]
DEFAULT = "/var/lib/evenwatt-collector/collector.db"
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@ledger_app.command()
def info(*, database: Database = DEFAULT, json: Json = False) -> None:
    """Say what a database holds, from when to when, and what is still to be rolled up."""
    from evenwatt_cli.ledger import show_info

    raise typer.Exit(show_info(database, as_json=json))


@ledger_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Written whole or not at all, e.g. ledger.jsonl.gz.")],
    *,
    database: Database = DEFAULT,
) -> None:
    """Write everything to one file, as of one moment; the collector may run meanwhile."""
    from evenwatt_cli.ledger import export_to

    raise typer.Exit(export_to(file, database))


@ledger_app.command(name="import")
def import_file(
    file: Annotated[Path, typer.Argument(help="What `evenwatt ledger export` wrote.")],
    *,
    database: Annotated[
        str, typer.Option("--database", "-d", help="New and empty: a file, or postgresql://HOST/NAME.")
    ],
) -> None:
    """Read an export into a new database; all of it or nothing."""
    from evenwatt_cli.ledger import import_from

    raise typer.Exit(import_from(file, database))


@ledger_app.command()
def rebuild(
    *,
    zone: Annotated[str, typer.Option(help="Whose nodes are asked.")],
    since: Annotated[str, typer.Option(help="From this moment on, e.g. 2026-01-15T17:00 or `3d ago`.")] = "",
    database: Database = DEFAULT,
) -> None:
    """Have nodes send again what they still keep, after a part of the database was lost; nothing counts twice."""
    from evenwatt_cli.ledger import ask_again

    raise typer.Exit(ask_again(zone, since, database))


@ledger_app.command()
def release(
    zone: Annotated[str, typer.Argument(help="Which zone.")],
    *,
    database: Annotated[str, typer.Option("--database", "-d", help="The one that the shards share.")],
) -> None:
    """Take a zone from a shard whose collectors are gone for good, so that another shard may have it."""
    from evenwatt_cli.ledger import release_zone

    raise typer.Exit(release_zone(zone, database))


@ledger_app.command()
def intensity(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet: start, g_per_kwh; see docs/intensity.md.")],
    *,
    grid: Annotated[str, typer.Option(help="Whose intensity it is.")],
    source: Annotated[str, typer.Option(help="Whose figures these are: the name of a source of the grid.")] = "file",
    marginal: Annotated[bool, typer.Option("--marginal", help="They are marginal, not average.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="They count direct emissions, not the life cycle.")] = False,
    unit: Annotated[str, typer.Option(help="g/kWh, kg/MWh or lb/MWh.")] = "g/kWh",
    database: Database = DEFAULT,
    json: Json = False,
) -> None:
    """Add intensities of the past, or corrections. What was known before stays, and so do reports as of then."""
    from evenwatt_cli.ledger import Figures, add_intensity

    figures = Figures(file=file, grid=grid, source=source, marginal=marginal, direct=direct, unit=unit)
    raise typer.Exit(add_intensity(figures, database, as_json=json))
