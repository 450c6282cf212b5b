"""Options of ``evenwatt advise``; the work is in ``advise``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads it at run time)
from typing import Annotated, Optional

import typer

advise_app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
@advise_app.command(context_settings={"allow_interspersed_args": False})
def advise(
    command: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="With --sleep: what to run when it is time, after `--`.", metavar="[-- CMD...]"),
    ] = None,
    *,
    length: Annotated[str, typer.Option("--length", "-l", help="How long the work takes: 45m, 2h, 1h30m.")],
    deadline: Annotated[
        str, typer.Option("--deadline", "-d", help="When it has to be done: +8h, 07:00, or 2026-11-28T06:00Z.")
    ],
    earliest: Annotated[Optional[str], typer.Option(help="Not before: +1h, or a moment.")] = None,  # noqa: UP045
    interruptible: Annotated[bool, typer.Option("--interruptible", help="It may be paused and resumed.")] = False,
    zones: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--zones", "-z", help="Where it may run, e.g. a,b; default: the zone in the settings."),
    ] = None,
    power_w: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--power", min=0.001, help="Watts that it adds; default: as learned, or assumed."),
    ] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="What it is; what is learned is learned by name.")] = (
        "advise"
    ),
    since: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Count +8h from when this file was written, not from now; it is made if there is none."),
    ] = None,
    every: Annotated[str, typer.Option("--every", help="How often it is asked, here or by your loop.")] = "5m",
    sleep: Annotated[bool, typer.Option("--sleep", help="Wait until it is time, then run the command.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
    at_exit: Annotated[bool, typer.Option("--at-exit", help="Print nothing: the exit code is the answer.")] = False,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config", "-c", help="Settings: $EVENWATT_CONFIG, else /etc/evenwatt/operator.toml if it is there."
        ),
    ] = None,
) -> None:
    """Say whether work that can wait should start now. Exit code 0: start now; 10: wait.

    Without advice the answer is to start, since work comes first, and never later than the deadline allows. Grams are
    expected ones, from a forecast.
    """
    from evenwatt_cli.advise import AdviseOptions
    from evenwatt_cli.advise import advise as give_advice

    options = AdviseOptions(
        length=length,
        deadline=deadline,
        earliest=earliest,
        interruptible=interruptible,
        zones=zones,
        power_w=power_w,
        name=name,
        since=since,
        every=every,
        sleep=sleep,
        command=command or [],
        as_json=json,
        at_exit=at_exit,
        config=config,
    )
    raise typer.Exit(give_advice(options))
