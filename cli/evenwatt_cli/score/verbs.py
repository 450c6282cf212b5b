"""Options of ``evenwatt score`` and ``improvement``; the work is in the modules beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

_HELP = {"help_option_names": ["-h", "--help"]}


class _ShowFirst(TyperGroup):
    """A group whose first command need not be named: ``evenwatt score resnet`` is ``evenwatt score show resnet``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in ``show`` where no command is named."""
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else ["show", *args])


score_app = typer.Typer(
    name="score",
    cls=_ShowFirst,
    help="Score work per unit, against a frozen baseline. `evenwatt score NAME` is `evenwatt score show NAME`.",
    context_settings=_HELP,
)
improvement_app = typer.Typer(context_settings=_HELP)

# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--config", "-c", help="Settings: $EVENWATT_CONFIG, else /etc/evenwatt/operator.toml if it is there."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Start = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--from", help="2026-11-01, 2026-11-01T12:00+01:00, yesterday, 'last week', '7d ago', ..."),
]
End = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--to", help="End, not included; default: now, or the end of the period that --from names."),
]
Zone = Annotated[Optional[str], typer.Option("--tz", help="Time zone of days; default: this machine's.")]  # noqa: UP045
Per = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--per", help="Unit of work, as tasks report it; default: the baseline's, else the only one."),
]
By = Annotated[str, typer.Option("--by", help="workload or model.")]
Fleet = Annotated[bool, typer.Option("--fleet", help="The fleet as a whole, idle and nameless work included.")]
Database = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Read this database instead of asking the collector: a file or postgresql://..."),
]


@score_app.command()
def show(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="A workload (or model), a class, or a pattern; default: all."),
    ] = None,
    *,
    by: By = "workload",
    fleet: Fleet = False,
    start: Start = None,
    end: End = None,
    tz: Zone = None,
    per: Per = None,
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Show scores: grams per unit with their range and boundary, the grade against a baseline, and what made it so.

    `evenwatt score NAME` is `evenwatt score show NAME`. `evenwatt score freeze CLASS` makes a baseline.

    Exit codes: 0; 3 what was asked for by name has no score or no grade; 2 wrong call, or no such work; 1 the collector
    or the database cannot be read.
    """
    from evenwatt_cli.score.asking import Asked
    from evenwatt_cli.score.score import show_scores

    asked = Asked(name=name, by=by, fleet=fleet, start=start, end=end, timezone=tz, per=per)
    raise typer.Exit(show_scores(asked, as_json=json, database=database, config=config))


@score_app.command()
def freeze(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="Class of work; `fleet` with --fleet.")] = "fleet",
    *,
    pattern: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--match", help="Names that belong to the class, e.g. 'nightly-*'; default: its own name."),
    ] = None,
    by: By = "workload",
    fleet: Fleet = False,
    start: Start = None,
    end: End = None,
    tz: Zone = None,
    per: Per = None,
    json: Json = False,
    database: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--database",
            "-d",
            envvar="EVENWATT_DATABASE",
            help="The collector's: a file, or postgresql://HOST/NAME; default: as in /etc/evenwatt/collector.toml.",
        ),
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also of less than a day, or metered below 80 %: marked as provisional.")
    ] = False,
    config: Config = None,
) -> None:
    """Freeze what a class of work emits per unit as the next version of its baseline. Old versions stay.

    It writes to the collector's database, so it runs beside the collector, or with --database.

    Exit codes: 0; 2 wrong call, no such database, or nothing to freeze; 1 the database cannot be written.
    """
    from evenwatt_cli.score.asking import Asked
    from evenwatt_cli.score.score import freeze_baseline

    asked = Asked(name=name, by=by, fleet=fleet, start=start, end=end, timezone=tz, per=per)
    raise typer.Exit(freeze_baseline(asked, pattern, as_json=json, database=database, config=config, anyway=anyway))


@improvement_app.command()
def improvement(
    *,
    weeks: Annotated[int, typer.Option(min=1, max=520, help="ISO weeks, in UTC, the one under way included.")] = 8,
    workload: Annotated[Optional[str], typer.Option("--workload", "-w", help="Only this one.")] = None,  # noqa: UP045
    by: Annotated[Optional[str], typer.Option("--by", help="workload: each of them beside the whole.")] = None,  # noqa: UP045
    json: Json = False,
    database: Database = None,
    config: Config = None,
) -> None:
    """Show week by week what was saved against running at once, at home, at full power, and how predictions did.

    Exit codes: 0; 3 a policy was rolled back, or no job has ended; 2 wrong call; 1 the collector or the database cannot
    be read.
    """
    from evenwatt_cli.score.improvement import show_improvement

    raise typer.Exit(show_improvement(weeks, workload, by, as_json=json, database=database, config=config))
