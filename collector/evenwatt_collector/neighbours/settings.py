"""Settings of the neighbours; each table is off until it stands in the file."""

from __future__ import annotations

import re
import ssl
from typing import Annotated, Final

from msgspec import Meta, Struct

from evenwatt_daemon import Failure, read_document
from evenwatt_daemon.broker import BrokerSettings

_PATH: Final = "/v1/metrics"
_ADDRESS: Final = re.compile(
    r"(?P<base>https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)/?(?P<path>(?<=/)[^\s#]+)?"
)
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
"""A header as RFC 9110 wants it, in ASCII."""


class OtlpSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The ``otlp`` table: metrics to an OpenTelemetry receiver, over HTTP; off without it."""

    endpoint: str
    """``http://HOST:4318`` or ``https://...``; without a path ``/v1/metrics`` is added."""
    headers_file: str | None = None
    """A file with one header a line, ``Authorization: Bearer ...``; read at each export, so it may be renewed."""
    ca_file: str | None = None
    """Certificates of the authority that the endpoint's is signed by (PEM). Default: the public ones."""
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """Seconds from one export to the next."""
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """Deadline for each request, in seconds."""
    components: bool = True
    """Also each counter of each node (``hw.energy``, ``hw.power``), besides the nodes themselves."""
    attributes: dict[str, str] = {}
    """Resource attributes that are added to all, such as ``deployment.environment.name``."""


class HomeAssistantSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The ``home_assistant`` table: nodes and zones as devices of Home Assistant; nothing without it."""

    enabled: bool = True
    """``false`` takes back what was announced; once that has happened, the whole table may go."""
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*(?!\n)$", max_length=100)] = "homeassistant"
    """The discovery prefix that is set in Home Assistant."""


class SparkplugSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The ``sparkplug`` table: zones and nodes as edge nodes and devices of Sparkplug B; nothing without it."""

    group: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]*(?!\n)$", max_length=63)] = ""
    """Group ID. Default: the fleet's name."""
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 5.0
    """Seconds from one message of a node to the next, at least; what has not changed is not told again."""
    mqtt: BrokerSettings | None = None
    """The broker of the Sparkplug hosts, with the keys of ``[mqtt]``. Default: the fleet's own broker."""


def url(settings: OtlpSettings) -> str:
    """Return where to post.

    Raises:
        Failure: the endpoint is no address.
    """
    parts = _ADDRESS.fullmatch(settings.endpoint)
    if parts is None:
        raise Failure(
            f"key 'otlp.endpoint': {settings.endpoint!r} is not an address; expected http://HOST:4318 or https://..."
        )
    return settings.endpoint if parts["path"] else parts["base"] + _PATH


def check_otlp(settings: OtlpSettings) -> None:
    """Look at everything that the table names.

    Raises:
        Failure: something of it cannot be used.
    """
    url(settings)
    headers(settings)
    certificates(settings)


def headers(settings: OtlpSettings) -> dict[str, str]:
    """Return the headers of the file.

    Raises:
        Failure: it cannot be read, or a line of it is no header; the text does not show it.
    """
    if settings.headers_file is None:
        return {}
    found = {}
    text = read_document(settings.headers_file).decode("utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            match = _HEADER.fullmatch(line.strip())
            if match is None:
                raise Failure(
                    f"{settings.headers_file}: line {number} is not a header; expected NAME: VALUE, such as "
                    "Authorization: Bearer ..."
                )
            found[match[1]] = match[2]
    return found


def certificates(settings: OtlpSettings) -> ssl.SSLContext | bool:
    """Return whom to trust.

    Raises:
        Failure: the file holds no certificates.
    """
    if settings.ca_file is None:
        return True
    text = read_document(settings.ca_file).decode("ascii", errors="replace")
    try:
        return ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        raise Failure(f"{settings.ca_file}: no certificates; key 'otlp.ca_file' expects PEM") from None
