"""The broker's access list: what each client may publish and receive, line by line, and nothing beyond it.

Written for mosquitto (``acl_file``): a line for each of :data:`evenwatt_wire.rights.RIGHTS` of each client. Who is not
listed may do nothing. There is no ``pattern`` line: a pattern would let a node speak in any zone under its name.

With a discovery prefix collectors may also announce devices to Home Assistant, in a branch of their own, and viewers
read it. With a Sparkplug group collectors are edge nodes in it, and viewers hosts: they may ask for births again, which
is all that a collector obeys there, and say that they are online.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from evenwatt_wire.rights import RIGHTS, Party, Place
from evenwatt_wire.topics import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from evenwatt_cli.broker.identities import Identity

_HEADER: Final = """\
# Written by `evenwatt broker acl`, and anew when clients come and go; `systemctl reload mosquitto` applies it.
# A client that does not stand here may neither publish nor receive.
"""
_DISCOVERY: Final = {Party.COLLECTOR: "readwrite", Party.VIEWER: "read"}
"""Who announces devices, and who finds them."""
_SPARKPLUG: Final = {
    Party.COLLECTOR: (
        ("readwrite", "{}/NBIRTH/+"),
        *(("write", f"{{}}/{verb}") for verb in ("NDEATH/+", "NDATA/+", "DBIRTH/+/+", "DDATA/+/+", "DDEATH/+/+")),
        ("read", "{}/NCMD/+"),
        ("read", "{}/DCMD/+/+"),
    ),
    Party.VIEWER: (
        *(("read", f"{{}}/{verb}/+") for verb in ("NBIRTH", "NDEATH", "NDATA")),
        *(("read", f"{{}}/{verb}/+/+") for verb in ("DBIRTH", "DDATA", "DDEATH")),
        ("write", "{}/NCMD/+"),
        ("readwrite", "STATE/+"),
    ),
}
"""What edge nodes and hosts may do, below ``spBv1.0``; in a group where there are braces."""


class Client(NamedTuple):
    """Somebody who may log in. ``zone`` is a node's own; the others' rights are for every zone."""

    identity: Identity
    zone: str = ""


def access_list(clients: Iterable[Client], discovery: str = "", group: str = "") -> str:
    """Return the whole file; with Home Assistant's discovery prefix and the Sparkplug group, where they are used."""
    return "\n".join([_HEADER, *(_section(client, discovery, group) for client in sorted(set(clients), key=_order))])


def lines(client: Client, discovery: str = "", group: str = "") -> Iterator[str]:
    """Yield what one client may do, a line for each topic."""
    party = client.identity.party
    for right in RIGHTS:
        says, hears = party in right.said_by, party in right.heard_by
        if says or hears:
            access = "readwrite" if says and hears else "write" if says else "read"
            yield f"topic {access} {PREFIX}/{_zone(client)}/{_place(client, right.place)}/{right.kind.value}"
    if discovery and party in _DISCOVERY:
        yield f"topic {_DISCOVERY[party]} {discovery}/device/evenwatt/+/config"
    for access, topic in _SPARKPLUG.get(party, ()) if group else ():
        yield f"topic {access} spBv1.0/{topic.format(group)}"


def _section(client: Client, discovery: str, group: str) -> str:
    return "\n".join([f"user {client.identity}", *lines(client, discovery, group), ""])


def _zone(client: Client) -> str:
    return client.zone or "+"


def _place(client: Client, place: Place) -> str:
    if place is not Place.NODE:
        return place.value
    return client.identity.name if client.identity.party is Party.NODE else "+"


def _order(client: Client) -> tuple[bool, str, str]:
    """Order by who they are, with the nodes last, by zone: changes of the file are easy to see."""
    return client.identity.party is Party.NODE, client.zone, str(client.identity)
