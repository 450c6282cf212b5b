"""Probes are answered, and a flood of them is not."""

from __future__ import annotations

from evenwatt_collector.echoes import Echoes


def test_who_floods_is_answered_seldom_and_keeps_nobody_else_from_an_answer():
    echoes = Echoes()
    flood = sum(echoes.allow("n1", number / 1000) for number in range(10_000))
    assert 40 <= flood <= 51
    assert echoes.allow("n2", 10.0)


def test_many_askers_at_once_are_bounded_and_later_answered():
    echoes = Echoes()
    assert sum(echoes.allow(f"n{number}", 0.0) for number in range(10_000)) == 200
    assert echoes.allow("n9999", 1.0)
