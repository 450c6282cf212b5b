"""What a client is called to the broker, as its certificate's common name or its login, and what that lets it do.

A node is called by its identifier. Everything else has a role in front, and a dot, which no node can be called by:
``collector.main``, ``operator.alice``, ``viewer.grafana``. So no node can pass for a collector by being named like one.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from evenwatt_daemon import Failure
from evenwatt_wire.rights import Party
from evenwatt_wire.topics import TopicError, check_id

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,51}[a-z0-9])?")
"""With its role at most 64 characters: the longest common name that X.509 allows (RFC 5280, ub-common-name)."""


class Identity(NamedTuple):
    """A client of the broker; as text its common name or login."""

    party: Party
    name: str

    def __str__(self) -> str:
        return self.name if self.party is Party.NODE else f"{self.party.value}.{self.name}"


def parse_identity(text: str) -> Identity:
    """Read a common name or login.

    Raises:
        Failure: it is neither a node's identifier nor a role and a name.
    """
    role, dot, name = text.partition(".")
    if not dot:
        try:
            return Identity(Party.NODE, check_id(text, "node"))
        except TopicError as error:
            raise Failure(f"{error}; or write collector.NAME, operator.NAME or viewer.NAME") from None
    if role not in _ROLES or not _NAME.fullmatch(name):
        raise Failure(
            f"{text!r} is not a client of the broker: expected a node's identifier, or collector.NAME, operator.NAME "
            f"or viewer.NAME with a name of 1 to 53 of a-z, 0-9 and '-'"
        )
    return Identity(Party(role), name)


_ROLES: Final = {Party.COLLECTOR.value, Party.OPERATOR.value, Party.VIEWER.value}
