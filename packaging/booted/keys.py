"""The keys of a fleet of one node, made by the verbs that an administrator uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from machine import Booted

CONTROLLER = "/etc/evenwatt/collector.secrets/controller.pem"
OPERATOR = "/etc/evenwatt/operator.pem"
NODE = "/var/lib/evenwatt-actuator/node.pem"


def make_keys(system: Booted, *, node: str, zone: str, fleet: str) -> str:
    """Make the root, a key for each role, and the signed document; return what is said of the last."""
    offline = "/root/offline"
    trust = f"{offline}/trust.json"
    system.must(f"mkdir -m 700 {offline}")
    for command in (
        f"root {offline}/root.pem --no-passphrase",
        f"new controller collector --out {CONTROLLER}",
        f"new operator oncall --out {OPERATOR}",
        f"new node {node} --out {NODE}",
        f"trust init {trust} --fleet {fleet}",
        f"trust add {trust} controller collector --key {CONTROLLER.removesuffix('.pem')}.pub",
        f"trust add {trust} operator oncall --key {OPERATOR.removesuffix('.pem')}.pub",
        f"trust add {trust} node {node} --key {NODE.removesuffix('.pem')}.pub --zone {zone}",
        f"trust sign {trust} --root {offline}/root.pem",
    ):
        system.must(f"evenwatt keys {command}")
    return system.must(f"install -m 644 {trust} {offline}/root.pub /etc/evenwatt && ls /etc/evenwatt")
