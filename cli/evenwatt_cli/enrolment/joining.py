"""What an administrator signs when a node joins: the next trust document, and the node's certificate for the broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from msgspec.structs import replace

from evenwatt_cli.broker.certificates import AUTHORITY, AUTHORITY_KEY, CLIENT_DAYS, issue
from evenwatt_cli.enrolment.talk import Joined
from evenwatt_cli.keys import document
from evenwatt_cli.keys.files import public_pem, raw_public
from evenwatt_daemon import Failure, read_document
from evenwatt_wire import Role, Trust, TrustError, open_trust, sign_trust, write_trust
from evenwatt_wire.keyring import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Desk:
    """An administrator's files and the unlocked root."""

    trust: Path
    root: Ed25519PrivateKey
    ca: Path
    broker_host: str
    broker_port: int

    def check(self) -> Trust:
        """Return the document as it stands.

        Raises:
            Failure: it is not signed by this root: a change that nobody has signed is not signed here in passing.
        """
        raw = read_document(self.trust)
        fleet = document.read(self.trust)[0].fleet
        try:
            return open_trust(raw, [raw_public(self.root)], fleet)
        except TrustError as error:
            raise Failure(f"{self.trust}: {error}") from None

    def check_authority(self) -> None:
        """See that the broker's authority is here.

        Raises:
            Failure: it is not.
        """
        if not (self.ca / AUTHORITY_KEY).exists():
            raise Failure(
                f"{self.ca}: there is no authority of a broker here; make it: evenwatt broker init --ca {self.ca}"
            )

    def check_request(self, request: bytes) -> None:
        """Look at a certificate request before a person is bothered with it.

        Raises:
            Failure: it is none, or its signature is wrong.
        """
        try:
            good = x509.load_pem_x509_csr(request).is_signature_valid
        except ValueError:
            good = False
        if not good:
            raise Failure("the node's request for a certificate is not one, or is not signed by its key")

    def present(self, node: str) -> str:
        """Return the fingerprint of the key that a node has now; empty if it is new."""
        keys = [key for key in self.check().keys if key.node == node and key.role is Role.NODE]
        return fingerprint(bytes.fromhex(keys[-1].public)) if keys else ""

    def join(self, node: str, zone: str, public: bytes, request: bytes) -> Joined:
        """Sign the next document, in which the node has this key and no other, and certify it for the broker.

        Raises:
            Failure: the documents contradict each other, or a file cannot be written.
        """
        with document.alone(self.trust):
            trust = self.check()
            for old in [key for key in trust.keys if key.node == node]:
                trust = document.with_revoked(trust, [old], "replaced by enrolment")
            key = document.make_key(public, Role.NODE, node, node=node, zone=zone)
            issued = document.now()
            trust = replace(document.with_key(trust, key), version=trust.version + 1, issued=issued)
            try:
                signed = sign_trust(write_trust(trust), [self.root])
            except TrustError as error:
                raise Failure(f"{self.trust}: {error}") from None
            certificate = issue(self.ca, request, common_name=node, days=CLIENT_DAYS, zone=zone)
            document.put(self.trust, signed)
        return Joined(
            fleet=trust.fleet,
            zone=zone,
            trust=signed,
            root=public_pem(self.root.public_key()),
            ca=read_document(self.ca / AUTHORITY),
            certificate=certificate,
            broker_host=self.broker_host,
            broker_port=self.broker_port,
        )
