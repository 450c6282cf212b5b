"""The configuration of a site's mosquitto (2.0 or later), whole and with the reason of each line beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evenwatt_wire.codec import MAX_PAYLOAD_BYTES
from evenwatt_wire.trust import MAX_TRUST_BYTES

if TYPE_CHECKING:
    from pathlib import Path

MARK: Final = "# Written by `evenwatt broker config`."
TLS_PORT: Final = 8883
_PACKET_BYTES: Final = MAX_TRUST_BYTES + MAX_PAYLOAD_BYTES


@dataclass(frozen=True, slots=True)
class Site:
    """What differs from one site to the next."""

    folder: Path
    """Where the broker finds its certificate, key, access list and the like."""
    port: int = TLS_PORT
    address: str = ""
    """Address to listen on; every one by default."""
    passwords: bool = False
    """Clients have passwords instead of certificates; the broker still has its own, and TLS is on."""
    most_clients: int = 10_000
    memory_mb: int = 2_000
    """Beyond it the broker refuses and disconnects, instead of being killed."""
    state: Path | None = None
    """Where a broker of its own keeps its database; None where Debian's own file says it (``conf.d``)."""
    user: str = "mosquitto"
    """Whom the broker becomes; only said in a file that stands alone."""


def configuration(site: Site) -> str:
    """Return the file."""
    alone = _ALONE.format(state=site.state, user=site.user) if site.state is not None else ""
    who = (_PASSWORDS if site.passwords else _CERTIFICATES).format(folder=site.folder)
    return _TEXT.format(
        mark=MARK,
        alone=alone,
        folder=site.folder,
        listener=f"{site.port} {site.address}".rstrip(),
        who=who,
        packet=_PACKET_BYTES,
        clients=site.most_clients,
        memory=site.memory_mb * 1_000_000,
    )


_TEXT: Final = """\
{mark}
# `evenwatt broker acl` keeps the access list beside it up to date. TLS only: there is no listener without it, and none
# for web sockets, since this file names the only one. docs/broker.md explains the whole.

# Who is not known gets nothing; who is known gets what the access list says, line by line.
per_listener_settings false
allow_anonymous false
acl_file {folder}/acl
{alone}
# What is retained (states, births, summaries) outlives a restart of the broker. The ledger needs no help from it: it
# waits on the nodes' own disks until a collector has stored it.
persistence true
autosave_interval 300

# Bounds, so that one client cannot fill the broker's memory. The largest message is the trust document.
max_packet_size {packet}
max_inflight_messages 100
max_queued_messages 20000
max_queued_bytes 67108864
queue_qos0_messages false
max_keepalive 120
persistent_client_expiration 1h
max_topic_alias 0
memory_limit {memory}
sys_interval 60

# Who comes and goes, and why somebody is refused.
log_type error
log_type warning
log_type notice
log_type information
connection_messages true

listener {listener}
protocol mqtt
max_connections {clients}
max_qos 1
tls_version tlsv1.2
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
{who}"""

_CERTIFICATES: Final = """\
# A client is who its certificate says: the common name is its name in the access list. Revoked ones are refused.
require_certificate true
use_identity_as_username true
crlfile {folder}/crl.pem
"""

_PASSWORDS: Final = """\
# A client is who its password says; make one with: mosquitto_passwd {folder}/passwords NAME
require_certificate false
password_file {folder}/passwords
"""

_ALONE: Final = """
user {user}
persistence_location {state}/
log_dest stderr
"""
