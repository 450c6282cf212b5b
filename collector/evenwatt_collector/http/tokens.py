"""Who may do what: bearer tokens (RFC 6750) from a file, one a line: a name, its scopes, the token."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from evenwatt_daemon import Failure, read_document

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST: Final = 16
"""Characters; anything shorter can be guessed."""
_FORM: Final = (
    "write 'NAME SCOPES TOKEN' a line, such as 'ada jobs,act 3f9c...', the token as 'openssl rand -hex 32' makes it"
)


class Scope(StrEnum):
    """What a token is good for. Every token may read."""

    READ = "read"
    JOBS = "jobs"
    """Submit, cancel and report jobs, read what they have written."""
    ACT = "act"
    """Set and end overrides: a lower limit of a zone, a cap or a pause of a node."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    """Of its token; empty for somebody without one."""
    scopes: frozenset[Scope] = frozenset()

    def may(self, scope: Scope) -> bool:
        """Whether it may do what a scope stands for."""
        return scope in self.scopes or (scope is Scope.READ and bool(self.scopes))


NOBODY: Final = Caller("")


class Tokens:
    """Tokens that are accepted, kept as hashes. With none nobody may change anything.

    Args:
        known: Each token and whose it is.
    """

    def __init__(self, known: Iterable[tuple[str, Caller]] = ()) -> None:
        self._known = [(_hash(token), caller) for token, caller in known]

    def __repr__(self) -> str:
        return f"Tokens({len(self._known)} known)"

    def anybody_may(self, scope: Scope) -> bool:
        """Whether there is a token for a scope."""
        return any(caller.may(scope) for _, caller in self._known)

    def caller(self, token: str) -> Caller | None:
        """Return whose token it is, None if nobody's; takes as long whichever it is."""
        given, found = _hash(token), None
        for known, caller in self._known:
            if hmac.compare_digest(known, given):
                found = caller
        return found


def load_tokens(path: str) -> Tokens:
    """Read a file of tokens; no path: none.

    Raises:
        Failure: the file cannot be used, naming it and the fix.
    """
    return parse_tokens(read_document(path), path) if path else Tokens()


def parse_tokens(text: bytes, path: str) -> Tokens:
    """Read tokens; empty lines and what follows a ``#`` are left out.

    Raises:
        Failure: they cannot be used, naming the file and the fix.
    """
    try:
        lines = text.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise Failure(f"{path}: it has characters that no token has; {_FORM}") from None
    known: dict[str, Caller] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}:{number}"
        if len(words) != 3:
            raise Failure(f"{where}: found {len(words)} words, expected a name, scopes and a token; {_FORM}")
        name, scopes, token = words
        if len(token) < SHORTEST:
            raise Failure(f"{where}: the token has {len(token)} characters, expected {SHORTEST} at the least; {_FORM}")
        if token in known:
            raise Failure(f"{where}: the token of {name!r} stands twice; give each its own")
        known[token] = Caller(name, frozenset(_scope(word, where) for word in scopes.split(",")))
    if not known:
        raise Failure(f"{path}: there is no token in it; {_FORM}")
    return Tokens(known.items())


def _scope(word: str, where: str) -> Scope:
    try:
        return Scope(word)
    except ValueError:
        known = ", ".join(Scope)
        raise Failure(f"{where}: found scope {word[:20]!r}, expected some of {known}, with commas between") from None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
