"""``evenwatt keys``: make keys, and say in a signed document which ones count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from evenwatt_cli.keys.trust_verbs import trust_app

keys_app = typer.Typer(
    name="keys", help="Make keys, and say in a signed document which ones count.", no_args_is_help=True
)
keys_app.add_typer(trust_app)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
PassphraseFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--passphrase-file", help="Read the root's passphrase here instead of asking for it."),
]


@keys_app.command()
def root(
    path: Annotated[Path, typer.Argument(help="Where to write it; its public half goes beside it (.pub).")] = Path(
        "root.pem"
    ),
    *,
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Do not encrypt it; for tests only.")] = False,
    json: Json = False,
) -> None:
    """Make the fleet's root key. Keep it offline: it signs the trust document and nothing else."""
    from evenwatt_cli.keys.files import new_key
    from evenwatt_cli.keys.secrets import new_passphrase
    from evenwatt_cli.keys.showing import say_key

    passphrase = None if no_passphrase else new_passphrase(passphrase_file)
    say_key(path, new_key(path, passphrase), as_json=json)


@keys_app.command()
def new(
    role: Annotated[str, typer.Argument(help="controller, operator or node.")],
    name: Annotated[str, typer.Argument(help="What it is called; a node's is its node's name.")],
    *,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="Where to write it; default: NAME.pem.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """Make a key on the machine that will use it. Only its public half (.pub) ever leaves it."""
    from evenwatt_cli.keys.files import new_key
    from evenwatt_cli.keys.showing import role_of, say_key

    role_of(role)
    path = out or Path(f"{name}.pem")
    say_key(path, new_key(path), as_json=json)


@keys_app.command()
def show(
    files: Annotated[list[Path], typer.Argument(help="Private keys, public keys (.pub) or trust documents.")],
    *,
    json: Json = False,
) -> None:
    """Show fingerprints, for two people to compare by voice."""
    from evenwatt_cli.keys.showing import show_files

    show_files(files, as_json=json)


@keys_app.command()
def rotate(
    file: Annotated[Path, typer.Argument(help="The trust document.")],
    name: Annotated[str, typer.Argument(help="Whose key.")],
    key: Annotated[Path, typer.Option("--key", help="The new public key (.pub), made by `evenwatt keys new`.")],
    *,
    overlap: Annotated[str, typer.Option(help="How long the old key still counts, e.g. 14d, 12h.")] = "14d",
    json: Json = False,
) -> None:
    """Let a new key take over from an old one; both count for a while. Sign the document afterwards."""
    from evenwatt_cli.keys import document
    from evenwatt_cli.keys.files import load_public
    from evenwatt_cli.keys.showing import say_trust, span

    with document.alone(file):
        trust, signed = document.read(file)
        changed = document.with_successor(trust, name, load_public(key), span(overlap))
        say_trust(file, document.edit(file, changed, signed=signed), signed=False, as_json=json)
