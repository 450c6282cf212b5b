"""The scenario from its start to its report."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from evenwatt_cli.demo.clean.day import GridDay
from evenwatt_cli.demo.clean.hints import at_end, at_start
from evenwatt_cli.demo.clean.report import make_report
from evenwatt_cli.demo.clean.run import START_S, CleanHours
from evenwatt_cli.demo.clean.scenario import make_scenario
from evenwatt_cli.demo.clean.view import LiveView, Progress, View
from evenwatt_cli.demo.clean.words import in_words
from evenwatt_cli.demo.folder import demo_folder, where_the_page_is
from evenwatt_cli.demo.processes import end_together
from evenwatt_cli.exits import Exit
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from pathlib import Path

SECONDS: Final = 480.0
"""Two days of the grid."""
LEAST_S: Final = 150.0
"""Shorter, and no clean hour would come."""
HOUR_S: Final = 10


def run_clean_hours(seconds: float, keep: Path | None, *, headless: bool, as_json: bool) -> Exit:
    """Run the scenario and return how it went.

    Raises:
        Failure: it is asked for too short a time, or something does not start.
    """
    if seconds < LEAST_S:
        raise Failure(f"--seconds {seconds:g}: the scenario clean-hours needs {LEAST_S:.0f} at least, for a clean hour")
    end_together()
    with ExitStack() as stack:
        os.umask(0o022)  # the user that runs the jobs reads what is not closed on purpose
        folder = demo_folder(keep, stack)
        began_s = (int(time.time()) + START_S + HOUR_S) // HOUR_S * HOUR_S
        scenario = make_scenario(folder, GridDay(began_s, HOUR_S))
        demo = CleanHours(scenario)
        view: View = Progress() if headless else LiveView()
        print(f"demo: time is accelerated: an hour of the grid lasts {HOUR_S} s", file=sys.stderr)
        try:
            demo.start()
            print(where_the_page_is(scenario.url, scenario), file=sys.stderr)
            if keep:
                print(at_start(scenario), file=sys.stderr)
            with view:
                demo.run(seconds, view)
        finally:
            demo.stop()
        report = make_report(scenario, demo.seen)
        print(json.dumps(report) if as_json else in_words(report))
        if keep:
            print(at_end(scenario), file=sys.stderr)
        return Exit.OK if not report["jobs"]["late"] and not report["failures"] else Exit.DEGRADED
