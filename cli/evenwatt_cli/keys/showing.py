"""What the verbs on keys say, and how their arguments are read."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from evenwatt_cli.exits import Exit
from evenwatt_cli.keys import document
from evenwatt_cli.keys.files import load_public, public_path, raw_public
from evenwatt_daemon import Failure, read_document
from evenwatt_daemon.settings import parse_document
from evenwatt_wire import Key, Role, Trust, TrustError, open_trust
from evenwatt_wire.keyring import fingerprint, key_id
from evenwatt_wire.trust import read_roots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


def role_of(text: str) -> Role:
    """Read a role.

    Raises:
        Failure: it is none.
    """
    try:
        return Role(text)
    except ValueError:
        raise Failure(f"{text!r} is not a role; expected {', '.join(Role)}") from None


def span(text: str) -> timedelta:
    """Read a length of time such as ``14d`` or ``12h``.

    Raises:
        Failure: it is none.
    """
    match = re.fullmatch(r"(\d{1,4}(?:\.\d+)?)([mhd])", text.strip())
    if match is None:
        raise Failure(f"{text!r} is not a length of time; write for example 14d or 12h")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


def new_row(
    public: bytes, role: str, name: str, zone: str | None, only: tuple[list[str], list[str]], days: float | None
) -> Key:
    """Return a key's row in the document.

    Raises:
        Failure: the role is unknown.
    """
    kind = role_of(role)
    return Key(
        public.hex(),
        kind,
        name=name,
        node=name if kind is Role.NODE else None,
        zone=zone,
        not_after=None if days is None else document.now() + timedelta(days=days),
        zones=only[0],
        nodes=only[1],
    )


def say_key(path: Path, private: Ed25519PrivateKey, *, as_json: bool) -> None:
    """Say where a new key is, and its fingerprint."""
    public = raw_public(private)
    if as_json:
        _print({"private": str(path), "public": str(public_path(path)), **_identity(public)})
        return
    print(f"private key  {path} (mode 600; it never leaves this machine)\npublic key   {public_path(path)}")
    print(f"fingerprint  {fingerprint(public)}")


def show_files(files: Sequence[Path], *, as_json: bool) -> None:
    """Show the fingerprints of what is in files."""
    rows = [row for path in files for row in _rows_of(path)]
    if as_json:
        _print({"keys": rows})
        return
    for row in rows:
        print(f"{row['file']}{' ' + row['name'] if row.get('name') else ''}\n  {row['fingerprint']}")


def say_trust(path: Path, trust: Trust, *, signed: bool, as_json: bool, whole: bool = False) -> None:
    """Say what a document holds now, in short or key by key."""
    if as_json:
        _print({"file": str(path), "signed": signed, **msgspec.to_builtins(trust)})
        return
    state = "signed" if signed else f"NOT SIGNED: evenwatt keys trust sign {path} --root ROOT.pem"
    print(f"{path}: fleet {trust.fleet}, version {trust.version}, until {trust.expires:%Y-%m-%d}; {state}")
    counts = ", ".join(f"{sum(key.role is role for key in trust.keys)} {role}" for role in Role)
    print(f"keys: {counts}; revoked: {len(trust.revoked)}")
    for key in trust.keys if whole else []:
        print(f"  {key.id.hex()}  {key.role:<10}  {key.name}{_limits(key)}")
    for row in trust.revoked if whole else []:
        print(f"  {row.id}  revoked     {row.name} on {row.at:%Y-%m-%d}{f': {row.reason}' if row.reason else ''}")


def say_gone(path: Path, trust: Trust, gone: Sequence[Key], word: str, *, as_json: bool) -> None:
    """Say which keys were taken out, and what the document holds now; it is not signed yet."""
    for key in gone if not as_json else []:
        print(f"{word}: {key.id.hex()}  {key.role}  {key.name}")
    say_trust(path, trust, signed=False, as_json=as_json)


def verify_file(path: Path, root: Path, fleet: str | None, *, as_json: bool) -> Exit:
    """Check a document as a machine would, and say why it would be refused."""
    roots = parse_document(root, read_roots)
    raw = read_document(path)
    try:
        trust = open_trust(raw, roots, fleet if fleet is not None else document.read(path)[0].fleet)
    except TrustError as error:
        if as_json:
            _print({"file": str(path), "good": False, "code": error.code, "why": str(error)})
        else:
            print(f"{path}: {error}")
        return Exit.REJECTED
    expired = trust.expires <= document.now()
    if as_json:
        _print({"file": str(path), "good": not expired, "version": trust.version, "expires": trust.expires.isoformat()})
    else:
        ended = f"has ended on {trust.expires:%Y-%m-%d}" if expired else f"until {trust.expires:%Y-%m-%d}"
        print(f"{path}: good signature, fleet {trust.fleet}, version {trust.version}, {ended}")
    return Exit.REJECTED if expired else Exit.OK


def _rows_of(path: Path) -> list[dict[str, Any]]:
    if not read_document(path).lstrip().startswith(b"{"):
        return [{"file": str(path), **_identity(load_public(path))}]
    trust, _ = document.read(path)
    return [{"file": str(path), "name": key.name, **_identity(bytes.fromhex(key.public))} for key in trust.keys]


def _identity(public: bytes) -> dict[str, str]:
    return {"id": key_id(public).hex(), "fingerprint": fingerprint(public)}


def _limits(key: Key) -> str:
    words = [f"of zone {key.zone}"] if key.zone else []
    words += [f"only {', '.join([*key.zones, *key.nodes])}"] if key.limited else []
    words += [f"from {key.not_before:%Y-%m-%d %H:%M}"] if key.not_before else []
    words += [f"until {key.not_after:%Y-%m-%d %H:%M}"] if key.not_after else []
    return f" ({', '.join(words)})" if words else ""


def _print(value: object) -> None:
    print(json.dumps(value))
