"""Where a person at a terminal finds the fleet: the broker, the collector, this node's socket, and their own key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from evenwatt_daemon import load_settings
from evenwatt_daemon.broker import BrokerSettings

DEFAULT_PATHS: Final = ("~/.config/evenwatt/operator.toml", "~/.evenwatt/operator.toml", "/etc/evenwatt/operator.toml")


class OperatorSettings(Struct, forbid_unknown_fields=True):
    """The file; every key has a default that fits one machine."""

    fleet: str = "fleet"
    """Name of the fleet, part of every signed command."""
    zone: str = "default"
    """Zone of nodes that are named without one."""
    mqtt: BrokerSettings = field(default_factory=BrokerSettings)
    collector_url: str = "http://127.0.0.1:9730"
    """Where the collector's HTTP is."""
    socket: str = "/run/evenwatt/agent.sock"
    """This machine's agent."""
    private_key: str | None = None
    """The operator's Ed25519 key (PEM), for cap, release, pause, resume, and jobs over MQTT."""
    token_file: str | None = None
    """Token that the collector knows (its ``[http] tokens``), for submit, cancel and overrides over HTTP."""
    trust: str | None = None
    """The trust document, which holds the nodes' keys, to verify their acknowledgements."""
    root: str | None = None
    """The root's public key (PEM), which has signed it."""


def load(path: Path | None) -> OperatorSettings:
    """Read the named file, else ``$EVENWATT_CONFIG``, else the first default one that exists, else defaults."""
    named = path or (Path(os.environ["EVENWATT_CONFIG"]) if os.environ.get("EVENWATT_CONFIG") else None)
    if named is None:
        named = next((found for found in map(_at_home, DEFAULT_PATHS) if found.exists()), None)
    return load_settings(OperatorSettings, named)


def _at_home(path: str) -> Path:
    return Path(os.path.expanduser(path))  # noqa: PTH111  (Path.expanduser raises for a user without a home)
