"""``evenwatt broker``: options and help; the work is in :mod:`evenwatt_cli.broker.site`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

broker_app = typer.Typer(
    name="broker", help="Certificates, access list and configuration of the site's mosquitto.", no_args_is_help=True
)

# typer reads annotations at run time, so the types of options are real objects here (Optional, Path).
Authority = Annotated[
    Path, typer.Option("--ca", help="Folder of the authority; it belongs on an administrator's machine.")
]
Folder = Annotated[Path, typer.Option("--to", help="Where the broker finds its files.")]
Reload = Annotated[bool, typer.Option("--reload", help="Then let the running mosquitto read them (systemctl reload).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

_CA = Path("/etc/evenwatt/ca")
_TO = Path("/etc/mosquitto/evenwatt")
_CONF = Path("/etc/mosquitto/conf.d/evenwatt.conf")
_DAYS = 397


@broker_app.command()
def init(
    *,
    fleet: Annotated[str, typer.Option(help="Name of the fleet, for people who look at a certificate.")] = "fleet",
    ca: Authority = _CA,
    json_: Json = False,
) -> None:
    """Make the fleet's own certificate authority, for ten years."""
    from evenwatt_cli.broker.certificates import AUTHORITY, make_authority

    make_authority(ca, fleet)
    _say(json_, {"authority": str(ca / AUTHORITY)}, f"made {ca}; keep a copy of it offline, and its ca.key from others")


@broker_app.command()
def config(
    *,
    host: Annotated[list[str], typer.Option("--host", help="Name or address that clients call the broker by; repeat.")],
    ca: Authority = _CA,
    to: Folder = _TO,
    conf: Annotated[Path, typer.Option(help="The configuration file to write.")] = _CONF,
    at: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where the files of --to will be on the broker, if they are written on another machine."),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8883,
    address: Annotated[str, typer.Option("--listen", help="Address to listen on; default: all.")] = "",
    passwords: Annotated[bool, typer.Option("--passwords", help="Clients have passwords, not certificates.")] = False,
    state_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            help="Write a file that stands alone, with the broker's database here, instead of one for conf.d."
        ),
    ] = None,
    user: Annotated[str, typer.Option(help="Whom a broker with a file of its own becomes.")] = "mosquitto",
    most_clients: Annotated[int, typer.Option(min=1, help="How many may be connected at once.")] = 10_000,
    memory_mb: Annotated[int, typer.Option(min=16, help="Memory that the broker may use, in megabytes.")] = 2_000,
    days: Annotated[int, typer.Option(min=1, help="How long the broker's certificate is valid.")] = _DAYS,
    reload: Reload = False,
    json_: Json = False,
) -> None:
    """Write all that the broker needs. Run it again to renew its certificate: --reload is enough then."""
    from evenwatt_cli.broker import site
    from evenwatt_cli.broker.config import Site

    chosen = Site(
        at or to,
        port,
        address,
        passwords=passwords,
        most_clients=most_clients,
        memory_mb=memory_mb,
        state=state_dir,
        user=user,
    )
    site.write_site(ca, chosen, host, days, conf, to if at is not None else None)
    if not (to / site.ACL).exists():
        site.write_acl(to, site.certified(ca))
    _reload(reload)
    _say(
        json_,
        {"configuration": str(conf), "folder": str(to), "hosts": host, "port": port},
        f"wrote {conf} and {to}\nnext: evenwatt broker acl, then systemctl restart mosquitto",
    )


