"""``evenwatt report``: energy and emissions of a period, from the collector or from its database, in many formats."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from evenwatt_cli import asking, progress
from evenwatt_cli.exits import Exit
from evenwatt_cli.moments import machine_zone
from evenwatt_cli.operator_settings import load
from evenwatt_collector.carbon.series import Kind
from evenwatt_collector.report import periods
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.compare import LEAST_COVERAGE, compare
from evenwatt_collector.report.document import Derived, derive, from_document, to_document
from evenwatt_collector.report.model import By, Report
from evenwatt_collector.report.sci import NoScore, Per
from evenwatt_daemon import Failure
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from pathlib import Path


class Format(StrEnum):
    """What a report can be printed as."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    HTML = "html"
    CODECARBON = "codecarbon"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The call."""

    by: str = By.ZONE
    start: str | None = None
    end: str | None = None
    timezone: str | None = None
    known_at: str | None = None
    zone: str | None = None
    node: str | None = None
    workload: str | None = None
    format: str = Format.TABLE
    out: Path | None = None
    per: str | None = None
    per_count: float | None = None
    sci_intensity: str = Kind.AVERAGE
    compare: str | None = None
    dynamic: bool = False
    config: Path | None = None
    database: str | None = None


def show_report(options: Options) -> Exit:
    """Print a report, or write it to a file.

    Returns:
        OK; DEGRADED where nothing is recorded or less than 80 % of the period is metered, or where a score or
        comparison was asked for and there is none that holds.

    Raises:
        Failure: the call is wrong, the collector or database cannot be read, or the file cannot be written.
    """
    form = _one_of(Format, "--format", options.format)
    if form in {Format.PARQUET, Format.HTML} and options.out is None and sys.stdout.isatty():
        raise Failure(f"--format {form} is not for a terminal; give --out FILE, or redirect the output")
    per = _per(options)
    query, other = _queries(options, time.time())
    with progress.waiting("adding up the report"):
        report = _ask(query, options)
    with progress.waiting("adding up the other period"):
        comparison = None if other is None else compare(_ask(other, options), report, None if per is None else per.unit)
    derived = derive(report, per, comparison)
    _put(form, report, derived, options)
    return _verdict(derived)


def _verdict(derived: Derived) -> Exit:
    uncovered = derived.metered_share is None or (derived.coverage is not None and derived.coverage < LEAST_COVERAGE)
    unanswered = isinstance(derived.sci, NoScore) or (
        derived.comparison is not None and bool(getattr(derived.comparison, "doubts", ("there is none",)))
    )
    return Exit.DEGRADED if uncovered or unanswered else Exit.OK


def _queries(options: Options, now_s: float) -> tuple[ReportQuery, ReportQuery | None]:
    tz = periods.zone(options.timezone or machine_zone(), "--tz" if options.timezone else "TZ")
    asked = periods.period(options.start, options.end, now_s, tz)
    known_at = None if options.known_at is None else periods.moment(options.known_at, now_s, tz, "--known-at")
    if known_at is not None and known_at > now_s:
        raise Failure(f"--known-at {options.known_at!r} is still to come; nobody knows yet what will be known then")
    query = ReportQuery(
        by=_one_of(By, "--by", options.by),
        start_s=asked.start_s,
        end_s=asked.end_s,
        timezone=tz.key,
        known_at_s=known_at,
        zone=options.zone,
        node=options.node,
        workload=options.workload,
    )
    if options.compare is None:
        return query, None
    other = periods.compared(options.compare, asked, now_s, tz)
    return query, replace(query, start_s=other.start_s, end_s=other.end_s)


def _per(options: Options) -> Per | None:
    kind = _one_of(Kind, "--sci-intensity", options.sci_intensity)
    if options.per_count is not None and not 0 < options.per_count < float("inf"):
        raise Failure(f"--per-count {options.per_count:g}: expected a number above 0: how many units were done")
    if options.per is None and options.per_count is None:
        return None
    return Per(unit=options.per or "unit", count=options.per_count, kind=kind)


_Choice = TypeVar("_Choice", bound=StrEnum)


def _one_of(kind: type[_Choice], option: str, text: str) -> _Choice:
    try:
        return kind(text)
    except ValueError:
        raise Failure(f"{option} {text!r}: expected one of {', '.join(kind)}") from None


def _ask(query: ReportQuery, options: Options) -> Report:
    settings = load(options.config)
    if options.database is not None:
        from evenwatt_collector.report.build import Made, open_and_build

        made = Made(now_s=time.time(), version=__version__, fleet=settings.fleet)
        return open_and_build(options.database, query, made)
    said = asking.ask(
        settings,
        "/api/v1/report",
        query.parameters(),
        timeout_s=asking.PATIENT_S,
        otherwise=asking.OR_ITS_DATABASE,
    )
    return from_document(said)


def _put(form: Format, report: Report, derived: Derived, options: Options) -> None:
    if form is Format.TABLE and options.out is None:
        from evenwatt_cli.reporting.table import print_report

        print_report(report, derived, dynamic=options.dynamic)
        return
    content = _content(form, report, derived, dynamic=options.dynamic)
    if options.out is not None:
        _write(options.out, content)
        return
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"the output cannot be written: {error.strerror}", exit_code=Exit.FAILURE) from None


def _content(form: Format, report: Report, derived: Derived, *, dynamic: bool) -> bytes:
    match form:
        case Format.JSON:
            return (json.dumps(to_document(report, derived)) + "\n").encode()
        case Format.CSV:
            from evenwatt_cli.reporting.flat import as_csv

            return as_csv(report, derived).encode()
        case Format.CODECARBON:
            from evenwatt_cli.reporting.codecarbon import as_codecarbon

            return as_codecarbon(report).encode()
        case Format.PARQUET:
            from evenwatt_cli.reporting.parquet import as_parquet

            return as_parquet(report, derived)
        case Format.HTML:
            from evenwatt_cli.reporting.page import as_page

            return as_page(report, derived).encode()
        case Format.TABLE:
            from evenwatt_cli.reporting.table import as_text

            return as_text(report, derived, dynamic=dynamic).encode()


def _write(path: Path, content: bytes) -> None:
    """Write a whole file or none: readers never see half a report. What is no file (a device, a pipe) is written to."""
    path = path.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Failure(
            f"--out {path} cannot be written: {error.strerror or error}; name a file in a folder of yours"
        ) from None
