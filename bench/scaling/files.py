"""What a fleet of light nodes, its broker and its collector read: keys, settings, plans."""

from __future__ import annotations

import getpass
import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from scaling.node import MEAN_DEMAND_W

from evenwatt_cli.demo.scenario import free_port
from evenwatt_cli.keys.files import new_key, raw_public
from evenwatt_daemon import Failure
from evenwatt_wire import Key, Role, Trust, sign_trust, write_trust

if TYPE_CHECKING:
    from pathlib import Path

FLEET = "bench"
BUDGET_SHARE = 0.9
"""Of what the nodes want on the average: so caps bind, and move from node to node."""
NODES_A_PROCESS = 2_500


@dataclass(frozen=True)
class Site:
    """What was written, and where."""

    folder: Path
    broker_port: int
    http_port: int
    plans: tuple[Path, ...]
    nodes: int

    @property
    def config(self) -> Path:
        """The collector's settings."""
        return self.folder / "collector.toml"

    @property
    def broker(self) -> Path:
        """The broker's settings."""
        return self.folder / "mosquitto.conf"

    @property
    def database(self) -> Path:
        """The collector's database."""
        return self.folder / "state" / "collector.db"


def write_site(folder: Path, nodes: int, zones: int, ledger_s: float) -> Site:
    """Write everything for a fleet of ``nodes`` in ``zones``."""
    names = [f"zone-{z}" for z in range(zones)]
    rows = [(names[i % zones], f"n{i:05d}", Ed25519PrivateKey.generate()) for i in range(nodes)]
    _write_keys(folder, rows)
    port, http_port = free_port(), free_port()
    user = getpass.getuser()
    (folder / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser {user}\nset_tcp_nodelay true\n"
        # as `evenwatt broker` writes them
        "max_inflight_messages 100\nmax_queued_messages 20000\nmax_queued_bytes 67108864\n"
    )
    zone_rows = "".join(
        f'[[zones]]\nname = "{name}"\ngrid = "DE"\nbudget_w = {BUDGET_SHARE * MEAN_DEMAND_W * count:.0f}\n'
        for name, count in zip(names, [len(range(z, nodes, zones)) for z in range(zones)], strict=True)
    )
    (folder / "collector.toml").write_text(
        f'fleet = "{FLEET}"\nstate_dir = "{folder / "state"}"\n[mqtt]\nport = {port}\n[http]\nport = {http_port}\n'
        f'[keys]\nprivate_key = "{folder / "controller.pem"}"\ntrust = "{folder / "trust.json"}"\n'
        f'root = "{folder / "root.pub"}"\n[log]\nstyle = "json"\n{zone_rows}'
    )
    plans = []
    for first in range(0, nodes, NODES_A_PROCESS):
        path = folder / f"swarm-{first // NODES_A_PROCESS}.json"
        plan = {
            "port": port,
            "ledger_s": ledger_s,
            "nodes": [
                (zone, name, key.private_bytes_raw().hex()) for zone, name, key in rows[first : first + NODES_A_PROCESS]
            ],
            "truth": str(path.with_suffix(".truth")),
        }
        path.write_text(json.dumps(plan))
        plans.append(path)
    return Site(folder, port, http_port, tuple(plans), nodes)


def _write_keys(folder: Path, rows: list[tuple[str, str, Ed25519PrivateKey]]) -> None:
    controller, root = new_key(folder / "controller.pem"), new_key(folder / "root.pem")
    keys = [Key(raw_public(controller).hex(), Role.CONTROLLER, name="controller")]
    keys += [Key(raw_public(key).hex(), Role.NODE, node=name, zone=zone) for zone, name, key in rows]
    now = datetime.now(UTC).replace(microsecond=0)
    body = write_trust(Trust(FLEET, 1, now, now + timedelta(days=365), keys))
    (folder / "trust.json").write_bytes(sign_trust(body, [root]))


def mosquitto() -> str:
    """Return where the broker is.

    Raises:
        Failure: it is not installed.
    """
    return program("mosquitto", "mosquitto")


def program(name: str, package: str) -> str:
    """Return where a program is.

    Raises:
        Failure: it is not installed.
    """
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Failure(f"bench: no program {name!r}; it needs one: apt-get install {package}")
    return found
