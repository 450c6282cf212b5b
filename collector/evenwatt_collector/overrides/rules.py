"""Rules with overrides of nodes on top; those of zones are among the limits of the rules themselves. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from evenwatt_collector.overrides.model import Kind, told
from evenwatt_collector.rules import RulesAbove

if TYPE_CHECKING:
    from collections.abc import Iterable

    from evenwatt_collector.overrides.book import Book
    from evenwatt_collector.rules import NodeRule, Rules


class OverriddenRules(RulesAbove):
    """Rules as a person has tightened them.

    Args:
        rules: The rules below.
        book: What was asked for; changed by others.
    """

    def __init__(self, rules: Rules, book: Book) -> None:
        super().__init__(rules)
        self._book = book
        self._before: dict[tuple[str, str], list[str]] = {}

    def node(self, zone: str, name: str) -> NodeRule:
        """Return the rule below, with a cap and a pause of the node's own."""
        rule = self._rules.node(zone, name)
        cap, pause = self._book.of(Kind.CAP, zone, name), self._book.of(Kind.PAUSE, zone, name)
        if cap is not None and cap.watts is not None and (rule.ceiling_w is None or cap.watts < rule.ceiling_w):
            rule = replace(rule, ceiling_w=cap.watts, held=f"a cap of {cap.watts:,.0f} W, {told(cap)}")
        if pause is not None:
            rule = replace(rule, targets=("*",), pause=f"a pause, {told(pause)}")
        return rule

    def moved(self) -> Iterable[tuple[str, str]]:
        """Return the nodes whose overrides have changed, and those of the rules below."""
        before, self._before = self._before, self._book.by_node()
        changed = [key for key in before.keys() | self._before.keys() if before.get(key) != self._before.get(key)]
        return [*self._rules.moved(), *changed]
