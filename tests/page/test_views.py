"""Work, decisions, plan and score in a real browser, on a collector that plans, caps and has a past."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.page.conftest import until
from tests.page.works import Workers, Works
from tests.support import Mosquitto, wait_for

_RULES = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},  # the rest is the same
}
VIEWS = ("work", "decisions", "plan", "score")


@pytest.fixture(scope="module")
def works(tmp_path_factory, chromium):
    """A collector whose nodes run a job, with another that waits for clean hours."""
    folder = tmp_path_factory.mktemp("works")
    broker = Mosquitto(folder).start()
    middle = Works(folder, broker.port, dirty_s=900, horizon="20m", slot="10s")  # all tests are over long before
    middle.remember()
    with middle.run():
        middle.answers()
        with Workers(middle):
            middle.running = middle.submit(
                name="urgent", length="15m", deadline="+16m", workload="render", power_w=20.0
            )
            middle.waiting = middle.submit(
                name="patient", length="20s", deadline="+18m", workload="resnet", power_w=20.0
            )
            wait_for(lambda: middle.job(middle.running)["state"] == "running", "the urgent job runs", 60)
            wait_for(lambda: middle.job(middle.waiting)["decision"], "the other is decided", 60)
            yield middle
    broker.kill()


def test_work_says_what_each_job_and_unit_takes_and_leads_to_the_reasons(works, visit):
    page = visit(works.port, "#/work")
    row = page.locator("#app section", has=page.get_by_role("heading", name="Workloads")).locator(
        "tr", has_text="resnet"
    )
    expect(row).to_have_text(re.compile(r"epochs.*J per epoch.*g per epoch", re.DOTALL))
    page.get_by_role("link", name="patient").click()
    page.get_by_role("heading", name="patient").wait_for()
    options = page.get_by_role("group", name="What could be done")
    expect(options).to_contain_text("At once, at home, at full power")
    expect(options).to_contain_text("Chosen")
    page.get_by_text(re.compile("What would change it|It rests on")).first.wait_for()


def test_decisions_come_by_themselves_can_be_held_and_are_explained(works, visit):
    page = visit(works.port, "#/decisions")
    lines = page.locator(".decisions .line")
    lines.filter(has_text="steered from now on").first.wait_for()
    page.get_by_role("button", name="Pause", exact=True).click()
    works.submit(name="held-back", length="20s", deadline="+18m", power_w=20.0)
    page.get_by_text(re.compile(r"Paused: \d+ new")).wait_for()
    assert lines.filter(has_text="held-back is planned").count() == 0
    page.get_by_role("button", name="Go on").click()
    planned = lines.filter(has_text="held-back is planned").first
    planned.wait_for()
    page.get_by_role("button", name="Power", exact=True).click()
    expect(lines.filter(has_text="held-back is planned")).to_have_count(0)
    lines.filter(has_text="steered from now on").first.focus()
    page.keyboard.press("Enter")
    page.locator(".reason", has_text="may draw").filter(has_text="What would change it").wait_for()
    page.get_by_role("button", name="Jobs", exact=True).click()
    planned.click()
    page.locator(".reason .options tr.chosen").wait_for()


def test_the_plan_has_a_bar_for_each_job_and_the_same_in_a_table(works, visit):
    page = visit(works.port, "#/plan")
    page.locator(".lane.job", has_text="urgent").locator("rect.runs").wait_for(state="attached")
    page.locator(".lane.job", has_text="patient").locator("rect.planned").wait_for(state="attached")
    assert page.locator(".timeline path.level").first.get_attribute("d")
    assert page.locator(".timeline svg.curve").get_attribute("aria-label").startswith("Intensity in hall: from ")
    table = page.get_by_role("group", name="Open jobs in the plan")
    for name in ("urgent", "patient"):
        expect(table.get_by_role("link", name=name)).to_have_count(1)
    before = page.locator(".timeline line.now").first.get_attribute("x1")
    until(page, "before => document.querySelector('.timeline line.now').getAttribute('x1') !== before", before)


def test_a_score_has_its_range_its_grade_its_factors_and_its_gates(works, visit):
    page = visit(works.port, "#/score")
    card = page.locator("section.score", has=page.get_by_role("link", name="resnet"))
    card.wait_for()
    text = re.sub(r"\s", " ", card.inner_text())
    for words in ("per epoch", "90 % range", "baseline", "of 100 points", "Energy", "Together", "Measured coverage"):
        assert words in text
    assert re.search(r"\u00d70\.\d\d", text)
    page.locator("#app section", has=page.get_by_role("heading", name="Improvement by week")).locator(
        "tbody tr"
    ).first.wait_for()
    expect(page.get_by_text("Does it learn?")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_them(works, visit, scheme):
    page = visit(works.port, "#/work", scheme=scheme)
    for view in (*VIEWS, f"work/job/{works.waiting}", "work/resnet"):
        page.goto(f"http://127.0.0.1:{works.port}/#/{view}")
        page.locator(".loading").first.wait_for(state="detached")
        page.locator("main h1").wait_for()
        if view == "decisions":
            page.locator(".decisions button.line").first.click()
            page.locator(".reason p").first.wait_for()
        found = Axe().run(page, options=_RULES[scheme])
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"


def test_they_fit_a_phone(works, visit):
    page = visit(works.port, "#/work", width=360, height=740)
    for view in (*VIEWS, f"work/job/{works.waiting}", "work/resnet"):
        page.goto(f"http://127.0.0.1:{works.port}/#/{view}")
        page.locator(".loading").first.wait_for(state="detached")
        page.locator("main h1").wait_for()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, view
