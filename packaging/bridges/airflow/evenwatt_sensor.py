"""An Airflow sensor that lets the tasks after it begin in a clean hour, as an evenwatt collector advises.

One file; put it into the folder of plugins or beside the DAG. Airflow 2.6 or later, or 3::

    wait = EvenwattCleanHourSensor(
        task_id="wait_for_a_clean_hour", length=timedelta(hours=2), deadline=timedelta(hours=8), zone="hall-1"
    )
    wait >> train

It gives its slot back between two questions (``mode="reschedule"``). Work comes first: it succeeds at the latest start
(deadline - length - margin) whatever is advised, and at once if nobody advises; it never fails because of us.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, ClassVar

try:
    from airflow.sdk import BaseSensorOperator  # Airflow 3
except ImportError:
    from airflow.sensors.base import BaseSensorOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

AT_ONCE = timedelta(seconds=60)
PATIENCE_S = 5.0
_NO_ADVICE = (OSError, HTTPException, ValueError, OverflowError, KeyError, TypeError, AttributeError)
"""What asking may end with: nobody there, or an answer that is no decision."""


class EvenwattCleanHourSensor(BaseSensorOperator):  # type: ignore[misc,unused-ignore]
    """Succeeds when it is time to start.

    Args:
        length: How long the work after it takes.
        deadline: When it has to be done: a time from the start of the DAG run, or a moment with its zone (templated:
            then text as ``datetime.isoformat`` writes it).
        zone: Where the work runs, as the collector knows it.
        url: The collector; default ``$EVENWATT_URL``, else ``http://127.0.0.1:9730``.
        margin: Time kept for what comes between: the next question, queues, start-up.
        power_w: What the work adds to a node's power; default: as learned, or assumed.
    """

    template_fields: ClassVar[Sequence[str]] = ("deadline", "zone", "url")

    def __init__(
        self,
        *,
        length: timedelta,
        deadline: timedelta | datetime | str,
        zone: str = "default",
        url: str = "",
        margin: timedelta = timedelta(minutes=10),
        power_w: float | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("mode", "reschedule")
        kwargs.setdefault("poke_interval", 300.0)
        # It ends by itself at the latest start: Airflow's own limit must not come before that.
        kwargs.setdefault("timeout", 31 * 86400.0)
        super().__init__(**kwargs)
        if length <= timedelta(0):
            raise ValueError(f"length={length}: expected how long the work takes, more than nothing")
        if isinstance(deadline, datetime) and deadline.tzinfo is None:
            raise ValueError(f"deadline={deadline}: it has no zone; give one, e.g. tzinfo=UTC, or a timedelta")
        self.length, self.deadline, self.margin = length, deadline, margin
        self.zone, self.power_w = zone, power_w
        self.url = url or os.environ.get("EVENWATT_URL", "http://127.0.0.1:9730")

    def poke(self, context: Any) -> bool:
        """Return whether it is time to start."""
        now = datetime.now(UTC)
        run = context["dag_run"]
        begun = getattr(run, "start_date", None) or now
        latest = self._deadline(begun) - self.length - self.margin
        if now + timedelta(seconds=float(_seconds(self.poke_interval))) > latest:
            self.log.info("start now: by the next question it could be too late (latest start %s)", latest)
            return True
        name = f"{run.dag_id}.{self.task_id}"
        try:
            decision = self._ask(name, latest + self.length)
            chosen, baseline_g = decision["chosen"], float(decision["baseline"]["grams"])
            start_s, grams = chosen["start_s"], float(chosen["grams"])
            start = None if start_s is None else datetime.fromtimestamp(float(start_s), UTC)
        except _NO_ADVICE as error:
            self.log.warning("start now: no advice from %s: %s; work comes first", self.url, error)
            return True
        if start is None or start <= now + AT_ONCE:
            self.log.info("start now: %.3g g CO2e expected", grams)
            return True
        less = 100 * (1 - grams / baseline_g) if baseline_g > 0 else 0.0
        self.log.info("start at %s: %.0f %% less expected, %.3g g CO2e", start, less, baseline_g - grams)
        return False

    def _deadline(self, begun: datetime) -> datetime:
        if isinstance(self.deadline, timedelta):
            return begun + self.deadline
        moment = datetime.fromisoformat(self.deadline) if isinstance(self.deadline, str) else self.deadline
        if moment.tzinfo is None:
            raise ValueError(f"deadline={self.deadline!r}: it has no offset from UTC; write +00:00 after it")
        return moment

    def _ask(self, name: str, deadline: datetime) -> dict[str, Any]:
        spec: dict[str, Any] = {
            "name": name[:100],
            "workload": f"airflow/{name}"[:120],
            "external": f"airflow:{name}"[:120],
            "length": f"{self.length.total_seconds():.0f}s",
            "deadline": deadline.astimezone(UTC).replace(microsecond=0).isoformat(),
            "zones": [self.zone],
        }
        if self.power_w is not None:
            spec["power_w"] = self.power_w
        request = urllib.request.Request(  # noqa: S310  (the address is the operator's)
            f"{self.url.rstrip('/')}/api/v1/advise", json.dumps(spec).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
                said = json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(f"it answered {error.code}: {error.read(200).decode(errors='replace')}") from None
        decision: dict[str, Any] = said.get("decision") or said
        return decision


def _seconds(interval: float | timedelta) -> float:
    return interval.total_seconds() if isinstance(interval, timedelta) else interval
