"""Where the MQTT broker is, how to log in, and how long to wait before trying again."""

from __future__ import annotations

import random
import ssl
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from evenwatt_daemon.failures import Failure
from evenwatt_daemon.settings import read_document

_BACKOFF_FIRST_S: Final = 0.5
_BACKOFF_MAX_S: Final = 8.0
"""Below the ten seconds of a lease: a short outage must not cost a node its lease."""


class BrokerSettings(Struct, forbid_unknown_fields=True):
    """The ``mqtt`` table of a settings file."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    username: str | None = None
    password_file: str | None = None
    """A file that holds the password, so that it never stands in the settings."""
    ca_file: str | None = None
    """Certificate authority of the broker; setting it switches TLS on."""
    keepalive_s: Annotated[int, Meta(ge=1, le=3600)] = 20

    @property
    def where(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    def password(self) -> str | None:
        """Read the password.

        Raises:
            Failure: the file cannot be read.
        """
        return read_document(self.password_file).decode().strip() if self.password_file else None

    def tls(self) -> ssl.SSLContext | None:
        """Return a context that trusts the named authority only, or None for a plain connection.

        Raises:
            Failure: the certificate cannot be used.
        """
        if self.ca_file is None:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            fix = "mqtt.ca_file must be the PEM certificate of the broker's authority"
            raise Failure(f"{self.ca_file}: {error}; {fix}") from None

    def explain(self, error: BaseException, code: int | None = None) -> str:
        """Say why a connection failed, and what to look at."""
        if code in _REFUSED:
            return (
                f"broker {self.where} refused the login: {_REFUSED[code]}; check mqtt.username and mqtt.password_file"
            )
        text = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return f"broker {self.where} showed a certificate that {self.ca_file} did not sign; check mqtt.ca_file"
        return f"broker {self.where}: {text}"


def full_jitter_s(attempt: int) -> float:
    """Wait before reconnection ``attempt`` (0, 1, ...): anywhere up to a doubling bound, so that a fleet spreads out.

    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter loads a returning server least.
    """
    return random.uniform(0, min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2.0 ** min(attempt, 10)))  # noqa: S311


_BAD_LOGIN: Final = "bad user name or password"
_NOT_ALLOWED: Final = "not authorised"
_REFUSED: Final = {4: _BAD_LOGIN, 5: _NOT_ALLOWED, 134: _BAD_LOGIN, 135: _NOT_ALLOWED}  # CONNACK of MQTT 3.1.1 and 5
