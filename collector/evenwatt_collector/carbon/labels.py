"""Labels for what is no task: services, containers, pods. Pure.

A task brings its labels along. Everything else is known by what it is (``unit/llm.service``); rules of the settings say
which workload, model, phase and team that is. The first rule that fits fills in what an owner does not say itself.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct, convert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_collector.carbon.shares import Owner

_KEPT: Final = 50_000


class LabelSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[labels]]`` table."""

    owner: Annotated[str, Meta(pattern=r"^[^/]+/.*(?!\n)$", max_length=500)]
    """``KIND/NAME`` with wildcards, e.g. ``unit/llm-*.service``, ``pod/*``, ``task/*``."""
    nodes: str = "*"
    """Name of nodes, with wildcards."""
    workload: str = ""
    """Workload that it is."""
    model: str = ""
    """Model that it trains or serves."""
    phase: str = ""
    """Phase: ``train``, ``fine-tune``, ``evaluate``, ``infer``, ``idle-loaded``."""
    team: str = ""
    """Who answers for it."""


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


class LabelHistory:
    """Which rules held for what was stored when: a report as of an earlier moment books by the rules of then.

    Args:
        kept: What ``rules`` was; None: nothing was kept yet.
    """

    def __init__(self, kept: object) -> None:
        self.rules: list[tuple[int, list[LabelSettings]]] = convert(kept or [], list[tuple[int, list[LabelSettings]]])
        """From which ``stored_ms`` on, ascending; plain data once encoded."""
        self._made: dict[int, Labels] = {}

    def change(self, rules: Sequence[LabelSettings], since_ms: int) -> bool:
        """Let rules hold from a moment on; return whether they are others than before."""
        if self.rules and self.rules[-1][1] == list(rules):
            return False
        self.rules.append((since_ms if self.rules else 0, list(rules)))
        return True

    def at(self, stored_ms: int) -> Labels:
        """Return the rules for what was stored at a moment."""
        i = bisect_right(self.rules, stored_ms, key=lambda entry: entry[0]) - 1
        if i not in self._made:
            self._made[i] = Labels(self.rules[i][1] if i >= 0 else [])
        return self._made[i]
