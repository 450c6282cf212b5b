"""The broker's certificate authority: a folder that makes, remembers and revokes the certificates of one fleet.

``ca.pem`` is what every client and the broker trust, ``ca.key`` signs (mode 0600; it belongs on no node and need not be
on the broker), ``crl.pem`` is what the broker refuses, ``issued/`` holds every certificate given to a client.

A client's certificate cannot serve as a broker's, nor the other way round (RFC 5280, extended key usage).
"""

from __future__ import annotations

import ipaddress
import os
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from evenwatt_cli.broker.identities import parse_identity
from evenwatt_daemon import Failure
from evenwatt_daemon.settings import parse_document
from evenwatt_wire.topics import TopicError, check_id

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY: Final = "ca.pem"
AUTHORITY_KEY: Final = "ca.key"
REVOKED: Final = "crl.pem"
ISSUED: Final = "issued"

CLIENT_DAYS: Final = 397
"""A little more than a year, so that it can be renewed once a year."""
_AUTHORITY_DAYS: Final = 3653
_SKEW: Final = timedelta(minutes=5)
"""Certificates begin earlier by as much: the clock of a machine that has just been installed may be behind."""
_HOST: Final = re.compile(r"(?=.{1,253}$)(?:\*\.)?[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")


def make_authority(ca_dir: Path, fleet: str) -> None:
    """Make the folder of a new authority, for ten years, with an empty list of what is revoked.

    Raises:
        Failure: there is one already, or the folder cannot be written.
    """
    if (ca_dir / AUTHORITY_KEY).exists():
        raise Failure(f"{ca_dir / AUTHORITY_KEY}: an authority is there already; name another folder to begin anew")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, fleet),
            x509.NameAttribute(NameOID.COMMON_NAME, "evenwatt broker authority"),
        ]
    )
    built = (
        _begin(name, name, key.public_key(), key.public_key(), now, timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    try:
        (ca_dir / ISSUED).mkdir(parents=True, exist_ok=True)
        ca_dir.chmod(0o700)
    except OSError as error:
        raise Failure(f"{ca_dir}: {error.strerror}; name a folder that this user may write") from None
    write_file(ca_dir / AUTHORITY_KEY, key_pem(key), private=True)
    write_file(ca_dir / AUTHORITY, built.public_bytes(Encoding.PEM))
    _write_revoked(ca_dir, [])


def new_key_and_request(common_name: str) -> tuple[bytes, bytes]:
    """Make a key for TLS and ask for its certificate; return both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return key_pem(key), request.public_bytes(Encoding.PEM)


def issue(
    ca_dir: Path,
    csr_pem: bytes,
    *,
    common_name: str,
    days: int = CLIENT_DAYS,
    zone: str = "",
    now: datetime | None = None,
) -> bytes:
    """Certify a client's key and remember it. Of the request only its key counts, never the names it wishes for.

    Args:
        ca_dir: The authority's folder.
        csr_pem: The request; its signature proves that the asker has the key.
        common_name: Who the client is to the broker (see :mod:`evenwatt_cli.broker.identities`).
        days: How long it is valid.
        zone: The zone of a node, from which the access list is made where no trust document tells.
        now: When it begins; default: now.

    Raises:
        Failure: the request or the name cannot be used, or the authority's files are not there.
    """
    identity = parse_identity(common_name)
    public = _key_of(csr_pem)
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, str(identity))]
    if zone:
        try:
            subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, check_id(zone, "zone")))
        except TopicError as error:
            raise Failure(str(error)) from None
    certificate = _certify(ca_dir, x509.Name(subject), public, days, now or datetime.now(UTC))
    pem = certificate.public_bytes(Encoding.PEM)
    write_file(ca_dir / ISSUED / f"{certificate.serial_number:040x}.pem", pem)
    return pem


def server_certificate(
    ca_dir: Path, hosts: list[str], days: int, *, now: datetime | None = None
) -> tuple[bytes, bytes]:
    """Make a key and certificate for the broker under all names and addresses that clients call it by; return both.

    Raises:
        Failure: no host is named or one cannot be, or the authority's files are not there.
    """
    if not hosts:
        raise Failure("the broker's certificate needs the host names or addresses that clients call it by")
    key, names = ec.generate_private_key(ec.SECP256R1()), x509.SubjectAlternativeName([_host(one) for one in hosts])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    built = _certify(ca_dir, subject, key.public_key(), days, now or datetime.now(UTC), names)
    return built.public_bytes(Encoding.PEM), key_pem(key)


def revoke(ca_dir: Path, common_name: str) -> int:
    """Add all certificates of a client to the list of what the broker refuses; return how many.

    Raises:
        Failure: none was issued to it, or the authority's files are not there.
    """
    theirs = {one.serial_number for one in issued(ca_dir) if name_of(one) == common_name}
    if not theirs:
        raise Failure(f"{ca_dir / ISSUED}: no certificate was issued to {common_name!r}")
    now = datetime.now(UTC)
    before = list(parse_document(ca_dir / REVOKED, x509.load_pem_x509_crl))
    fresh = theirs - {one.serial_number for one in before}
    entries = [x509.RevokedCertificateBuilder(serial, now).build() for serial in sorted(fresh)]
    _write_revoked(ca_dir, [*before, *entries])
    return len(theirs)


def issued(ca_dir: Path) -> list[x509.Certificate]:
    """Return every client's certificate that was ever issued, the oldest first."""
    paths = sorted((ca_dir / ISSUED).glob("*.pem"), key=lambda path: path.stat().st_mtime_ns)  # finer than a second
    found = [parse_document(path, x509.load_pem_x509_certificate) for path in paths]
    return sorted(found, key=lambda one: one.not_valid_before_utc)


def standing(ca_dir: Path) -> list[x509.Certificate]:
    """Return the clients' certificates that are neither revoked nor expired."""
    gone = {one.serial_number for one in parse_document(ca_dir / REVOKED, x509.load_pem_x509_crl)}
    now = datetime.now(UTC)
    return [one for one in issued(ca_dir) if one.serial_number not in gone and one.not_valid_after_utc > now]


def name_of(certificate: x509.Certificate) -> str:
    """Return the common name."""
    return _first(certificate, NameOID.COMMON_NAME)


def zone_of(certificate: x509.Certificate) -> str:
    """Return the zone of a node's certificate, or nothing."""
    return _first(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file whole or not at all; a private one is never readable by others, not even while it is written.

    Raises:
        Failure: it cannot be written.
    """
    mode, aside = 0o600 if private else 0o644, path.with_name(f".{path.name}.new")
    try:
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; name a folder that this user may write") from None


def _certify(
    ca_dir: Path,
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    days: int,
    now: datetime,
    names: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    """Sign a certificate: with names it is a server's, without them a client's."""
    if days < 1:
        raise Failure(f"a certificate of {days} days cannot be used; give 1 or more")
    authority, key = _authority(ca_dir)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if names is not None else ExtendedKeyUsageOID.CLIENT_AUTH
    length = min(timedelta(days=days), authority.not_valid_after_utc - now)
    if length <= timedelta(0):
        raise Failure(
            f"{ca_dir / AUTHORITY}: expired on {authority.not_valid_after_utc:%Y-%m-%d}; make a new authority"
        )
    built = _begin(subject, authority.subject, public, key.public_key(), now, length)
    built = built.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    built = built.add_extension(_usage(authority=False), critical=True)
    built = built.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if names is not None:
        built = built.add_extension(names, critical=False)
    return built.sign(key, hashes.SHA256())


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    signer: ec.EllipticCurvePublicKey,
    now: datetime,
    length: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + length)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_of(csr_pem: bytes) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        public = request.public_key()
    except ValueError:
        raise Failure("the request for a certificate is not one in PEM form (PKCS #10)") from None
    if not isinstance(public, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise Failure("the request for a certificate has a key that is neither EC nor Ed25519; make it with openssl ec")
    if isinstance(public, ec.EllipticCurvePublicKey) and not isinstance(public.curve, ec.SECP256R1 | ec.SECP384R1):
        raise Failure(f"the request for a certificate has a key on {public.curve.name}; expected P-256 or P-384")
    if not request.is_signature_valid:
        raise Failure("the request for a certificate is not signed by the key in it; make a new one")
    return public


def _authority(ca_dir: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path = ca_dir / AUTHORITY_KEY
    if not path.exists():
        raise Failure(f"{path}: no such file; make the authority with `evenwatt broker init`")
    key = parse_document(path, lambda pem: load_pem_private_key(pem, None))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Failure(f"{path}: not the key of an authority made by `evenwatt broker init`")
    return parse_document(ca_dir / AUTHORITY, x509.load_pem_x509_certificate), key


def _write_revoked(ca_dir: Path, entries: list[x509.RevokedCertificate]) -> None:
    """Sign the list. It is valid as long as the authority: a list that runs out would lock the whole fleet out."""
    authority, key = _authority(ca_dir)
    number = int(datetime.now(UTC).timestamp() * 1000)
    built = x509.CertificateRevocationListBuilder(
        authority.subject, datetime.now(UTC) - _SKEW, authority.not_valid_after_utc, [], entries
    ).add_extension(x509.CRLNumber(number), critical=False)
    write_file(ca_dir / REVOKED, built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if not _HOST.fullmatch(text):
            raise Failure(f"{text!r} is not a host name or an address") from None
        return x509.DNSName(text)


def _first(certificate: x509.Certificate, which: x509.ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(which)
    return str(found[0].value) if found else ""
