"""TLS to the broker: contexts from files as they are now, and one clear sentence for whatever is wrong with them."""

from __future__ import annotations

import asyncio
import re
import ssl
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evenwatt_daemon.failures import Failure
from evenwatt_daemon.settings import read_document
from evenwatt_daemon.validity import Validity, validity

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALERT_S: Final = 2.0
"""How long a broker that refuses a certificate may take to say so."""
_ASK_S: Final = 60.0
_asked: dict[tuple[str, int, str | None, int], tuple[float, OSError | None]] = {}
_TOO_OPEN: Final = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
"""Nobody else may have a key at all, and a group may only read it: a service's user, or systemd's credentials."""


class CredentialsError(Failure):
    """A certificate, key or password of ours cannot be used. At a start that is final; later it may be half renewed."""


def context(ca_file: str | None, cert_file: str | None, key_file: str | None) -> ssl.SSLContext | None:
    """Return a context that trusts the named authority only and checks the host's name; None without an authority.

    Raises:
        CredentialsError: a file cannot be used; the text names it, what is wrong with it, and the fix.
    """
    if (cert_file is None) != (key_file is None):
        there, missing = ("cert_file", "key_file") if cert_file else ("key_file", "cert_file")
        raise CredentialsError(f"key 'mqtt.{there}' is set and mqtt.{missing} is not; set both, or neither")
    if ca_file is None:
        if cert_file is not None:
            fix = "name the PEM certificate of the broker's authority; without it there is no TLS"
            raise CredentialsError(f"key 'mqtt.cert_file' is set and mqtt.ca_file is not; {fix}")
        return None
    with as_credentials():
        read_document(ca_file)
    try:
        made = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        fix = "mqtt.ca_file must be the PEM certificate of the broker's authority"
        raise CredentialsError(f"{ca_file}: no certificate in PEM form; {fix}") from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None and key_file is not None:
        _show(made, cert_file, key_file)
    return made


def check_key_mode(path: str) -> None:
    """Refuse a key that others may read.

    Raises:
        CredentialsError: naming the mode that was found and the one that is expected, or it cannot be read.
    """
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode)
    except OSError:
        with as_credentials():
            read_document(path)
        return
    if mode & _TOO_OPEN:
        raise CredentialsError(
            f"{path}: mode {mode:04o} lets others use this key; expected 0600, or 0640 for a service's group: "
            f"chmod 600 {path}"
        )


def validity_of(path: str) -> Validity:
    """Read when the first certificate of a file begins and ends.

    Raises:
        CredentialsError: the file cannot be read or holds none.
    """
    with as_credentials():
        pem = read_document(path)
    try:
        return validity(pem)
    except ValueError as error:
        raise CredentialsError(f"{path}: {error}") from None


