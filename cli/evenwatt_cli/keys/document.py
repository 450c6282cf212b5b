"""Changes to a trust document on its administrator's machine. A change leaves it unsigned until it is signed again."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from evenwatt_daemon import Failure, lock_folder, read_document
from evenwatt_daemon.files import write_file
from evenwatt_wire import Key, Revocation, Role, Trust, TrustError, sign_trust, write_trust
from evenwatt_wire.trust import check_trust, parse_trust, split_trust

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DAYS = 365
"""How long a document counts, if nothing else is said."""
_DRAFT = timedelta(days=DAYS)
_FORMER = re.compile(r"(-until-\d{8}-[0-9a-f]{4})+")
"""What a rotation appends to the name of the old key."""


def now() -> datetime:
    """Now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def read(path: Path) -> tuple[Trust, bool]:
    """Return what a document says and whether it carries signatures; they are not verified here.

    Raises:
        Failure: it is not a trust document.
    """
    try:
        signatures, body = split_trust(read_document(path))
        return parse_trust(body), bool(signatures)
    except TrustError as error:
        raise Failure(f"{path}: {error}") from None


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let nobody else change documents in this folder meanwhile.

    Raises:
        Failure: somebody does.
    """
    lock = lock_folder(path.parent.resolve(), "another evenwatt command changes a trust document here; try again")
    try:
        yield
    finally:
        os.close(lock)


def begin(path: Path, fleet: str) -> Trust:
    """Write a new document without keys.

    Raises:
        Failure: there is one already, or the name does not do.
    """
    if path.exists():
        raise Failure(f"{path}: there is a file already; add keys to it, or name another")
    return _write(path, Trust(fleet, 1, now(), now() + _DRAFT, []))


def edit(path: Path, trust: Trust, *, signed: bool) -> Trust:
    """Write a changed document, not signed yet; a signed one is followed by the next version.

    Raises:
        Failure: the change contradicts what is in it.
    """
    return _write(path, replace(trust, version=trust.version + 1) if signed else trust)


def with_key(trust: Trust, key: Key) -> Trust:
    """Return the document with one more key.

    Raises:
        Failure: another one has its name.
    """
    if any(known.name == key.name for known in trust.keys):
        raise Failure(f"a key is called {key.name!r} already; choose another name, or `evenwatt keys rotate`")
    if key.id in trust.revoked_ids:
        raise Failure(f"key {key.id.hex()} has been revoked; make a new one")
    return replace(trust, keys=[*trust.keys, key])


def without_keys(trust: Trust, gone: Sequence[Key]) -> Trust:
    """Return the document without some keys; their holder can be added again."""
    return replace(trust, keys=[key for key in trust.keys if key not in gone])


def with_revoked(trust: Trust, gone: Sequence[Key], reason: str) -> Trust:
    """Return the document in which some keys never count again."""
    rows = [Revocation(key.id.hex(), now(), key.name, reason) for key in gone]
    return replace(without_keys(trust, gone), revoked=[*trust.revoked, *rows])


def held_by(trust: Trust, name: str, *, only: bool = False) -> list[Key]:
    """Return every key of who has a name: the present one, and those that still count after a rotation.

    An id, the name of an older key, or ``only`` means one key alone.

    Raises:
        Failure: there is none, or several have the id.
    """
    present = [key for key in trust.keys if key.name == name]
    former = [key for key in trust.keys if key.name.startswith(name) and _FORMER.fullmatch(key.name[len(name) :])]
    roles = {key.role for key in present or former}
    held = [*present, *(key for key in former if key.role in roles)]
    return [find(trust, name)] if only or not held else held


def with_successor(trust: Trust, name: str, public: bytes, overlap: timedelta) -> Trust:
    """Return the document in which a new key takes over from an old one, which counts for the overlap.

    The old one gets a name with its id, so that the new one has the old name.
    """
    old = find(trust, name)
    ends = now() + overlap
    if old.not_after is not None and old.not_after < ends:
        ends = old.not_after
    former = replace(old, name=f"{old.name}-until-{ends:%Y%m%d}-{old.id.hex()[:4]}", not_after=ends)
    fresh = replace(old, public=public.hex(), not_before=None, not_after=None)
    rest = [former if key is old else key for key in trust.keys]
    return replace(trust, keys=[*rest, fresh])


def find(trust: Trust, name: str) -> Key:
    """Return the key with a name or an id (or its beginning, from four digits on).

    Raises:
        Failure: there is none, or several.
    """
    digits = name.replace(" ", "").lower()
    found = [key for key in trust.keys if key.name == name] or [
        key for key in trust.keys if len(digits) >= 4 and key.id.hex().startswith(digits[:16])
    ]
    if len(found) != 1:
        names = ", ".join(sorted(key.name for key in trust.keys)[:20]) or "none"
        raise Failure(f"{'several keys are' if found else 'no key is'} {name!r}; there are {names}")
    return found[0]


def sign(path: Path, roots: Sequence[Ed25519PrivateKey], days: float) -> Trust:
    """Sign a document as it stands; one that is signed already becomes its next version with a new end.

    Raises:
        Failure: it is not a trust document, or its readers would refuse it.
    """
    trust, signed = read(path)
    issued = now()
    version = trust.version + 1 if signed else trust.version
    trust = replace(trust, version=version, issued=issued, expires=issued + timedelta(days=days))
    try:
        document = sign_trust(write_trust(trust), roots)
    except TrustError as error:
        raise Failure(f"{path}: {error}") from None
    put(path, document)
    return trust


def put(path: Path, document: bytes) -> None:
    """Write a document whole.

    Raises:
        Failure: it cannot be written.
    """
    try:
        write_file(path, document)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; name a file that this user may write") from None


def make_key(public: bytes, role: Role, name: str, *, node: str | None = None, zone: str | None = None) -> Key:
    """Return a key's row; a node's key is called as its node."""
    return Key(public.hex(), role, name=name, node=node, zone=zone)


def _write(path: Path, trust: Trust) -> Trust:
    try:
        check_trust(trust)
        parse_trust(write_trust(trust))  # names and limits are checked where readers would check them
    except TrustError as error:
        raise Failure(f"{path}: {error}") from None
    put(path, write_trust(trust))
    return trust
