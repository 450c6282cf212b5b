"""A real HTTP server that speaks the part of a collector's API which the bridges use, over a curve that a test chooses.

It really searches its curve for the cleanest start, so what a bridge does can be held against it, and it takes only
jobs that the collector's own reader and checks take. Its curve, unlike a collector's, can change under a waiting job.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from evenwatt_collector.jobs.check import check_all
from evenwatt_collector.jobs.known import Known
from evenwatt_collector.jobs.reading import read
from evenwatt_collector.jobs.times import duration_s, moment_s
from evenwatt_collector.policy.problems import errors

POWER_KW = 0.5
_NAN = float("nan")
_NOWHEN = {"start_s": _NAN, "end_s": _NAN, "zone": "here", "grams": _NAN, "low_g": _NAN, "high_g": _NAN}
NAN = (200, {"decision": {"chosen": _NOWHEN, "baseline": _NOWHEN}})
"""An answer that is JSON for many readers, and no advice."""


class GridServer:
    """Intensities by the slot from ``start_s`` on; what was asked and told is kept."""

    def __init__(self, intensities, slot_s=1800.0, start_s=None):
        self.start_s = time.time() if start_s is None else start_s
        self.slot_s, self.intensities = slot_s, list(intensities)
        self.asked, self.submitted, self.reports = [], {}, []
        self.zones = ["here", "there"]
        self.broken = None
        """A status and a body to answer with instead."""
        self.url = ""

    def shift_to(self, first_clean, slots=48, dirty=400.0, clean=100.0, width=8):
        """Make ``width`` slots clean, beginning with one of them."""
        self.intensities = [clean if first_clean <= i < first_clean + width else dirty for i in range(slots)]

    def grams(self, at_s, length_s):
        """Return what a run emits."""
        total, left = 0.0, length_s
        while left > 1e-9:
            i = int((at_s - self.start_s) // self.slot_s)
            intensity = self.intensities[min(max(i, 0), len(self.intensities) - 1)]
            until = self.start_s + (i + 1) * self.slot_s
            part = min(left, until - at_s)
            total += intensity * POWER_KW * part / 3600.0
            at_s, left = at_s + part, left - part
        return total

    def advise(self, spec, now_s):
        """Return a decision as the collector's API documents it."""
        length = duration_s(spec["length"])
        first = max(now_s, moment_s(spec["earliest"], now_s) if "earliest" in spec else now_s)
        last = moment_s(spec["deadline"], now_s) - length
        edges = (self.start_s + i * self.slot_s for i in range(len(self.intensities)))
        starts = [first, *(at for at in edges if first < at <= last)]
        best = min(starts, key=lambda at: (round(self.grams(at, length), 9), at))
        feasible = first <= last + 1

        def option(name, at):
            grams = self.grams(at, length)
            return {
                "name": name, "zone": spec.get("zones", ["default"])[0], "start_s": at if feasible else None,
                "end_s": at + length if feasible else None, "grams": grams, "low_g": 0.9 * grams,
                "high_g": 1.1 * grams, "cost": 0.0, "energy_kwh": POWER_KW * length / 3600, "feasible": feasible,
                "why": "" if feasible else "the deadline is too near",
            }  # fmt: skip

        return {
            "job": "0123456789ab", "made_s": now_s, "policy": "carbon", "chosen": option("chosen", best),
            "baseline": option("now", first), "alternatives": [], "would_change": [],
            "rests_on": "the test's own curve", "cap_w": None, "cap_why": "",
        }  # fmt: skip

    def forecast(self):
        """Return the Carbon Aware API's current forecast."""
        points = [
            {
                "location": "here",
                "timestamp": datetime.fromtimestamp(self.start_s + i * self.slot_s, UTC).isoformat(),
                "duration": self.slot_s / 60,
                "value": value,
            }
            for i, value in enumerate(self.intensities)
        ]
        return [{"location": "here", "forecastData": points, "optimalDataPoints": []}]

    def answer(self, path, body, allowed):
        """Return status and content for what was posted."""
        problems = [] if path.endswith("/report") else self.problems(body)
        if problems:
            return 422, {"error": "; ".join(problems)}
        if path == "/api/v1/advise":
            self.asked.append(body)
            return 200, {"job": {}, "decision": self.advise(body, time.time()), "warnings": []}
        if not allowed:
            return 401, {"error": "no token"}
        if path == "/api/v1/jobs":
            self.submitted[body.pop("id")] = body
            return 201, {}
        job = path.split("/")[4]
        self.reports.append((job, body))
        return (200 if job in self.submitted else 404), {}

    def problems(self, body):
        """Return what the collector's own reader and checks find wrong with a job."""
        read_in = read(json.dumps(body).encode(), "json", lambda: "0" * 12)
        known = Known(now_s=time.time(), zones=frozenset(self.zones))
        found = read_in.problems or errors(check_all(read_in.entries, known))
        return [problem.text for problem in found]

    @contextmanager
    def serving(self, port=0):
        """Answer on a loopback port."""
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _handler(grid):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            if url.path == "/emissions/forecasts/current" and parse_qs(url.query)["location"]:
                self._answer(200, grid.forecast())
            else:
                self._answer(404, {"error": f"no {self.path}"})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            allowed = self.headers.get("Authorization") == "Bearer test-token"
            self._answer(*grid.answer(self.path, body, allowed))

        def _answer(self, status, content):
            status, content = grid.broken or (status, content)
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    return Handler
