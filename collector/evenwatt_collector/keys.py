"""The controller's own key, and the trust document that it reads from a file and tells its nodes.

The newest good document is kept in the state directory too, so that an old file cannot take a revocation back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from evenwatt_collector.signatures import check_by_sodium
from evenwatt_daemon import Failure, get_logger
from evenwatt_daemon.files import WatchedFile, read_private, write_file
from evenwatt_daemon.settings import parse_document
from evenwatt_wire import KeyRing, Role, TrustKeeper, Verdict
from evenwatt_wire.command import key_id
from evenwatt_wire.pem import private_key
from evenwatt_wire.trust import read_roots

if TYPE_CHECKING:
    from pathlib import Path

    from evenwatt_collector.settings import KeySettings
    from evenwatt_wire.keyring import Clock

LOOK_S: Final = 30.0
"""How often the file is looked at."""
_KEPT: Final = "trust.json"


class ControllerKeys:
    """What a collector signs with and whom it believes; nobody where its settings name no keys.

    Args:
        settings: The ``keys`` table.
        fleet: Whose keys.
        state_dir: Where the newest document is kept; None keeps nothing.
        clock: Wall time in milliseconds.

    Raises:
        Failure: a file cannot be used, naming it and the fix.
    """

    def __init__(self, settings: KeySettings | None, fleet: str, state_dir: Path | None, clock: Clock) -> None:
        self._log: Any = get_logger("keys")
        self._keeper: TrustKeeper | None = None
        self._trouble = ""
        self.document = b""
        """The document that counts, for the nodes; empty without keys."""
        self.private: Ed25519PrivateKey | None = None
        self.ring = KeyRing()
        """Changes in place."""
        if settings is None:
            return
        self.private = _private(settings.private_key)
        self._own = key_id(self.private.public_key().public_bytes_raw())
        self._file = WatchedFile(settings.trust)
        self._kept = state_dir / _KEPT if state_dir is not None else None
        self._keeper = TrustKeeper(fleet, parse_document(settings.root, read_roots), clock)
        self.ring = self._keeper.ring
        self.ring.check = check_by_sodium
        self._begin(self._keeper)

    @property
    def version(self) -> int:
        """Version of the document that counts; 0 without keys."""
        return self._keeper.version if self._keeper is not None else 0

    @property
    def key_id(self) -> str:
        """Of the own key; empty without one."""
        return self._own.hex() if self.private is not None else ""

    @property
    def stopped(self) -> str:
        """Why nodes would not obey what is signed here; empty if they would, or if there are no keys at all."""
        if self._keeper is None:
            return ""
        trouble = self._keeper.own_trouble(self._own, Role.CONTROLLER)
        if not trouble and self.ring.expired:
            trouble = f"trust version {self._keeper.version} has expired, so nodes take no more caps"
        return f"control is stopped: {trouble}; sign a new trust document ({self._file.path})" if trouble else ""

    def look(self) -> bool:
        """Take the file if it has changed; return whether there is a new document to be told."""
        if self._keeper is None or not self._file.changed():
            return False
        before = self._keeper.version
        try:
            document = self._file.read()
        except Failure as failure:
            self._refused(str(failure))
            return False
        offer = self._keeper.offer(document)
        if offer.verdict is Verdict.REFUSED:
            self._refused(f"{self._file.path}: {offer.why}")
            return False
        self._trouble = ""
        if offer.verdict is Verdict.ADOPTED:
            self._keep(document)
            self._log.info("trust document taken", version=offer.version, before=before)
        return offer.verdict is Verdict.ADOPTED

    def warnings(self) -> list[str]:
        """Say what needs a person before control stops."""
        ends = self._keeper.ends(self._own) if self._keeper is not None and not self.ring.expired else []
        return [text for text in (self._trouble, *ends) if text]

    def _begin(self, keeper: TrustKeeper) -> None:
        """Start with the newest of what is kept and what the file holds; only one root's word counts."""
        kept = self._recall()
        if kept and keeper.offer(kept).verdict is Verdict.ADOPTED:
            self.document = kept
        document = self._file.read()
        offer = keeper.offer(document)
        if offer.verdict is Verdict.REFUSED and not self.document:
            raise Failure(f"{self._file.path}: {offer.why}")
        if offer.verdict is Verdict.REFUSED:
            self._refused(f"{self._file.path}: {offer.why}")
        elif offer.verdict is Verdict.ADOPTED:
            self._keep(document)

    def _recall(self) -> bytes:
        try:
            return self._kept.read_bytes() if self._kept is not None else b""
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise Failure(f"{self._kept}: {error.strerror}; the newest trust document seen must be readable") from None

    def _keep(self, document: bytes) -> None:
        self.document = document
        if self._kept is None:
            return
        try:
            write_file(self._kept, document, 0o600)
        except OSError as error:
            self._log.error("the trust document cannot be kept", path=str(self._kept), why=error.strerror)

    def _refused(self, why: str) -> None:
        version = self._keeper.version if self._keeper is not None else 0
        self._trouble = f"the trust document is refused, version {version} goes on: {why}"
        self._log.error("trust document refused", why=why, kept=version)


def check_keys(settings: KeySettings | None, fleet: str) -> None:
    """Hold the files against each other, as a start would.

    Raises:
        Failure: one cannot be used, or nodes would not listen to this collector.
    """
    stopped = ControllerKeys(settings, fleet, None, lambda: time.time_ns() // 1_000_000).stopped
    if stopped:
        raise Failure(stopped)


def _private(path: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(private_key(read_private(path)))
    except ValueError as error:
        fix = "make one: evenwatt keys new controller NAME"
        raise Failure(f"{path}: {error}; keys.private_key must be Ed25519 in PEM form, not encrypted; {fix}") from None
