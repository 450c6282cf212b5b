"""Options of ``evenwatt audit``; the work is in ``verify`` and ``show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

audit_app = typer.Typer(
    name="audit",
    help="Who asked what of which machine, what became of it, and whether the log of it is whole.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
Paths = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Argument(help="State folders or files of a log; default: those of this machine.", metavar="[PATH]..."),
]
StateDir = Annotated[
    Optional[list[Path]],  # noqa: UP045
    typer.Option("--state-dir", help="A state folder with a log in it; the same as naming it. Repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@audit_app.command()
def verify(
    paths: Paths = None,
    *,
    state_dir: StateDir = None,
    against: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(help="The collector's log, to hold the node's against it. Repeatable: every collector of a zone."),
    ] = None,
    json: Json = False,
) -> None:
    """Walk the chain of a log; exit code 4 names every entry that does not fit."""
    from evenwatt_cli.audit.verify import verify as verify_logs

    raise typer.Exit(verify_logs([*(paths or []), *(state_dir or [])], against or [], as_json=json))


@audit_app.command()
def show(
    paths: Paths = None,
    *,
    state_dir: StateDir = None,
    node: Annotated[Optional[str], typer.Option(help="Only what is about this node.")] = None,  # noqa: UP045
    since: Annotated[Optional[str], typer.Option(help="From then on: 14:02, '1h ago', or date and time.")] = None,  # noqa: UP045
    kind: Annotated[Optional[str], typer.Option(help="Only entries of this kind, such as command or ack.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """Print the entries of a log, the oldest first."""
    from evenwatt_cli.audit.show import show as show_entries

    raise typer.Exit(
        show_entries([*(paths or []), *(state_dir or [])], node=node, since=since, kind=kind, as_json=json)
    )
