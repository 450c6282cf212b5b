"""Where a passphrase comes from: a file, or the person at the terminal."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

from evenwatt_cli.keys.files import is_encrypted, load_key
from evenwatt_daemon import Failure
from evenwatt_daemon.files import read_private

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_LEAST = 12


def new_passphrase(file: Path | None) -> bytes:
    """Return the passphrase of a key that is to be made, asked for twice.

    Raises:
        Failure: it is too short, was typed in two ways, or there is nobody to ask.
    """
    if file is not None:
        return _checked(read_private(file).rstrip(b"\n"), str(file))
    first = _ask("Passphrase for the new root key: ")
    if _ask("Once more: ") != first:
        raise Failure("the two passphrases differ; nothing was made")
    return _checked(first, "the passphrase")


def load_root(path: Path, file: Path | None) -> Ed25519PrivateKey:
    """Read a root key, asking for its passphrase if it has one.

    Raises:
        Failure: as for any key.
    """
    if not is_encrypted(path):
        return load_key(path)
    return load_key(path, read_private(file).rstrip(b"\n") if file is not None else _ask(f"Passphrase of {path}: "))


def _ask(prompt: str) -> bytes:
    if not sys.stdin.isatty():
        raise Failure("there is no terminal to ask for a passphrase; give --passphrase-file")
    return getpass.getpass(prompt).encode()


def _checked(passphrase: bytes, where: str) -> bytes:
    if len(passphrase) < _LEAST:
        raise Failure(f"{where}: {len(passphrase)} characters; a root's passphrase has at least {_LEAST}")
    return passphrase