@broker_app.command()
def acl(
    *,
    trust: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The trust document: its nodes, and no others, may connect."),
    ] = None,
    node: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--node", help="ZONE/NODE that has no certificate or key from here; repeat."),
    ] = None,
    client: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--client", help="collector.NAME, operator.NAME or viewer.NAME that has a password; repeat."),
    ] = None,
    home_assistant: Annotated[
        bool, typer.Option("--home-assistant", help="Let collectors announce devices, and viewers find them.")
    ] = False,
    discovery_prefix: Annotated[
        str, typer.Option(help="The discovery prefix that is set in Home Assistant.")
    ] = "homeassistant",
    sparkplug: Annotated[
        str,
        typer.Option(
            metavar="GROUP", help="Let collectors be edge nodes of this Sparkplug group, and viewers its hosts."
        ),
    ] = "",
    ca: Authority = _CA,
    to: Folder = _TO,
    reload: Reload = False,
    json_: Json = False,
) -> None:
    """Write the access list and what is revoked, from the certificates that were issued and the trust document.

    Changed rights hold at once after a reload, also for who is connected.
    """
    from evenwatt_cli.broker import site
    from evenwatt_wire.rights import Party

    clients = site.certified(ca)
    if trust is not None:
        clients = {one for one in clients if one.identity.party is not Party.NODE} | site.trusted_nodes(trust)
    clients |= {site.parse_node(one) for one in node or []} | {site.parse_client(one) for one in client or []}
    count = site.write_acl(to, clients, discovery_prefix if home_assistant else "", sparkplug)
    site.hand_over(ca, to)
    _reload(reload)
    nodes = sum(one.identity.party is Party.NODE for one in clients)
    text = f"wrote {to / site.ACL}: {_count(nodes, 'node')} and {_count(count - nodes, 'other client')}"
    if not any(one.identity.party is Party.COLLECTOR for one in clients):
        text += "\nno collector stands in it: evenwatt broker cert collector.main"
    if not reload:
        text += "\nnext: systemctl reload mosquitto (or give --reload): until then the broker goes by the old list"
    _say(json_, {"acl": str(to / site.ACL), "clients": sorted(str(one.identity) for one in clients)}, text)


@broker_app.command()
def cert(
    name: Annotated[str, typer.Argument(help="A node's identifier, or collector.NAME, operator.NAME, viewer.NAME.")],
    *,
    zone: Annotated[str, typer.Option("--zone", "-z", help="A node's zone, for the access list.")] = "",
    request: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Certify the key of this request (PEM) instead of making one; so a certificate is renewed."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the client's files.")] = Path(),
    days: Annotated[int, typer.Option(min=1, help="How long it is valid.")] = _DAYS,
    ca: Authority = _CA,
    json_: Json = False,
) -> None:
    """Give a client a certificate. A node that is enrolled has one already (evenwatt enroll)."""
    from evenwatt_cli.broker import site
    from evenwatt_cli.broker.identities import parse_identity
    from evenwatt_daemon import Failure, read_document
    from evenwatt_wire.rights import Party

    identity = parse_identity(name)
    if zone and identity.party is not Party.NODE:
        raise Failure(f"--zone {zone!r}: {name} has rights in every zone; leave --zone out")
    csr = read_document(request) if request is not None else None
    paths = site.write_client(ca, identity, zone, days, csr, out)
    keys = dict(zip(("cert_file", "ca_file", "key_file"), map(str, paths), strict=False))
    text = "\n".join([*(f"{key} = {json.dumps(path)}" for key, path in keys.items()), "next: evenwatt broker acl"])
    _say(json_, keys, text)


@broker_app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Who is not to be trusted any more.")],
    *,
    ca: Authority = _CA,
    json_: Json = False,
) -> None:
    """Revoke every certificate of a client. `broker acl` then tells the broker."""
    from evenwatt_cli.broker.certificates import revoke as revoke_all

    count = revoke_all(ca, name)
    text = f"revoked {count} of {name}\nnext: evenwatt broker acl --reload, and restart mosquitto to end its connection"
    _say(json_, {"name": name, "revoked": count}, text)


def _reload(asked: bool) -> None:
    if asked:
        from evenwatt_cli.broker.site import reload_broker

        reload_broker()


def _say(as_json: bool, document: Mapping[str, object], text: str) -> None:
    print(json.dumps(document) if as_json else text)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
