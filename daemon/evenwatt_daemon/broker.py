"""Where the MQTT broker is, how to log in, and how long to wait before trying again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from msgspec import Meta, Struct
from msgspec.structs import replace

from evenwatt_daemon import tls
from evenwatt_daemon.settings import read_document

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from evenwatt_daemon.validity import Validity

_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_MAX_S: Final = 8.0
"""Below the ten seconds of a lease: a short outage must not cost a node its lease."""
LOGIN_S: Final = 10.0
"""How long a broker may take to answer."""
LOGIN_SOON_S: Final = 4.0
"""The same where there is another broker to be asked."""
_HOME: Final = "127.0.0.1"
_PORT: Final = 1883


class BrokerSettings(Struct, forbid_unknown_fields=True):
    """The ``mqtt`` table of a settings file."""

    host: str = _HOME
    """Name or address of the broker; with TLS one that its certificate names."""
    port: Annotated[int, Meta(ge=1, le=65535)] = _PORT
    """Usually 1883, or 8883 with TLS."""
    hosts: list[str] = []
    """Instead of ``host``: each broker of a cluster, as ``HOST`` or ``HOST:PORT``. One is used, a second one held ready
    beside it, and another one taken when one is lost; docs/scale.md."""
    qos: Literal[0, 1] = 1
    """1: the broker answers for what is handed to it. 0: it only passes it on, for clusters that stand still for
    seconds otherwise; what must arrive is answered by us and repeated in any case."""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    """Version of MQTT that is spoken."""
    username: str | None = None
    """Login, where the broker asks for a password."""
    password_file: str | None = None
    """A file that holds the password, so that it never stands in the settings."""
    ca_file: str | None = None
    """Certificate authority of the broker; setting it switches TLS on."""
    cert_file: str | None = None
    """Our own certificate (PEM), where the broker asks for one (mutual TLS); needs ``key_file``."""
    key_file: str | None = None
    """The key of ``cert_file`` (PEM, without a passphrase), readable by its owner and group only."""
    keepalive_s: Annotated[int, Meta(ge=1, le=3600)] = 20
    """Seconds without traffic after which the connection is tested; a broker gives it up after one and a half times as
    long."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.hosts and self.host != _HOME:
            raise ValueError("mqtt.host and mqtt.hosts are both set; name the brokers of a cluster in mqtt.hosts alone")
        named = [_host_port(one, self.port) for one in self.hosts]
        if len(set(named)) != len(named):
            raise ValueError("mqtt.hosts names a broker twice; name each one once")

    @property
    def where(self) -> str:
        """Host and port, of each one if there are several, for messages."""
        return ", ".join(self.hosts and [one.where for one in self.brokers]) or f"{self.host}:{self.port}"

    @property
    def brokers(self) -> list[Self]:
        """The same settings for each broker alone."""
        if not self.hosts:
            return [self]
        named = [_host_port(one, self.port) for one in self.hosts]
        return [replace(self, host=host, port=port, hosts=[]) for host, port in named]

    def password(self) -> str | None:
        """Read the password.

        Raises:
            CredentialsError: the file cannot be read.
        """
        with tls.as_credentials():
            return read_document(self.password_file).decode().strip() if self.password_file else None

    def tls(self) -> ssl.SSLContext | None:
        """Return a context for one connection, from the files as they are now; None for a connection without TLS.

        Raises:
            CredentialsError: a certificate or key cannot be used; the text says which, why, and the fix.
        """
        return tls.context(self.ca_file, self.cert_file, self.key_file)

    def certificates(self) -> dict[str, Validity]:
        """Return when the certificate of each file named in the settings begins and ends.

        Raises:
            CredentialsError: a file cannot be read.
        """
        return {path: tls.validity_of(path) for path in (self.cert_file, self.ca_file) if path is not None}

    def expiring(self, now_s: float) -> list[str]:
        """Say which of the certificates named in the settings end within 14 days, have ended, or cannot be read.

        Args:
            now_s: Seconds since 1970.
        """
        try:
            found = self.certificates()
        except tls.CredentialsError as error:
            return [str(error)]
        return [f"{path} {trouble}" for path, valid in found.items() if (trouble := valid.trouble(now_s))]

    async def refusal(self) -> str:
        """Ask a broker that gave no answer to our login why, where it may have refused our certificate; else nothing.

        Raises:
            CredentialsError: a certificate or key cannot be used.
        """
        made = self.tls()
        error = await tls.refusal(self.host, self.port, made, self.cert_file) if made is not None else None
        return self.explain(error) if error is not None else ""

    def explain(self, error: BaseException, code: int | None = None) -> str:
        """Say why a connection failed, and what to look at."""
        if code in _REFUSED:
            look = f"its access list and {self.cert_file}" if self.cert_file else "mqtt.username and mqtt.password_file"
            return f"broker {self.where} refused the login: {_REFUSED[code]}; check {look}"
        why = tls.explain(error, self.host, self.ca_file, self.cert_file)
        if why:
            return f"broker {self.where} {why}"
        ended = self.expiring(time.time()) if self.ca_file else []
        text = str(error) or type(error).__name__
        if text == "Operation timed out":
            text = f"no answer; does it speak MQTT {self.protocol}, and with or without TLS (mqtt.ca_file, mqtt.port)?"
        text = next((words for said, words in _UNREACHED.items() if said in text), text)
        return f"broker {self.where}: {text}{''.join(f'; {one}' for one in ended)}"


