"""Actions on the page, from the log-in to the limit in the machine, and what nobody gets done."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.page.conftest import until
from tests.page.test_every_view import RULES
from tests.page.walking import walk
from tests.site import NODE, ZONE, Site
from tests.support import Mosquitto, free_port, process, wait_for

TOKEN = "0123456789abcdef0123456789abcdef"
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    """One simulated machine, its agent, and a collector that steers it."""
    folder = tmp_path_factory.mktemp("hall")
    broker = Mosquitto(folder).start()
    site, port = Site(folder, broker.port), free_port()
    (folder / "tokens").write_text(f"ada act {TOKEN}\njo jobs {TOKEN[::-1]}\n")
    config = folder / "collector.toml"
    config.write_text(
        f'fleet = "f"\nstate_dir = "{folder / "middle"}"\n[mqtt]\nport = {broker.port}\nkeepalive_s = 2\n'
        f'[http]\nport = {port}\ntokens = "{folder / "tokens"}"\n'
        f'[keys]\nprivate_key = "{folder / "controller.pem"}"\ntrust = "{folder / "trust.json"}"\n'
        f'root = "{folder / "root.pub"}"\n[[zones]]\nname = "{ZONE}"\nbudget_w = 2000\n'
    )
    command = [sys.executable, "-m", "evenwatt_collector", "--config", str(config)]
    with site.twin(), process(command, folder / "collector.log"):
        site.await_twin()
        with site.agent():
            made = SimpleNamespace(site=site, port=port, folder=folder, audit=folder / "middle" / "audit")
            wait_for(lambda: (row := node_of(made)) and row["lease"] == "leased" and row["power_w"], "it steers", 60)
            yield made
    broker.kill()


def get(hall, path):
    try:
        return httpx.get(f"http://127.0.0.1:{hall.port}{path}", timeout=10).json()
    except httpx.HTTPError:
        return {}


def node_of(hall):
    return next((row for row in get(hall, "/api/v1/status").get("nodes", []) if row["node"] == NODE), None)


def watts_of(hall):
    """Return what the machine's own files allow its packages, in sum."""

    def read():
        limits = hall.site.limits().items()
        found = [text for path, text in limits if path.endswith("0_power_limit_uw") and "intel-rapl:" in path]
        return found if all(text.isdigit() for text in found) else None  # a file may be half written

    return sum(int(text) for text in wait_for(read, "the limits can be read")) / 1e6


def log_in(page, token=TOKEN):
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def order(page, watts="150", reason="chiller service"):
    form = page.get_by_role("region", name="Ask for something")
    form.locator("[name=kind]").select_option("cap")
    form.locator("[name=node]").fill(NODE)
    form.locator("[name=watts]").fill(watts)
    form.locator("[name=reason]").fill(reason)
    page.get_by_role("button", name="Show what would happen").click()


