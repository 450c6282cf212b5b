"""The page in a real browser: open, go to a node by keys, see values change, be told what is old."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.collector.middle import stop
from tests.page.conftest import until

VALUE = "document.querySelector('.figure .value').innerText"


def test_the_fleet_is_shown_and_its_values_change(fleet, visit):
    page = visit(fleet.port)
    assert page.title() == "Fleet · evenwatt"
    page.locator(".figure .value").first.wait_for()
    before = page.locator(".figure .value").first.inner_text()
    assert re.fullmatch(r"[\d.]+\s(W|kW)~", before), "these nodes say that they estimate"
    until(page, f"before => {VALUE} !== before", before)
    expect(page.locator(".connection")).to_have_text(re.compile("live$"))
    page.locator(".chart canvas").nth(1).wait_for()


def test_a_node_is_reached_by_keys_alone(fleet, visit):
    page = visit(fleet.port)
    page.keyboard.press("g")
    page.keyboard.press("z")
    page.locator("h1", has_text="Zones and nodes").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("0042")
    page.get_by_role("option", name="node-0042").wait_for()
    page.keyboard.press("Enter")
    page.locator("h1", has_text="node-0042").wait_for()
    counters = page.get_by_role("group", name="Counters of this node")
    counters.get_by_text("package-0/dram").wait_for()
    expect(counters.locator("tbody tr")).to_have_count(4)
    expect(page).to_have_title(re.compile("^node-0042"))
    until(page, "document.activeElement.id === 'main'")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")


def test_a_long_table_draws_what_is_in_sight_and_keys_reach_the_rest(fleet, visit):
    page = visit(fleet.port, "#/zones")
    table = page.get_by_role("group", name="All nodes")
    table.locator("tbody tr[data-index='0']").wait_for()
    expect(table.locator("table")).to_have_attribute("aria-rowcount", "101")
    assert table.locator("tbody tr[data-index]").count() < 60
    table.get_by_role("button", name="Node").click()
    expect(table.locator("th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    expect(table.locator("tbody tr[data-index='0'] a").first).to_have_text("node-0000")
    table.locator("tbody tr[data-index='0'] a").focus()
    page.keyboard.press("End")
    until(page, "document.activeElement.innerText === 'node-0099'")
    page.keyboard.press("ArrowUp")
    until(page, "document.activeElement.innerText === 'node-0098'")
    page.keyboard.press("Enter")
    page.locator("h1", has_text="node-0098").wait_for()


def test_what_is_typed_by_others_is_only_text(fleet, visit):
    page = visit(fleet.port, "#/node/hall-a/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    page.locator("h1", has_text="<img src=x onerror=alert(1)>").wait_for()
    assert page.locator("main img").count() == 0
    page.goto(f"http://127.0.0.1:{fleet.port}/#/nowhere%00")
    page.locator("h1", has_text="Not found").wait_for()


def test_colours_are_chosen_and_remembered(fleet, visit):
    page = visit(fleet.port)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark colours").click()
    until(page, f"light => {ground} !== light", light)
    dark = page.evaluate(ground)
    page.reload()
    until(page, f"dark => {ground} === dark", dark)


def test_a_node_that_falls_silent_is_grey_and_says_why(fleet, visit):
    page = visit(fleet.port, "#/node/hall-b/node-0099")
    page.locator(".figure .value").first.wait_for()
    until(page, "document.querySelectorAll('.stale').length === 0")
    fleet.silence_one()
    page.get_by_text("silent: it ought to speak and does not").first.wait_for()
    expect(page.locator(".figures .figure.stale")).to_have_count(5)
    page.goto(f"http://127.0.0.1:{fleet.port}/#/data")
    page.get_by_role("group", name="Nodes with something wrong").get_by_text("node-0099").wait_for()


def test_it_comes_back_when_the_collector_does(fleet, visit, chromium):
    page = visit(fleet.port, forgive="ERR_|Failed to load|503")
    page.locator(".connection", has_text="live").wait_for()
    stop(fleet.collector)
    page.locator(".connection", has_text="reconnecting since").wait_for()
    expect(page.locator(".figure.stale")).to_have_count(5)
    page.get_by_text("What is shown is of").wait_for()
    fleet.start()
    page.locator(".connection", has_text=re.compile("live$")).wait_for()
    until(page, "!document.querySelector('.figure.stale')")


def test_what_a_dead_broker_leaves_behind_is_grey_in_every_view(fleet, visit):
    """The last of this module: there is no broker after it."""
    page = visit(fleet.port)
    until(page, "!document.querySelector('.figure.stale')")
    fleet.broker.kill()
    expect(page.locator(".figures .figure.stale")).to_have_count(5, timeout=90_000)
    page.get_by_text("the collector has no connection to the broker").first.wait_for()
    page.goto(f"http://127.0.0.1:{fleet.port}/#/zone/hall-a")
    page.locator("h1", has_text="hall-a").wait_for()
    expect(page.locator(".figures .figure.stale")).to_have_count(5)
    page.goto(f"http://127.0.0.1:{fleet.port}/#/work")
    page.locator("h1", has_text="Work").wait_for()
    expect(page.locator(".figures .figure.stale")).to_have_count(4)
