"""This node's signing key, and the trust document that says whose commands count here.

A document comes from the file that the settings name, or from the collector over MQTT: both are only carriers, for the
root has signed it. The newest good one is kept in the node's memory, so that neither an old file nor a broker that
replays can take a revocation back.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from evenwatt_agent import clocks
from evenwatt_agent.actuator.manners import Complaints
from evenwatt_daemon import Failure, get_logger
from evenwatt_daemon.files import WatchedFile, read_private
from evenwatt_daemon.settings import parse_document
from evenwatt_wire import KeyRing, Offer, Role, TrustKeeper, Verdict
from evenwatt_wire.command import key_id
from evenwatt_wire.pem import private_key
from evenwatt_wire.trust import read_roots

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from evenwatt_agent.memory import Memory
    from evenwatt_agent.settings import AgentSettings

LOOK_S: Final = 30.0
"""How often the file is looked at."""
_WARN_EVERY_S: Final = 86_400.0
_KEPT: Final = "trust"
_WHY_CHARACTERS: Final = 300

News = tuple[str, dict[str, str | float]]


class NodeKeys:
    """What a node signs with and whom it listens to; nobody where control is off.

    Not safe for threads at once: ``offer`` and ``look`` go through the one worker, like all use of the memory.

    Args:
        settings: The node's.
        memory: Where the newest document is kept.

    Raises:
        Failure: a file cannot be read or is not what it should be.
    """

    def __init__(self, settings: AgentSettings, memory: Memory) -> None:
        self._settings, self._memory = settings, memory
        self._news: list[News] = []
        self._log: Any = get_logger("keys")
        self._complaints = Complaints()
        self._warned: tuple[float, list[str]] = (0.0, [])
        self._keeper: TrustKeeper | None = None
        self.private: Ed25519PrivateKey | None = None
        self.key_id = ""
        self.ring = KeyRing()
        control = settings.control
        if control.enabled and control.private_key and control.trust and control.root:
            self.private = load_private(control.private_key)
            self.key_id = key_id(self.private.public_key().public_bytes_raw()).hex()
            self._file = WatchedFile(control.trust)
            roots = parse_document(control.root, read_roots)
            self._keeper = TrustKeeper(settings.fleet, roots, clocks.wall_ms, settings.node)
            self.ring = self._keeper.ring
            self._begin(self._keeper)

    @property
    def version(self) -> int:
        """Version of the document that counts here; 0 for none."""
        return self._keeper.version if self._keeper is not None else 0

    def offer(self, document: bytes) -> Offer:
        """Take a document that somebody brought, if it is good and newer; say so."""
        if self._keeper is None:
            return Offer(Verdict.REFUSED, 0, "control-off", "control is off on this node")
        before = self._keeper.version
        if not document:  # what the broker retained has been deleted
            return Offer(Verdict.SAME, before)
        offer = self._keeper.offer(document)
        if offer.verdict is Verdict.ADOPTED:
            self._keep(document)
            revoked = len(self._keeper.trust.revoked) if self._keeper.trust else 0
            self._tell("trust-changed", version=offer.version, before=before, revoked=revoked)
        elif offer.verdict is Verdict.REFUSED:
            self._say_refused(offer)
        return offer

    def look(self, now_s: float) -> None:
        """Look whether the file has changed, and whether something ends soon."""
        if self._keeper is None:
            return
        if self._file.changed():
            try:
                self.offer(self._file.read())
            except Failure as failure:
                self._say_refused(Offer(Verdict.REFUSED, self.version, "unreadable", str(failure)))
        troubles = self.troubles()
        said_s, said = self._warned
        if troubles and (troubles != said or now_s - said_s >= _WARN_EVERY_S):
            self._tell("trust-trouble", why="; ".join(troubles))
            self._warned = (now_s, troubles)

    def take_news(self) -> list[News]:
        """Return what has happened since the last time, as events: a name and facts."""
        news, self._news = self._news, []
        return news

    def troubles(self) -> list[str]:
        """Say what needs a person: a document or key that ends, an own key that nobody listens to."""
        if self._keeper is None:
            return []
        own = bytes.fromhex(self.key_id)
        settings = self._settings
        trouble = self._keeper.own_trouble(own, Role.NODE, settings.node, settings.zone)
        return self._keeper.ends(own) + ([trouble] if trouble else [])

    def _begin(self, keeper: TrustKeeper) -> None:
        """Start with the newest of what is kept and what the file holds.

        What is kept counts only under a root that is pinned now: who replaces the root begins anew.
        """
        kept = self._memory.recall(_KEPT)
        if kept:
            keeper.offer(kept.encode())
        version = keeper.version
        try:
            document = self._file.read()
        except Failure:
            if not version:
                raise
            self._log.warning("the trust file cannot be read; the newest document seen counts", version=version)
            return
        offer = keeper.offer(document)
        if offer.verdict is Verdict.ADOPTED:
            self._keep(document)
        elif offer.verdict is Verdict.REFUSED and not version:
            raise Failure(f"{self._file.path}: {offer.why}")
        elif offer.verdict is Verdict.REFUSED and offer.older:
            self._log.info("a newer trust document than the file's came over MQTT and counts", version=version)
        elif offer.verdict is Verdict.REFUSED:
            self._log.warning("the trust file does not count", why=offer.why, version=version)

    def _keep(self, document: bytes) -> None:
        try:
            self._memory.remember(**{_KEPT: document.decode()})
        except sqlite3.Error as error:  # it counts all the same; after a restart the collector brings it again
            self._log.error("the trust document cannot be kept over a restart", why=str(error))

    def _say_refused(self, offer: Offer) -> None:
        """Say it once a minute for each kind: whoever reaches the broker can send bad ones without end."""
        held_back = self._complaints.admit(offer.code, time.monotonic())
        if held_back is not None:
            why = offer.why[:_WHY_CHARACTERS]
            self._tell("trust-refused", code=offer.code, why=why, kept=offer.version, held_back=held_back)

    def _tell(self, name: str, **facts: str | float) -> None:
        self._news.append((name, facts))


def load_private(path: str) -> Ed25519PrivateKey:
    """Read an Ed25519 private key.

    Raises:
        Failure: it cannot be read, others may read it, or it is something else.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  (8 MB)

    try:
        return Ed25519PrivateKey.from_private_bytes(private_key(read_private(path)))
    except ValueError as error:
        expected = "expected an Ed25519 key in PEM form, not encrypted; make one: evenwatt keys new"
        raise Failure(f"{path}: {error}; {expected}") from None
