"""Pictures of every view, from fleets that work: ``./dev screenshots [--all] [FOLDER]``, about five minutes.

Both demos run one after the other, with real agents on simulated machines: the plain one, whose fleet is kept within
its budget, and clean hours, whose jobs wait for them (as root only). When enough has happened, Chromium takes every
view at a desktop's and a phone's width.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.page.conftest import CHROMIUM
from tests.page.pictures import with_few_colours

HERE = Path(__file__).parents[2]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
USUAL = {"desktop": ("light",), "phone": ("dark",)}
READY_S = 120.0
TAKING_S = 600.0
MOST_BYTES = 150_000
UPDATES_MS = 2500
LONGER_MS = {"node": 22_000}  # what is drawn of a node begins when somebody looks
HELD = {"kind": "cap", "watts": 200, "for_s": 3600, "reason": "fan 3 is being replaced"}
CSRF = "X-Evenwatt-CSRF"


@dataclass(frozen=True)
class Demo:
    """A demo, and what is taken of it when."""

    arguments: tuple[str, ...]
    wait_s: float
    """Until something has happened."""
    shots: tuple[str, ...]


PLAIN = Demo((), 75.0, ("fleet", "zones", "zone", "node", "data", "act", "act-login", "act-confirm"))
CLEAN = Demo(("--scenario", "clean-hours"), 150.0, ("work", "job", "decisions", "plan", "score"))


@contextmanager
def working(demo):
    """Run a demo; yield the address of its page and the token that may act there."""
    with tempfile.TemporaryDirectory(prefix="evenwatt-pictures-") as name:
        Path(name).chmod(0o711)  # who runs the demo's jobs has to reach its machines
        folder, log = Path(name) / "demo", Path(name) / "log"
        command = [sys.executable, "-c", "from evenwatt_cli.main import entry; entry()", "demo", *demo.arguments]
        command += ["--headless", "--seconds", f"{demo.wait_s + TAKING_S:.0f}", "--keep", str(folder)]
        with log.open("wb") as said:
            child = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            yield _await_page(folder, child, log), (folder / "tokens").read_text().split()[-1]
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(60)


def _await_page(folder, child, log):
    deadline_s = time.monotonic() + READY_S
    while child.poll() is None and time.monotonic() < deadline_s:
        try:
            port = re.search(r"\[http\]\nport = (\d+)", (folder / "collector.toml").read_text())[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return f"http://127.0.0.1:{port}"
        except (OSError, urllib.error.URLError, TypeError):
            time.sleep(0.5)
    raise SystemExit(f"screenshots: the demo did not start within {READY_S:.0f} s: {log.read_text()[-800:]}")


class Visitor:
    """Goes to a view as a person would, and makes it look like something.

    Args:
        page: Playwright's.
        address: Of the page.
        token: Of somebody who may act.
    """

    def __init__(self, page, address, token):
        self.page, self._address, self._token = page, address, token

    def show(self, shot):
        """Go to a view, and wait until it has something to show."""
        if shot.startswith("act"):
            self._act(shot)
        else:
            self._go(self._where(shot))
        if shot == "decisions":
            self.page.locator(".decisions button.line").filter(has_text="CO2e expected").first.click()
            self.page.evaluate("scrollTo(0, 0)")
        self.page.wait_for_function("() => !document.querySelector('.loading')")
        self.page.wait_for_timeout(LONGER_MS.get(shot, UPDATES_MS))

    def leave(self):
        """End what was asked for, and log out."""
        session = self._session()
        for one in self.page.request.get(f"{self._address}/api/v1/overrides").json()["overrides"]:
            self.page.request.delete(f"{self._address}/api/v1/overrides/{one['id']}", headers=session)

    def _go(self, where):
        self.page.goto(f"{self._address}/{where}")
        self.page.locator("main h1").wait_for()

    def _where(self, shot):
        if shot in {"zone", "node"}:
            busiest = self._busiest()
            return f"#/zone/{busiest['zone']}" if shot == "zone" else f"#/node/{busiest['zone']}/{busiest['node']}"
        if shot == "job":
            jobs = self._status()["jobs"]
            moved = [one for one in jobs if not one["service"] and "moved" in (one["why"] or "")]
            return f"#/work/job/{(moved or jobs)[0]['id']}"
        return f"#/{shot}"

    def _status(self):
        return self.page.request.get(f"{self._address}/api/v1/status").json()

    def _busiest(self):
        return max(self._status()["nodes"], key=lambda node: node["counters"] or 0)

    def _session(self):
        return {CSRF: self.page.request.get(f"{self._address}/api/v1/session").json().get("csrf") or ""}

    def _act(self, shot):
        """Logged out; logged in, with somebody's cap in force; asked whether it shall be done."""
        self._go("#/act")
        if shot == "act":
            return
        if self.page.get_by_label("Token").count():
            self.page.get_by_label("Token").fill(self._token)
            self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_text("Logged in as").wait_for()
        busiest = self._busiest()
        if not self.page.request.get(f"{self._address}/api/v1/overrides").json()["overrides"]:
            wish = {**HELD, "zone": busiest["zone"], "node": busiest["node"]}
            self.page.request.post(f"{self._address}/api/v1/overrides", data=wish, headers=self._session())
        self.page.get_by_text(HELD["reason"]).wait_for()
        if shot == "act-confirm":
            form = self.page.get_by_role("region", name="Ask for something")
            form.locator("[name=kind]").select_option("limit")
            form.locator("[name=watts]").fill("2000")
            form.locator("[name=reason]").fill("a chiller is out of service until noon")
            self.page.get_by_role("button", name="Show what would happen").click()
            self.page.get_by_role("dialog").wait_for()


def take(address, token, folder, schemes, shots):
    """Write the pictures; return their names with their sizes in bytes."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-lcd-text"])
        blank = browser.new_page()
        for size, (width, height) in SIZES.items():
            for scheme in schemes[size]:
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
                )
                visitor = Visitor(context.new_page(), address, token)
                for shot in shots:
                    visitor.show(shot)
                    path = folder / f"{shot}-{size}-{scheme}.png"
                    path.write_bytes(with_few_colours(blank, visitor.page.screenshot()))
                    written[path.name] = path.stat().st_size
                if "act-login" in shots:
                    visitor.leave()
                context.close()
        browser.close()
    return written


def main():
    parser = argparse.ArgumentParser(
        prog="./dev screenshots", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "docs" / "screenshots")
    parser.add_argument("--all", action="store_true", help="light and dark at both widths")
    options = parser.parse_args()
    # A shell's background job would have its children ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if CHROMIUM is None:
        print("screenshots: chromium is not installed: apt-get install chromium", file=sys.stderr)
        return 1
    schemes = dict.fromkeys(SIZES, ("light", "dark")) if options.all else USUAL
    written = {}
    for demo in (PLAIN, CLEAN):
        if demo is CLEAN and os.geteuid() != 0:
            print(f"screenshots: left out, since only root can run clean hours: {', '.join(demo.shots)}")
            continue
        with working(demo) as (address, token):
            print(f"screenshots: {address} works for {demo.wait_s:.0f} s first", file=sys.stderr)
            time.sleep(demo.wait_s)
            written |= take(address, token, options.folder, schemes, demo.shots)
    for name, size in written.items():
        print(f"{size // 1000:>5} kB  {name}{'  too large' if size > MOST_BYTES else ''}")
    return int(any(size > MOST_BYTES for size in written.values()))


if __name__ == "__main__":
    sys.exit(main())
