"""Faults on request: ``broker@10+20`` kills the broker at second 10 for 20 s, ``agent:xeon-1@12`` an agent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evenwatt_daemon import Failure

_FORM = re.compile(r"(?P<what>broker|agent:(?P<node>[a-z0-9-]+))@(?P<at>\d+(?:\.\d+)?)(?:\+(?P<length>\d+(?:\.\d+)?))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to break. ``node`` is None for the broker."""

    at_s: float
    length_s: float
    node: str | None


def parse_faults(texts: tuple[str, ...], nodes: frozenset[str]) -> list[Fault]:
    """Read faults in the order of their time.

    Raises:
        Failure: one is not of the form, or names no node of the demo.
    """
    faults = []
    for text in texts:
        match = _FORM.fullmatch(text)
        if match is None:
            raise Failure(f"--fault {text!r}: expected broker@SECOND+SECONDS or agent:NODE@SECOND[+SECONDS]")
        if match["node"] and match["node"] not in nodes:
            raise Failure(f"--fault {text!r}: no such node; this demo has {', '.join(sorted(nodes))}")
        faults.append(Fault(float(match["at"]), float(match["length"] or 1.0), match["node"]))
    return sorted(faults, key=lambda fault: fault.at_s)
