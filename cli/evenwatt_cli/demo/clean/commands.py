"""What a person would type while the scenario runs: ``evenwatt submit FILE`` and ``evenwatt score freeze WORKLOAD``.

They are called here, not started: on a small machine a dozen starting programs would be late with what they are for.
"""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from evenwatt_cli.exits import Exit
from evenwatt_cli.jobs.submit import Wish, submit_jobs
from evenwatt_collector import __version__
from evenwatt_collector.report.build import Made
from evenwatt_collector.score.asking import ScoreQuery
from evenwatt_collector.score.desk import open_and_freeze
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_cli.demo.clean.scenario import CleanScenario


class Commands:
    """Runs commands, and keeps what went wrong with them."""

    def __init__(self, scenario: CleanScenario) -> None:
        self._scenario = scenario
        self.failures: list[str] = []

    def submit(self, spec: dict[str, Any]) -> None:
        """Submit a job."""
        file = self._scenario.folder / f"job-{spec['name']}.json"
        file.write_text(json.dumps(spec, indent=1))
        config = self._scenario.settings("operator")
        wish = Wish(str(file), {}, via="http", check=False, wait=False, as_json=True, config=config)
        said = io.StringIO()
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(said):
                code = submit_jobs(wish)
        except Failure as failure:
            self._failed("submit", str(failure))
            return
        if code is not Exit.OK:
            self._failed("submit", said.getvalue().strip())

    def freeze(self, workload: str, start_s: float, end_s: float) -> None:
        """Make what a workload has emitted per unit until now what scores are held against."""
        made = Made(now_s=time.time(), version=__version__, fleet="demo")
        query = ScoreQuery(subject="workload", start_s=start_s, end_s=end_s)
        try:
            # Provisional, and said to be: half a minute of it is all there is here.
            open_and_freeze(str(self._scenario.database), query, workload, made, anyway=True)
        except Failure as failure:
            self._failed("score freeze", str(failure))

    def _failed(self, what: str, said: str) -> None:
        self.failures.append(f"evenwatt {what}: {said}")
        print(f"demo: evenwatt {what}: {said}", file=sys.stderr)
