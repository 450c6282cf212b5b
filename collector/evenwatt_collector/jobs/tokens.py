"""Who may submit and cancel: bearer tokens (RFC 6750) from a file, one a line, each with a name before it if wanted."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from evenwatt_daemon import Failure, read_document

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST: Final = 16
"""Characters; anything shorter can be guessed."""
_FORM: Final = "write one token a line, 'NAME TOKEN' or the token alone, such as 'openssl rand -hex 32' makes"


class Tokens:
    """Tokens that are accepted, kept as hashes. With none nobody may change anything."""

    def __init__(self, names_by_token: Mapping[str, str]) -> None:
        self._known = [(_hash(token), name) for token, name in names_by_token.items()]

    def __bool__(self) -> bool:
        return bool(self._known)

    def __repr__(self) -> str:
        return f"Tokens({len(self._known)} known)"

    def name_of(self, token: str) -> str | None:
        """Return whose token it is, None if nobody's; takes as long whichever it is."""
        given, found = _hash(token), None
        for known, name in self._known:
            if hmac.compare_digest(known, given):
                found = name
        return found


def load_tokens(path: str) -> Tokens:
    """Read a file of tokens; no path: none.

    Raises:
        Failure: the file cannot be used, naming it and the fix.
    """
    return parse_tokens(read_document(path), path) if path else Tokens({})


def parse_tokens(text: bytes, path: str) -> Tokens:
    """Read tokens; empty lines and what follows a ``#`` are left out.

    Raises:
        Failure: they cannot be used, naming the file and the fix.
    """
    try:
        lines = text.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"{path}: it has characters that no token has; {_FORM}") from None
    names: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) > 2:
            raise Failure(f"{path}:{number}: found {len(words)} words, expected a name and a token; {_FORM}")
        name, token = words if len(words) == 2 else ("token", words[0])
        if len(token) < SHORTEST:
            raise Failure(
                f"{path}:{number}: the token has {len(token)} characters, expected {SHORTEST} at the least; {_FORM}"
            )
        if token in names:
            raise Failure(f"{path}:{number}: the token of {name!r} stands twice; give each its own")
        names[token] = name
    if not names:
        raise Failure(f"{path}: there is no token in it; {_FORM}")
    return Tokens(names)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
