"""Options of ``evenwatt choose``, ``models`` and ``card``; the work is in the modules beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

_HELP = {"help_option_names": ["-h", "--help"]}
choice_app = typer.Typer(context_settings=_HELP)
models_app = typer.Typer(
    name="models",
    help="Show the variants of models and what they cost; import published figures.",
    context_settings=_HELP,
)

# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--config", "-c", help="Settings: $EVENWATT_CONFIG, else /etc/evenwatt/operator.toml if it is there."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@choice_app.command()
def choose(
    *,
    task: Annotated[str, typer.Option("--task", "-t", help="What is to be done, as in the registry of models.")],
    min_quality: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Quality that it must have; of metrics where less is better, the most that is allowed."),
    ] = None,
    max_latency: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Seconds that a unit may take."),
    ] = None,
    where: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--where", "-w", help="A zone, a node, or ZONE:NODE; default: everywhere. Repeatable."),
    ] = None,
    metric: Annotated[str, typer.Option(help="Which quality, where variants state several.")] = "",
    json: Json = False,
    config: Config = None,
) -> None:
    """Say which variant of a model, on which node, does a unit of a task for the least carbon now, and why.

    Exit codes: 0; 3 none meets the bounds, and it says which bound is missed by how much; 2 unknown task or wrong call;
    1 the collector cannot be asked.
    """
    from evenwatt_cli.models.choose import Bounds, show_choice

    bounds = Bounds(task, min_quality, max_latency, tuple(where or ()), metric)
    raise typer.Exit(show_choice(bounds, as_json=json, config=config))


@choice_app.command()
def card(
    model: Annotated[str, typer.Argument(help="A model with all its variants, or MODEL:VARIANT.")],
    *,
    start: Annotated[Optional[str], typer.Option("--from", help="Default: since the first record.")] = None,  # noqa: UP045
    end: Annotated[Optional[str], typer.Option("--to", help="Default: now.")] = None,  # noqa: UP045
    known_at: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="As known then: without later corrections and late energy."),
    ] = None,
    unit: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What uses are counted in; default: as its tasks of phase infer count them."),
    ] = None,
    expected_uses: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=1, help="Uses over its life, over which its making is shared; default: as the registry says."),
    ] = None,
    json: Json = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", help="Write to this file; JSON if its name ends in .json."),
    ] = None,
    database: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Read this database instead of asking the collector: a file or postgresql://..."),
    ] = None,
    registry: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="With --database: the registry of models (TOML)."),
    ] = None,
    config: Config = None,
) -> None:
    """Print a model's carbon to date, by phase and per thousand uses, as Markdown for its model card, or as JSON.

    Exit code 3 if less than 80 % of its energy is metered.
    """
    from evenwatt_cli.models.card import CardOptions, show_card

    options = CardOptions(
        model=model,
        start=start,
        end=end,
        known_at=known_at,
        unit=unit,
        expected_uses=expected_uses,
        as_json=json,
        out=out,
        database=database,
        registry=registry,
        config=config,
    )
    raise typer.Exit(show_card(options))


@models_app.callback(invoke_without_command=True)
def models(
    context: typer.Context,
    *,
    task: Annotated[Optional[str], typer.Option("--task", "-t", help="Only variants that do this.")] = None,  # noqa: UP045
    json: Json = False,
    config: Config = None,
) -> None:
    """Show the variants of models and what they cost; import published figures."""
    if context.invoked_subcommand is None:
        from evenwatt_cli.models.listing import show_models

        raise typer.Exit(show_models(task, as_json=json, config=config))


@models_app.command(name="import")
def import_table(
    file: Annotated[Path, typer.Argument(help="CSV or JSON; columns in docs/models.md.")],
    *,
    source: Annotated[
        str, typer.Option(help="Whose figures these are, with a date; a later import of the same source replaces it.")
    ],
    database: Annotated[
        str,
        typer.Option(
            "--database", "-d", envvar="EVENWATT_DATABASE", help="A collector's file, or postgresql://HOST/NAME."
        ),
    ] = "/var/lib/evenwatt-collector/collector.db",
    json: Json = False,
) -> None:
    """Add a published table of variants. It is marked as published, and counts only where nothing was measured here."""
    from evenwatt_cli.models.importing import import_models

    raise typer.Exit(import_models(file, source, database, as_json=json))
