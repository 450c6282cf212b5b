"""The work behind ``evenwatt broker``: files for the broker and for its clients, from the authority's folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from evenwatt_cli.broker import certificates
from evenwatt_cli.broker.acl import Client, access_list
from evenwatt_cli.broker.config import MARK, Site, configuration
from evenwatt_cli.broker.identities import Identity, parse_identity
from evenwatt_daemon import Failure, read_document
from evenwatt_daemon.settings import parse_document
from evenwatt_wire.keyring import Role
from evenwatt_wire.rights import Party
from evenwatt_wire.topics import TopicError, check_id
from evenwatt_wire.trust import parse_trust, split_trust

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ACL: Final = "acl"
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_GROUP: Final = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_RELOAD_S: Final = 20.0


def write_site(ca_dir: Path, site: Site, hosts: list[str], days: int, conf: Path, to: Path | None = None) -> None:
    """Write all that a broker needs: its certificate and key, the authority, what is revoked, its configuration.

    Args:
        ca_dir: The authority's folder.
        site: The broker; its paths are those on the broker's machine.
        hosts: The names and addresses that clients call it by.
        days: How long its certificate is valid.
        conf: The configuration file to write.
        to: Where the other files are written, if this is not the broker's machine.

    Raises:
        Failure: a file cannot be written, or ``conf`` was written by somebody else.
    """
    if conf.exists() and MARK not in read_document(conf).decode(errors="replace"):
        raise Failure(
            f"{conf}: not written by `evenwatt broker config`; move it away, or name another file with --conf"
        )
    if to is None:
        site = replace(site, folder=site.folder.resolve(), state=site.state and site.state.resolve())
    to = to or site.folder
    certificate, key = certificates.server_certificate(ca_dir, hosts, days)
    _make_folder(to)
    _make_folder(conf.parent)
    if site.state is not None and to == site.folder:
        _make_folder(site.state)
    hand_over(ca_dir, to)
    certificates.write_file(to / "server.pem", certificate)
    _give(to / "server.key", key)
    if site.passwords and not (to / "passwords").exists():
        _give(to / "passwords", b"")
    certificates.write_file(conf, configuration(site).encode())


def hand_over(ca_dir: Path, folder: Path) -> None:
    """Give the broker the authority's certificate and the present list of what is revoked."""
    for name in (certificates.AUTHORITY, certificates.REVOKED):
        certificates.write_file(folder / name, read_document(ca_dir / name))


def write_acl(folder: Path, clients: Iterable[Client], discovery: str = "", group: str = "") -> int:
    """Write the access list; return how many clients it has.

    Args:
        folder: Where it goes.
        clients: Who may log in.
        discovery: Home Assistant's discovery prefix, if there is one.
        group: The Sparkplug group, if there is one.

    Raises:
        Failure: the prefix or the group cannot stand in a topic, or the file cannot be written.
    """
    known = set(clients)
    if discovery and not _PREFIX.fullmatch(discovery):
        raise Failure(
            f"--discovery-prefix: {discovery!r} is no prefix; expected words of letters, digits, '-' and '_', "
            "such as homeassistant"
        )
    if group and not _GROUP.fullmatch(group):
        raise Failure(
            f"--sparkplug: {group!r} is no group; expected 1 to 63 letters, digits, '.', '-' and '_', such as the "
            "fleet's name"
        )
    _give(folder / ACL, access_list(known, discovery, group).encode())
    return len(known)


def certified(ca_dir: Path) -> set[Client]:
    """Return the clients with a standing certificate; nodes whose certificate names no zone are left out.

    Of a node that has been given several the latest one says its zone: it may have moved.
    """
    zones = {certificates.name_of(one): certificates.zone_of(one) for one in certificates.standing(ca_dir)}
    clients = {Client(parse_identity(name), zone) for name, zone in zones.items()}
    return {client for client in clients if client.zone or client.identity.party is not Party.NODE}


def trusted_nodes(path: Path) -> set[Client]:
    """Return the nodes of a trust document, each with its zone.

    Raises:
        Failure: it is not one.
    """
    trust = parse_document(path, lambda document: parse_trust(split_trust(document)[1]))
    return {
        Client(Identity(Party.NODE, key.node), key.zone)
        for key in trust.keys
        if key.role is Role.NODE and key.node and key.zone
    }


def parse_node(text: str) -> Client:
    """Read ``ZONE/NODE``.

    Raises:
        Failure: it is not of that form.
    """
    zone, slash, node = text.partition("/")
    try:
        if slash:
            return Client(Identity(Party.NODE, check_id(node, "node")), check_id(zone, "zone"))
    except TopicError as error:
        raise Failure(f"--node {text!r}: {error}") from None
    raise Failure(f"--node {text!r}: expected ZONE/NODE, for example hall-1/server-1")


def parse_client(text: str) -> Client:
    """Read the name of a client that is no node.

    Raises:
        Failure: it is not one.
    """
    identity = parse_identity(text)
    if identity.party is Party.NODE:
        raise Failure(f"--client {text!r}: expected collector.NAME, operator.NAME or viewer.NAME; a node: --node")
    return Client(identity)


def reload_broker() -> None:
    """Let mosquitto read the access list, passwords and certificates anew, without ending a connection.

    Raises:
        Failure: there is no such service, or it does not reload.
    """
    by_hand = "send the broker SIGHUP yourself: kill -HUP PID"
    if shutil.which("systemctl") is None:
        raise Failure(f"systemctl is not there to reload mosquitto; {by_hand}")
    done = subprocess.run(
        ["systemctl", "reload", "mosquitto"], capture_output=True, text=True, check=False, timeout=_RELOAD_S
    )
    if done.returncode:
        raise Failure(f"systemctl reload mosquitto: {done.stderr.strip() or done.returncode}; {by_hand}")


def write_client(
    ca_dir: Path, identity: Identity, zone: str, days: int, request: bytes | None, out: Path
) -> list[Path]:
    """Certify a client, and write what it needs to ``out``: authority, certificate and, if it was made here, key.

    Raises:
        Failure: a file is there already or cannot be written, or the request is no good.
    """
    name = str(identity)
    key, csr = (b"", request) if request is not None else certificates.new_key_and_request(name)
    paths = [out / f"{name}.pem", out / "ca.pem", *([out / f"{name}.key"] if key else [])]
    if key and paths[2].exists():
        raise Failure(f"{paths[2]}: there is a key already; move it away, or renew its certificate with --request")
    pem = certificates.issue(ca_dir, csr, common_name=name, days=days, zone=zone)
    _make_folder(out)
    certificates.write_file(paths[0], pem)
    certificates.write_file(paths[1], read_document(ca_dir / certificates.AUTHORITY))
    if key:
        certificates.write_file(paths[2], key, private=True)
    return paths


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror}; name a folder that this user may write") from None


def _give(path: Path, content: bytes) -> None:
    """Write what only the broker may read: mosquitto wants to own such files (from 2.1 on it refuses others)."""
    certificates.write_file(path, content, private=True)
    if os.geteuid() == 0:
        try:
            shutil.chown(path, "mosquitto", "mosquitto")
        except LookupError:
            return  # no such user here: the files are for another machine
