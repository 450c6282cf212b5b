"""The ready-made files in packaging/mosquitto. ``python -m tests.broker.samples`` writes them anew."""

from __future__ import annotations

from pathlib import Path

from evenwatt_cli.broker.acl import Client, access_list
from evenwatt_cli.broker.config import Site, configuration
from evenwatt_cli.broker.identities import parse_identity

FOLDER = Path(__file__).parents[2] / "packaging" / "mosquitto"
_THERE = Path("/etc/mosquitto/evenwatt")
_CLIENTS = {"server-1": "hall-1", "server-2": "hall-1", "collector.main": "", "operator.alice": "", "viewer.screen": ""}

SAMPLES = {
    "evenwatt.conf": configuration(Site(_THERE)),
    "evenwatt-passwords.conf": configuration(Site(_THERE, passwords=True)),
    "acl": access_list(Client(parse_identity(name), zone) for name, zone in _CLIENTS.items()),
}

if __name__ == "__main__":
    for name, text in SAMPLES.items():
        (FOLDER / name).write_text(text)