def test_a_person_caps_a_node_and_ends_it_again(hall, visit):
    page = visit(hall.port, f"#/node/{ZONE}/{NODE}")
    page.get_by_role("link", name=f"Cap: {NODE}").click()
    log_in(page)
    page.get_by_text("Logged in as ada").wait_for()
    before_w = watts_of(hall)
    order(page)
    dialog = page.get_by_role("dialog")
    dialog.get_by_text(f"Node {NODE} may draw 150 W at most until").wait_for()
    page.keyboard.press("Enter")  # the focus is on the way back
    dialog.wait_for(state="detached")
    assert get(hall, "/api/v1/overrides")["overrides"] == []
    page.get_by_role("button", name="Show what would happen").click()
    dialog.get_by_role("button", name="Do it").click()
    page.get_by_text("It is set").wait_for()
    page.get_by_text("by ada: chiller service").wait_for()
    wait_for(lambda: watts_of(hall) < before_w - 50, "the machine's own limits are lower", 60)
    page.get_by_role("button", name=f"End: cap of {ZONE} / {NODE}").click()
    page.get_by_role("button", name="Yes, end it now").click()
    page.get_by_text("Nobody has asked for anything").wait_for()
    wait_for(lambda: watts_of(hall) >= before_w - 1, "the limits are back", 60)
    verified = subprocess.run(
        [sys.executable, "-m", "evenwatt_cli", "audit", "verify", str(hall.audit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr
    entries = [json.loads(line) for line in (hall.audit / "audit.jsonl").read_text().splitlines()]
    assert [(e["kind"], e["by"]) for e in entries if e["kind"].startswith(("login", "override"))] == [
        ("login", "ada"), ("override-set", "ada"), ("override-ended", "ada"),
    ]  # fmt: skip
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Token").wait_for()


def axe_finds_nothing(page, when):
    for scheme, width in (("light", 1440), ("dark", 360)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, f"{when}, {scheme}, {width} px: {found.generate_report()}"
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{when}: {wide} px too wide at {width} px"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 900})


def tab_to(page, name):
    """Press Tab until the field or button of that name has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(
            "name => [document.activeElement.name, document.activeElement.innerText].includes(name)", name
        ):
            return
    raise AssertionError(f"{name} is not reached by Tab")


def test_a_person_without_a_mouse_acts_and_everybody_can_read_it(hall, visit):
    page = visit(hall.port, "#/act")
    page.get_by_label("Token").wait_for()
    axe_finds_nothing(page, "logged out")
    tab_to(page, "token")
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    page.get_by_text("Logged in as ada").wait_for()
    until(page, "document.activeElement.id === 'main'")
    page.reload()
    page.get_by_text("Logged in as ada").wait_for()
    assert walk(page) == []
    for name, words in (("node", NODE), ("watts", "150"), ("reason", "chiller service")):
        tab_to(page, name)
        page.keyboard.type(words)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("may draw 150 W at most").wait_for()
    until(page, "document.activeElement.innerText === 'Back'")
    axe_finds_nothing(page, "asked whether it shall be done")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    until(page, "document.activeElement.name === 'reason'")
    page.keyboard.press("Enter")
    dialog.wait_for()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_text("by ada: chiller service").wait_for()
    axe_finds_nothing(page, "logged in, with a cap in force")
    tab_to(page, "End…")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.innerText === 'Keep it'")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Nobody has asked for anything").wait_for()
    assert get(hall, "/api/v1/overrides")["overrides"] == []


def test_a_wrong_token_and_one_that_is_not_for_this(hall, visit):
    page = visit(hall.port, "#/act", forgive="401|403")
    log_in(page, "not-the-token-of-anybody")
    page.get_by_text("This token is not known here").wait_for()
    expect(page.get_by_label("Token")).to_have_value("")
    log_in(page, TOKEN[::-1])
    page.get_by_text('it needs the scope "act"').wait_for()
    expect(page.get_by_text("Ask for something")).to_have_count(0)


def test_a_session_that_has_ended_asks_for_the_token_again(hall, visit):
    page = visit(hall.port, "#/act", forgive="401")
    log_in(page)
    page.get_by_text("Logged in as ada").wait_for()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    page.context.clear_cookies()
    order(page)
    page.get_by_label("Token").wait_for()
    assert get(hall, "/api/v1/overrides")["overrides"] == []


def test_a_page_of_another_site_gets_nothing_done(hall, visit):
    page = visit(hall.port, "#/act")
    log_in(page)
    page.get_by_text("Logged in as ada").wait_for()
    other = page.context.new_page()
    other.goto(f"http://localhost:{hall.port}/livez")  # the same site by another name, as one on another port would be
    wish = {"kind": "cap", "zone": ZONE, "node": NODE, "watts": 100, "for_s": 600, "reason": "from elsewhere"}
    script = """async ([url, wish, type]) => {
        const options = { method: "POST", mode: type === "text/plain" ? "no-cors" : "cors", credentials: "include",
                          headers: { "Content-Type": type }, body: JSON.stringify(wish) };
        return fetch(url, options).then((answer) => answer.status, () => -1);
    }"""
    url = f"http://127.0.0.1:{hall.port}/api/v1/overrides"
    assert other.evaluate(script, [url, wish, "application/json"]) == -1
    assert other.evaluate(script, [url, wish, "text/plain"]) in {-1, 0}
    assert get(hall, "/api/v1/overrides")["overrides"] == []


def test_what_people_write_is_shown_as_it_is_written(hall, visit):
    page = visit(hall.port, "#/act")
    log_in(page)
    order(page, reason=HOSTILE)
    page.get_by_role("dialog").get_by_text(HOSTILE).first.wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Do it").click()
    page.get_by_text(f"by ada: {HOSTILE}").wait_for()
    for view in ("decisions", "act", f"node/{ZONE}/{NODE}"):
        page.goto(f"http://127.0.0.1:{hall.port}/#/{view}")
        page.get_by_text("<img src=x").first.wait_for()
        assert page.locator("img[src='x']").count() == 0
        assert page.title() != "1"
    (held,) = get(hall, "/api/v1/overrides")["overrides"]
    url = f"http://127.0.0.1:{hall.port}/api/v1/overrides/{held['id']}"
    httpx.delete(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10).raise_for_status()
