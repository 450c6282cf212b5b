"""``evenwatt enroll``: a node joins a fleet; on the administrator's machine, ``serve`` and ``token``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from evenwatt_daemon import Failure

enroll_app = typer.Typer(name="enroll", help="Let this node join a fleet (or serve those that do).")

Trust = Annotated[Path, typer.Option("--trust", help="The fleet's trust document.")]
Socket = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--socket", help="Where serve and token meet; default: enroll.sock beside the trust document."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@enroll_app.callback(invoke_without_command=True)
def enroll(
    context: typer.Context,
    *,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--token-file", help="Read the token here: arguments can be seen by other users of this machine."),
    ] = None,
    token: Annotated[str | None, typer.Option("--token", help="The token; '-' reads it from standard input.")] = None,
    server: Annotated[Optional[str], typer.Option("--server", help="HOST:PORT instead of the token's own.")] = None,  # noqa: UP045
    config_dir: Annotated[Path, typer.Option("--config-dir", help="Where this node's settings and keys go.")] = Path(
        "/etc/evenwatt"
    ),
    user: Annotated[str, typer.Option("--user", help="Who runs the agent, and reads its key for TLS.")] = "evenwatt",
    replace: Annotated[
        bool, typer.Option("--replace", help="This machine is enrolled already: give it new keys.")
    ] = False,
    json: Json = False,
) -> None:
    """On a new node: make its keys here, and join the fleet whose administrator gave you a token.

    Control stays off until control.enabled is set in this node's own settings.
    """
    if context.invoked_subcommand is not None:
        return
    from evenwatt_cli.enrolment.running import enroll_node, read_token

    if (token is None) == (token_file is None):
        raise Failure("give the token that the administrator has made: --token TOKEN, --token - or --token-file FILE")
    raise typer.Exit(
        enroll_node(
            read_token(token, token_file),
            server=server,
            config_dir=config_dir,
            user=user,
            replace=replace,
            as_json=json,
        )
    )


@enroll_app.command()
def serve(
    *,
    root: Annotated[Path, typer.Option("--root", help="The root's private key; unlocked while this runs.")],
    trust: Trust,
    ca: Annotated[Path, typer.Option("--ca", help="Folder of the broker's authority (evenwatt broker init).")],
    broker: Annotated[str, typer.Option("--broker", help="HOST:PORT of the broker, as nodes call it.")],
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT to listen on.")] = "0.0.0.0:9731",
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="HOST or HOST:PORT by which nodes reach this; default: this host's name."),
    ] = None,
    passphrase_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--passphrase-file", help="Read the root's passphrase here instead of asking for it."),
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="How long the session is open, e.g. 1h, 30m.")] = "1h",
    socket: Socket = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Let in who has a token without asking; for automation that you trust.")
    ] = False,
) -> None:
    """Let nodes join for a while: ask for each whether its fingerprint is the one on its own screen."""
    from evenwatt_cli.enrolment.running import ServeOptions, serve_nodes
    from evenwatt_cli.keys.secrets import load_root
    from evenwatt_cli.keys.showing import span

    options = ServeOptions(
        root=load_root(root, passphrase_file),
        trust=trust,
        ca=ca,
        broker=broker,
        listen=listen,
        name=name,
        seconds=span(duration).total_seconds(),
        socket=socket or trust.parent / "enroll.sock",
        yes=yes,
    )
    raise typer.Exit(serve_nodes(options))


@enroll_app.command()
def token(
    node: Annotated[str, typer.Argument(help="Name of the node that will join.")],
    *,
    zone: Annotated[str, typer.Option("--zone", "-z", help="Its zone.")],
    trust: Trust = Path("trust.json"),
    socket: Socket = None,
    life: Annotated[str, typer.Option("--for", help="How long it may be used; at most 15m.")] = "15m",
    json: Json = False,
) -> None:
    """Print a single-use token for one node, while `evenwatt enroll serve` runs on this machine."""
    from evenwatt_cli.enrolment.running import ask_token
    from evenwatt_cli.keys.showing import span

    at = socket or trust.parent / "enroll.sock"
    raise typer.Exit(ask_token(at, node, zone, span(life).total_seconds(), as_json=json))
