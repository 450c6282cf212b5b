"""Where webhooks go: their settings, addresses and secrets."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import httpx
from msgspec import Meta, Struct

from evenwatt_collector.webhook_formats import Format
from evenwatt_daemon import Failure, read_document

_LEAST_SECRET: Final = 16


class WebhookSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """One ``[[webhooks]]`` table."""

    name: str
    """What budgets call it."""
    url: str = ""
    """``http://`` or ``https://``."""
    url_file: str = ""
    """A file that holds the address instead, where the address itself is a secret."""
    secret_file: str | None = None
    """A file that holds the secret for the signature, 16 characters or more; without one nothing is signed."""
    format: Format = "evenwatt"
    """Shape of what is posted."""
    events: list[Literal["burn", "projection", "spent", "blind", "page", "ticket", "info"]] = []
    """Which alerts, by kind (``burn``, ``spent``...) or severity (``page``, ``ticket``, ``info``); empty: all."""
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """For one attempt as a whole."""


def address(settings: WebhookSettings) -> str:
    """Return where to post.

    Raises:
        Failure: there is none, or it is no address; the text does not show it.
    """
    where = f"webhook {settings.name!r}"
    if bool(settings.url) == bool(settings.url_file):
        raise Failure(f"{where}: set exactly one of url and url_file")
    url = settings.url or read_document(settings.url_file).decode(errors="replace").strip()
    key = "url" if settings.url else f"the address in {settings.url_file}"
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        parts = httpx.URL("")
    if parts.scheme not in {"http", "https"} or not parts.host:
        raise Failure(f"{where}: {key} is not an address; expected http://HOST/PATH or https://HOST/PATH")
    return url


def secret_of(settings: WebhookSettings) -> bytes | None:
    """Return what to sign with.

    Raises:
        Failure: the file cannot be read, or holds too little.
    """
    if settings.secret_file is None:
        return None
    secret = read_document(settings.secret_file).strip()
    if len(secret) < _LEAST_SECRET:
        raise Failure(
            f"{settings.secret_file}: a secret of {len(secret)} characters for webhook {settings.name!r}; expected "
            f"{_LEAST_SECRET} or more, e.g. from: openssl rand -hex 32"
        )
    return secret
