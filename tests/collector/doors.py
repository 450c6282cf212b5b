"""Gates of the collector's HTTP for tests."""

from __future__ import annotations

from evenwatt_collector.http.gate import Gate
from evenwatt_collector.http.settings import HttpSettings
from evenwatt_collector.http.tokens import Caller, Scope, Tokens


def gate(scopes=(Scope.JOBS,), note=None, tokens=(), **names):
    """Return a gate that knows these tokens, by the names of their owners."""
    known = [(token, Caller(name, frozenset(scopes))) for name, token in names.items()]
    said = [] if note is None else [note]
    return Gate(HttpSettings(), Tokens([*known, *tokens]), *said)
