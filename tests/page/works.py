"""A collector with work: a past of some days in its database, and two nodes that run jobs."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AsyncExitStack

import httpx

from evenwatt_collector.report.build import Made
from evenwatt_collector.score.asking import ScoreQuery
from evenwatt_collector.score.desk import open_and_freeze
from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage import intensity as store
from evenwatt_collector.storage.jobs import save_outcome
from tests.collector.said import ZONE
from tests.feedback.made import outcome
from tests.planning.test_planning_live import Planned, working
from tests.storage.made import DAY, HOUR, entry, facts, reading, record, task
from tests.support import wait_for

DAYS = 4
WEEK = 7 * DAY


class Works(Planned):
    """Its zone may draw 360 W; each of its two nodes draws 100 W."""

    def write(self, zone="", **more):
        super().write(zone.replace('grid = "DE"\n', 'grid = "DE"\nbudget_w = 360\n', 1), **more)

    def answers(self):
        """Wait until the collector is ready."""

        def ready():
            try:
                return self.get("/readyz").status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(ready, "the collector is ready", 60)

    def remember(self):
        """Fill the database: on the last days epochs take half of what they took on the first."""
        path = self.folder / "state" / "collector.db"
        path.parent.mkdir(exist_ok=True)
        now_s = int(time.time())
        begin_s = now_s // HOUR * HOUR - DAYS * DAY
        writer = LedgerWriter(str(path))
        store.set_site(writer.connection, ZONE, facts(grid="DE"), None, 1)
        hours = range(DAYS * 24)
        levels = [reading(begin_s + HOUR * h, begin_s + HOUR * (h + 1), 300.0 + 20 * (h % 12)) for h in hours]
        store.record(writer.connection, levels)
        done = 0.0
        for hour in hours:
            done += 1.0 if hour < 48 else 2.0
            number = 1 + hour // 48
            tasks = [
                task(number, units=[("epoch", done if hour < 48 else done - 48.0)], duration_s=3600.0 * (hour + 1))
            ]
            parts = [("idle", "", 0.0, 180_000.0), ("task", f"{number:012x}", 900_000.0, 0.0)]
            start_ms = (begin_s + HOUR * hour) * 1000
            made = record("past-1", hour + 1, start_ms, start_ms + 3_600_000, parts, tasks=tasks)
            writer.append([entry(made, ZONE)], begin_s + HOUR * (hour + 1) + 1.0)
        writer.settle()
        for number in range(30):
            ended_s = now_s - number * 16 * HOUR
            come = outcome(number, 60.0 + number, workload="resnet", ended_s=ended_s, predicted_g=70.0)
            save_outcome(writer.connection, come)
        writer.close()
        query = ScoreQuery(subject="workload", name=None, start_s=begin_s, end_s=begin_s + 2 * DAY, unit="epoch")
        open_and_freeze(str(path), query, "resnet", Made(now_s=now_s, version="test", fleet="f"), anyway=True)


class Workers:
    """Two nodes in a thread of their own: the browser of the tests has no loop to share."""

    def __init__(self, middle):
        self._middle, self._loop = middle, asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._work()), daemon=True)

    def __enter__(self):
        self._thread.start()
        wait_for(lambda: all(self._middle.node(name) for name in ("n1", "n2")), "both nodes are heard", 60)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _work(self):
        async with AsyncExitStack() as stack:
            for name in ("n1", "n2"):
                await stack.enter_async_context(working(self._middle, name, 3600.0))
            await self._stop.wait()
