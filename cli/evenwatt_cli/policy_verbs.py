"""Options of ``evenwatt policy``; the work is in ``policy`` and ``override``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

POLICY = "/etc/evenwatt/policy.toml"

policy_app = typer.Typer(
    name="policy",
    help="Check the policy file, and tighten limits for a while.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--config", "-c", help="Settings: $EVENWATT_CONFIG, else /etc/evenwatt/operator.toml if it is there."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@policy_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The policy.")] = Path(POLICY),
    *,
    at: Annotated[Optional[str], typer.Option(help="What would hold then: 17:00, or with date and offset.")] = None,  # noqa: UP045
    nodes: Annotated[bool, typer.Option("--nodes", help="Hold it against the nodes that the collector knows.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Say everything that is wrong with a policy, or what it makes hold."""
    from evenwatt_cli.policy import check_policy

    raise typer.Exit(check_policy(file, at=at, with_nodes=nodes, as_json=json, config=config))


@policy_app.command()
def override(
    name: Annotated[str, typer.Argument(help="A zone of the policy, or a node.")],
    *,
    budget: Annotated[Optional[float], typer.Option(min=0, help="Limit of the zone in watts.")] = None,  # noqa: UP045
    cap: Annotated[Optional[float], typer.Option(min=0, help="Cap of the node in watts.")] = None,  # noqa: UP045
    pause: Annotated[bool, typer.Option("--pause", help="Pause what the node's owner lets be paused.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End it now.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")] = False,
    duration: Annotated[str, typer.Option("--for", help="How long, e.g. 30m or 2h; it ends by itself.")] = "30m",
    reason: Annotated[str, typer.Option("--reason", help="Why; kept and shown.")] = "",
    zone: Annotated[Optional[str], typer.Option("--zone", "-z", help="Zone of the node; default: settings.")] = None,  # noqa: UP045
    json: Json = False,
    config: Config = None,
) -> None:
    """Tighten a zone's limit, cap or pause a node for a while, a day at the most. It can never loosen anything."""
    from evenwatt_cli.override import Wanted, override_limit

    wanted = Wanted(name, budget, cap, pause, cancel, dry_run, duration, reason, zone)
    raise typer.Exit(override_limit(wanted, as_json=json, config=config))