def explain(error: BaseException, host: str, ca_file: str | None, cert_file: str | None) -> str:
    """Say what a TLS error means and what to look at; nothing for any other error."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return _bad_broker(text, host, ca_file)
    alert = re.search(r"ALERT[_ ]([A-Z_ ]+)", text.upper())
    if alert:
        meaning = _ALERTS.get(alert[1].strip().replace(" ", "_"))
        if meaning:
            return f"refused our certificate: {meaning.format(cert=cert_file or 'none is set')}"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return "does not speak TLS on this port; check mqtt.port (8883 with TLS, 1883 without), or unset mqtt.ca_file"
    if ca_file is not None and "reset by peer" in text:
        return "ended the connection while TLS began; does it speak TLS on this port (mqtt.port)?"
    if "UNSUPPORTED_PROTOCOL" in text or "PROTOCOL_VERSION" in text:
        return "speaks no TLS 1.2 or newer; allow it in the broker's configuration (tls_version)"
    return ""


async def refusal(host: str, port: int, made: ssl.SSLContext, cert_file: str | None) -> OSError | None:
    """Ask a broker that gave no answer why: return the TLS alert it sends, or None if it sends none.

    With TLS 1.3 a refused client learns of it only when it reads, which MQTT libraries tell as a mere time-out. A
    broker is asked once a minute at most, and the answer kept: one that is slow has no need of more handshakes.
    """
    asked = _question(host, port, cert_file)
    known = _asked.get(asked)
    if known is None or time.monotonic() - known[0] >= _ASK_S:
        _asked.clear()
        known = _asked[asked] = time.monotonic(), await _alert(host, port, made)
    return known[1]


def _question(host: str, port: int, cert_file: str | None) -> tuple[str, int, str | None, int]:
    """Whom we ask about which certificate: a renewed one is another question."""
    return host, port, cert_file, Path(cert_file).stat().st_mtime_ns if cert_file else 0


async def _alert(host: str, port: int, made: ssl.SSLContext) -> OSError | None:
    with suppress(TimeoutError):
        try:
            async with asyncio.timeout(_ALERT_S):
                reader, writer = await asyncio.open_connection(host, port, ssl=made)
                try:
                    await reader.read(1)
                finally:
                    writer.transport.abort()
        except OSError as error:
            return error
    return None


@contextmanager
def as_credentials() -> Iterator[None]:
    """Turn a :class:`Failure` about a file into one about our credentials."""
    try:
        yield
    except Failure as failure:
        raise CredentialsError(str(failure)) from None


def _show(made: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    with as_credentials():
        read_document(cert_file)
        read_document(key_file)
    check_key_mode(key_file)
    try:
        made.load_cert_chain(cert_file, key_file, password=_no_passphrase)
    except _LockedKeyError:
        fix = "a service cannot be asked for it; write the key without one: openssl pkey -in OLD -out NEW"
        raise CredentialsError(f"{key_file}: the key needs a passphrase; {fix}") from None
    except (OSError, ssl.SSLError) as error:
        raise CredentialsError(_unusable(str(error), cert_file, key_file)) from None


def _unusable(text: str, cert_file: str, key_file: str) -> str:
    if "KEY_VALUES_MISMATCH" in text or "KEY_TYPE_MISMATCH" in text:
        return f"{key_file}: not the key of {cert_file}; name the pair that was made together"
    try:
        validity_of(cert_file)
    except CredentialsError as error:
        return f"{error}; mqtt.cert_file must be our own certificate"
    return f"{key_file}: no private key in PEM form; mqtt.key_file must be the key of {cert_file}"


class _LockedKeyError(Exception):
    """The key asks for a passphrase."""


def _no_passphrase() -> str:
    raise _LockedKeyError


def _bad_broker(text: str, host: str, ca_file: str | None) -> str:
    if "expired" in text:
        return f"shows a certificate that has expired, or the authority's ({ca_file}) has; renew it"
    if "not yet valid" in text:
        return "shows a certificate that is not valid yet; is this machine's clock right?"
    if "mismatch" in text or "not valid for" in text:
        return f"shows a certificate for another host than {host!r}; set mqtt.host to a name in it, or renew it with it"
    if "purpose" in text:
        return "shows a certificate that is not a server's; somebody else may be answering there"
    return f"shows a certificate that {ca_file} did not sign; check mqtt.ca_file, or who is answering there"


_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "it asks for one ({cert}); set mqtt.cert_file and mqtt.key_file",
    "HANDSHAKE_FAILURE": "it takes none such, or asks for one ({cert}); check mqtt.cert_file and mqtt.key_file",
    "UNKNOWN_CA": "its authority did not sign {cert}; get one from the broker's authority (evenwatt broker cert)",
    "CERTIFICATE_REVOKED": "{cert} is revoked; if this machine is still to be trusted, enrol it anew",
    "CERTIFICATE_EXPIRED": "{cert} has expired; renew it",
    "BAD_CERTIFICATE": "it cannot use {cert}; check that it is a client's certificate, and this machine's clock",
    "UNSUPPORTED_CERTIFICATE": "{cert} is not a client's certificate",
    "DECRYPT_ERROR": "our key does not belong to {cert}",
}
