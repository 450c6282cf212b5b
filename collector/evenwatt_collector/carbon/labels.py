"""Labels for what is no task: services, containers, pods. Pure.

A task brings its labels along. Everything else is known by what it is (``unit/llm.service``); rules of the settings say
which workload, model, phase and team that is. The first rule that fits fills in what an owner does not say itself.
"""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.carbon.shares import Owner

_KEPT: Final = 50_000


class LabelSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[labels]]`` table."""

    owner: Annotated[str, Meta(pattern=r"^[^/]+/.*$", max_length=500)]
    """``KIND/NAME`` with wildcards, e.g. ``unit/llm-*.service``, ``pod/*``, ``task/*``."""
    nodes: str = "*"
    """Name of nodes, with wildcards."""
    workload: str = ""
    model: str = ""
    phase: str = ""
    team: str = ""


class Labels:
    """The rules, in order."""

    def __init__(self, rules: Sequence[LabelSettings]) -> None:
        self._rules = tuple(rules)
        self._known: dict[tuple[Owner, str], Owner] = {}

    def apply(self, owner: Owner, node: str) -> Owner:
        """Return an owner of a node with its labels."""
        if not self._rules:
            return owner
        found = self._known.get((owner, node))
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[owner, node] = self._labelled(owner, node)
        return found

    def _labelled(self, owner: Owner, node: str) -> Owner:
        name = f"{owner.kind}/{owner.name}"
        for rule in self._rules:
            if fnmatchcase(name, rule.owner) and fnmatchcase(node, rule.nodes):
                return replace(
                    owner,
                    workload=owner.workload or rule.workload,
                    model=owner.model or rule.model,
                    phase=owner.phase or rule.phase,
                    team=owner.team or rule.team,
                )
        return owner
