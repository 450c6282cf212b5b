"""Every view, light and dark, desktop and phone: axe-core finds nothing, and nothing runs out of sight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from evenwatt_collector.page.routes import ASSETS
from tests.page.walking import walk

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PLACES = {"zone": "#/zone/hall-a", "node": "#/node/hall-a/node-0008"}
SETTLED = "() => !document.querySelector('.loading') && document.querySelector('main h1')"


def views():
    """Return the names of all views, as the page itself registers them."""
    registered = re.search(r"export const VIEWS = \{(.*?)\n\};", (ASSETS / "app.js").read_text(), re.DOTALL)
    return re.findall(r"^  (\w+): \{", registered[1], re.MULTILINE)


@pytest.mark.parametrize("name", views())
def test_axe_finds_nothing_and_nothing_is_out_of_sight(name, fleet, visit):
    page = visit(fleet.port, PLACES.get(name, f"#/{name}"))
    for scheme, width in (("light", 1440), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(SETTLED)
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, f"{scheme}, {width} px: {found.generate_report()}"
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is {wide} px too wide at {width} px"


@pytest.mark.parametrize("name", views())
def test_everything_is_reached_by_tab_and_is_seen(name, fleet, visit):
    page = visit(fleet.port, PLACES.get(name, f"#/{name}"), height=600)
    page.wait_for_function(SETTLED)
    assert walk(page) == []
    if name == "zone":  # backwards, things come from below the head of the page
        assert walk(page, "Shift+Tab") == []


def test_no_view_has_inline_code_and_every_file_is_handed_out():
    """The policy would refuse it in the browser; here it is named."""
    for path in ASSETS.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text), path.name
    imported = {
        name
        for path in ASSETS.rglob("*.js")
        for name in re.findall(r'(?:from |import\()"/page/([^"]+)"', path.read_text())
    }
    preloaded = set(re.findall(r'"/page/([^"]+)"', (ASSETS / "index.html").read_text()))
    assert [name for name in sorted(imported | preloaded) if not Path(ASSETS, name).is_file()] == []


def test_what_the_first_view_needs_is_fetched_at_once():
    """Otherwise the browser finds one file after the other, each a round trip later."""
    needed, to_read = set(), ["app.js", "views/fleet.js"]
    while to_read:
        name = to_read.pop()
        if name not in needed:
            needed.add(name)
            to_read += re.findall(r'from "/page/([^"]+)"', (ASSETS / name).read_text())
    start = (ASSETS / "index.html").read_text()
    assert set(re.findall(r'modulepreload" href="/page/([^"]+)"', start)) == needed - {"app.js"}
