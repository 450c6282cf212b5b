"""The page in a real browser: open, go to a node by keys, see values change, be told what is old."""

from __future__ import annotations

from tests.page.conftest import until


def test_the_fleet_is_shown_and_its_values_change(fleet, visit):
    page = visit(fleet.port)
    assert page.title() == "Fleet · evenwatt"
    figure = page.locator(".figure .value").first
    before = figure.inner_text()
    until(page, "before => document.querySelector('.figure .value').innerText !== before", before)
    assert page.locator(".connection").inner_text().endswith("live")
