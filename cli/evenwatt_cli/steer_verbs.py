"""Options of signed orders to a node: ``evenwatt cap``, ``release``, ``pause``, ``resume``; the work is in ``steer``.

Each verb imports what it needs when it is called.
"""

from __future__ import annotations

from typing import Annotated

import typer

from evenwatt_cli.options import HELP, Config, DryRun, For, Json, Node, Reason, Zone

steer_app = typer.Typer(context_settings=HELP)


# Unknown options are let through so that -5 is read as watts, and refused as such.
@steer_app.command(context_settings={"ignore_unknown_options": True})
def cap(
    node: Node,
    watts: Annotated[float, typer.Argument(help="Cap on the node's total power.")],
    *,
    duration: For = "10m",
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Cap a node. It can only tighten what the controller allows, and it ends by itself."""
    from evenwatt_cli.steer import Order, steer

    order = Order("cap", node, zone, cap_w=watts, duration=duration, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))


@steer_app.command()
def release(
    node: Node,
    *,
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Give up your cap. If nobody else holds one, the node gets its own limits back."""
    from evenwatt_cli.steer import Order, steer

    order = Order("release", node, zone, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))


@steer_app.command()
def pause(
    node: Node,
    target: Annotated[str, typer.Argument(help="A name from the node's own list of what may be paused.")],
    *,
    duration: For = "10m",
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Pause work on a node that its owner has allowed to be paused."""
    from evenwatt_cli.steer import Order, steer

    order = Order("pause", node, zone, target=target, duration=duration, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))


@steer_app.command()
def resume(
    node: Node,
    target: Annotated[str, typer.Argument(help="What was paused.")],
    *,
    zone: Zone = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Resume paused work before its pause ends."""
    from evenwatt_cli.steer import Order, steer

    order = Order("resume", node, zone, target=target, reason=reason, dry_run=dry_run)
    raise typer.Exit(steer(order, as_json=json, config=config))
