"""The ``http`` table of a collector's settings."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class HttpSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Where page, status and metrics are served, and to whom.

    It speaks no TLS: keep it on the loopback, or behind a proxy that does.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9730
    """Port to listen on."""
    hosts: list[str] = []
    """Names by which browsers and programs may call it, besides ``localhost`` and any address in numbers."""
    tls: bool = False
    """A proxy with TLS is in front: cookies are for TLS only, and who asks is told by its ``X-Forwarded-For``."""
    tokens: str = ""
    """File of tokens, ``NAME SCOPES TOKEN`` a line; without one nobody may change anything over HTTP."""
    read: Literal["open", "token"] = "open"
    """``token``: reading, metrics too, takes a token as well."""
