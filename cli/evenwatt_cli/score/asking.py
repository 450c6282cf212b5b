"""Asks the collector, or its database, for scores and improvement."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenwatt_cli import asking, progress
from evenwatt_cli.moments import machine_zone
from evenwatt_cli.operator_settings import load
from evenwatt_collector.report import periods
from evenwatt_collector.report.build import Made
from evenwatt_collector.score.asking import ScoreQuery
from evenwatt_daemon import Failure
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The call."""

    name: str | None
    by: str
    fleet: bool
    start: str | None
    end: str | None
    timezone: str | None
    per: str | None

    def query(self, now_s: float, *, named: bool = True) -> tuple[ScoreQuery, str]:
        """Return the question, and the time zone that it is in; the name is left out where it is a class's.

        Raises:
            Failure: an option is wrong; it names it.
        """
        if self.by not in {"workload", "model"}:
            raise Failure(f"--by {self.by!r}: expected workload or model")
        if self.fleet and named and self.name is not None:
            raise Failure(f"--fleet and {self.name!r}: name one or the other")
        tz = periods.zone(self.timezone or machine_zone(), "--tz" if self.timezone else "TZ")
        period = periods.period(self.start, self.end, now_s, tz)
        subject = "fleet" if self.fleet else self.by
        name = self.name if named else None
        query = ScoreQuery(subject=subject, name=name, start_s=period.start_s, end_s=period.end_s, unit=self.per)
        return query, tz.key


def made(config: Path | None) -> Made:
    """Return when and by what an answer from a database is made."""
    return Made(now_s=time.time(), version=__version__, fleet=load(config).fleet)


def ask(path: str, parameters: dict[str, str], config: Path | None) -> Any:
    """Return what the collector answers, as JSON types.

    Raises:
        Failure: it cannot be asked, or has no answer; its words are in it.
    """
    with progress.waiting("asking the collector"):
        return asking.ask(load(config), path, parameters, timeout_s=asking.PATIENT_S, otherwise=asking.OR_ITS_DATABASE)