class Roster:
    """Which of several brokers is next: any but the one that was lost, so that a fleet spreads over the others.

    Args:
        settings: Of one broker, or of a cluster.
        choose: Returns one of several.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        choose: Callable[[Sequence[BrokerSettings]], BrokerSettings] = random.choice,
    ) -> None:
        self._brokers, self._choose = settings.brokers, choose
        self.several = len(self._brokers) > 1
        self._last: BrokerSettings | None = None

    @property
    def login_s(self) -> float:
        """How long a broker may take to answer: where there is another one, not for the time of a lease."""
        return LOGIN_SOON_S if self.several else LOGIN_S

    def next(self) -> BrokerSettings:
        """Return the broker to try now, another one than the last time."""
        self._last = self.beside(self._last)
        return self._last

    def took(self, broker: BrokerSettings) -> None:
        """Note that this one is used now."""
        self._last = broker

    def beside(self, used: BrokerSettings | None) -> BrokerSettings:
        """Return a broker other than one that is used, if there is another."""
        return self._choose([one for one in self._brokers if used is None or one.where != used.where] or self._brokers)


def _host_port(named: str, port: int) -> tuple[str, int]:
    """Return host and port of ``HOST``, ``HOST:PORT`` or ``[ADDRESS]:PORT``."""
    try:
        parts = urlsplit(f"//{named}")
        host, own = parts.hostname, parts.port
    except ValueError:
        host, own = None, None
    if not host or own == 0 or set(named) & set("/@?# "):
        raise ValueError(f"mqtt.hosts: {named!r} is no broker; write HOST or HOST:PORT, such as 'nats-1.example:1883'")
    return host, own or port


def full_jitter_s(attempt: int) -> float:
    """Wait before reconnection ``attempt`` (0, 1, ...): anywhere up to a doubling bound, so that a fleet spreads out.

    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter loads a returning server least.
    """
    return random.uniform(0, min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2.0 ** min(attempt, 10)))  # noqa: S311


_NO_NAME: Final = "its name is not known here; check mqtt.host, and this machine's resolver"
_NO_WAY: Final = "no way leads there; check mqtt.host, this machine's network and firewalls between"
_UNREACHED: Final = {
    "Disconnected during message iteration": "connection lost",  # aiomqtt's words
    "Connection refused": "nothing listens there; does the broker run, and are mqtt.host and mqtt.port right?",
    "name resolution": _NO_NAME,
    "Name or service not known": _NO_NAME,
    "No address associated with hostname": _NO_NAME,
    "unreachable": _NO_WAY,
    "No route to host": _NO_WAY,
}
"""What the system says of a connection that cannot be had or has ended, in words that name the fix."""
_BAD_LOGIN: Final = "bad user name or password"
_NOT_ALLOWED: Final = "not authorised"
_REFUSED: Final = {4: _BAD_LOGIN, 5: _NOT_ALLOWED, 134: _BAD_LOGIN, 135: _NOT_ALLOWED}  # CONNACK of MQTT 3.1.1 and 5
