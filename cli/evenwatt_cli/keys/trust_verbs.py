"""``evenwatt keys trust``: the document that says whose keys count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

trust_app = typer.Typer(name="trust", help="The document that says whose keys count.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The trust document.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Holder = Annotated[str, typer.Argument(help="Who: all keys of that name, older ones too. Or the id of one key.")]
Only = Annotated[bool, typer.Option("--only", help="This key alone, not those that it took over from.")]


@trust_app.command("init")
def init(
    file: File,
    *,
    fleet: Annotated[str, typer.Option(help="Name of the fleet.")],
    json: Json = False,
) -> None:
    """Begin a document without keys."""
    from evenwatt_cli.keys import document
    from evenwatt_cli.keys.showing import say_trust

    say_trust(file, document.begin(file, fleet), signed=False, as_json=json)


@trust_app.command()
def add(
    file: File,
    role: Annotated[str, typer.Argument(help="controller, operator or node.")],
    name: Annotated[str, typer.Argument(help="What the key is called; a node's is its node's name.")],
    *,
    key: Annotated[Path, typer.Option("--key", help="Its public half (.pub).")],
    zone: Annotated[Optional[str], typer.Option("--zone", "-z", help="Of a node: its zone.")] = None,  # noqa: UP045
    only_zone: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Of a controller or operator: a zone that it may command, if not all. Repeatable."),
    ] = None,
    only_node: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Likewise a single node. Repeatable."),
    ] = None,
    days: Annotated[Optional[float], typer.Option(min=0.01, help="How long it counts; default: no end.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """Add a key. Sign the document afterwards."""
    from evenwatt_cli.keys import document
    from evenwatt_cli.keys.files import load_public
    from evenwatt_cli.keys.showing import new_row, say_trust

    row = new_row(load_public(key), role, name, zone, (only_zone or [], only_node or []), days)
    with document.alone(file):
        trust, signed = document.read(file)
        changed = document.with_key(trust, row)
        say_trust(file, document.edit(file, changed, signed=signed), signed=False, as_json=json)


@trust_app.command()
def remove(file: File, name: Holder, *, only: Only = False, json: Json = False) -> None:
    """Take somebody's keys out. They could be added again; where one may have been stolen, revoke it."""
    from evenwatt_cli.keys import document
    from evenwatt_cli.keys.showing import say_gone

    with document.alone(file):
        trust, signed = document.read(file)
        gone = document.held_by(trust, name, only=only)
        changed = document.without_keys(trust, gone)
        say_gone(file, document.edit(file, changed, signed=signed), gone, "removed", as_json=json)


@trust_app.command()
def revoke(
    file: File,
    name: Holder,
    *,
    only: Only = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the document.")] = "",
    json: Json = False,
) -> None:
    """Let somebody's keys never count again. Sign the document afterwards, and put it on the collector."""
    from evenwatt_cli.keys import document
    from evenwatt_cli.keys.showing import say_gone

    with document.alone(file):
        trust, signed = document.read(file)
        gone = document.held_by(trust, name, only=only)
        changed = document.with_revoked(trust, gone, reason)
        say_gone(file, document.edit(file, changed, signed=signed), gone, "revoked", as_json=json)


@trust_app.command("list")
def list_keys(file: File, *, json: Json = False) -> None:
    """Show what a document says; whether its signature is good is asked by verify."""
    from evenwatt_cli.keys import document
    from evenwatt_cli.keys.showing import say_trust

    trust, signed = document.read(file)
    say_trust(file, trust, signed=signed, as_json=json, whole=True)


@trust_app.command()
def sign(
    file: File,
    *,
    root: Annotated[list[Path], typer.Option("--root", help="The root's private key; two while one takes over.")],
    passphrase_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--passphrase-file", help="Read the root's passphrase here instead of asking for it."),
    ] = None,
    days: Annotated[float, typer.Option(min=0.01, max=3660, help="How long it counts.")] = 365,
    json: Json = False,
) -> None:
    """Sign a document; one that is signed already becomes its next version, with a new end."""
    from evenwatt_cli.keys import document
    from evenwatt_cli.keys.secrets import load_root
    from evenwatt_cli.keys.showing import say_trust

    roots = [load_root(path, passphrase_file) for path in root]
    with document.alone(file):
        say_trust(file, document.sign(file, roots, days), signed=True, as_json=json)


@trust_app.command()
def verify(
    file: File,
    *,
    root: Annotated[Path, typer.Option("--root", help="The root's public key (.pub), as machines have pinned it.")],
    fleet: Annotated[Optional[str], typer.Option(help="Which fleet it must be for; default: its own.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """Check a document as a machine would; exit code 4 if it would be refused."""
    from evenwatt_cli.keys.showing import verify_file

    raise typer.Exit(verify_file(file, root, fleet, as_json=json))
