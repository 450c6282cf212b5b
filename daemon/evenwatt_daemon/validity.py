"""From when until when a certificate is valid, read without the cryptography library, which a node may do without.

X.509 (RFC 5280, section 4.1): Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version, serialNumber,
signature, issuer, validity SEQUENCE { notBefore, notAfter }, ... } }, in DER.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_SEQUENCE, _VERSION, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
_DAY_S: Final = 86_400.0
WARN_DAYS: Final = 14.0
"""A certificate that ends sooner is spoken of."""


@dataclass(frozen=True, slots=True)
class Validity:
    """When a certificate begins and ends, in seconds since 1970."""

    begins_s: float
    ends_s: float

    def days_left(self, now_s: float) -> float:
        """Days from ``now_s`` to the end; negative afterwards."""
        return (self.ends_s - now_s) / _DAY_S

    def trouble(self, now_s: float) -> str:
        """What is wrong with it at ``now_s``, or nothing."""
        if now_s < self.begins_s:
            return f"is not valid before {day(self.begins_s)}; is this machine's clock right?"
        if now_s > self.ends_s:
            return f"has expired on {day(self.ends_s)}; renew it"
        left = self.days_left(now_s)
        return f"expires in {left:.0f} days, on {day(self.ends_s)}; renew it" if left < WARN_DAYS else ""


def validity(pem: bytes) -> Validity:
    """Read the first certificate of a PEM file.

    Raises:
        ValueError: there is none, or it is not X.509.
    """
    try:
        text = pem.decode("ascii", errors="replace")
        begin = text.index(ssl.PEM_HEADER)
        end = text.index(ssl.PEM_FOOTER, begin) + len(ssl.PEM_FOOTER)
        body = _children(_children(ssl.PEM_cert_to_DER_cert(text[begin:end]))[0][1])
        fields = _children(body[0][1])
        times = _children(fields[4 if fields[0][0] == _VERSION else 3][1])
        return Validity(_moment_s(*times[0]), _moment_s(*times[1]))
    except (ValueError, IndexError):
        raise ValueError("no certificate in PEM form (BEGIN CERTIFICATE)") from None


def day(moment_s: float) -> str:
    """Return the day of a moment, in UTC."""
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%d}"


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """Split DER into (tag, content)."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length >= 0x80:  # the long form: how many bytes the length has
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size]), at + size
        if at + length > len(data):
            raise ValueError("cut off")
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _moment_s(tag: int, content: bytes) -> float:
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("not a time")
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: 1950 to 2049
        text = f"{'20' if text < '50' else '19'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
