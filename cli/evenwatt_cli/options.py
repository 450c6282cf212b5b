"""Options that several verbs have, and how each of them is asked for help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Optional

import typer

from evenwatt_cli import completing

HELP: Final = {"help_option_names": ["-h", "--help"]}

# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--config",
        "-c",
        help="Settings: $EVENWATT_CONFIG, else operator.toml in ~/.config/evenwatt, ~/.evenwatt or /etc/evenwatt.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Zone = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--zone", "-z", help="Zone of the node; default from the settings.", autocompletion=completing.zone),
]
Node = Annotated[str, typer.Argument(help="The node, by its name.", autocompletion=completing.node)]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the command.")]
For = Annotated[str, typer.Option("--for", help="How long, e.g. 90s, 10m, 2h; it ends by itself.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Let the node check everything, and do nothing.")]
