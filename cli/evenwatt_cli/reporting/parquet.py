"""Reports as Parquet: the columns of csv, typed, with the total and the methods as metadata of the file."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from evenwatt_cli.reporting.flat import COLUMNS, TEXTS, TIMES, records
from evenwatt_collector.report.document import SCHEMA, to_document
from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from evenwatt_collector.report.document import Derived
    from evenwatt_collector.report.model import Report

DOCUMENT_KEY = b"evenwatt.report"
"""Metadata key of the JSON document, without its rows."""


def as_parquet(report: Report, derived: Derived) -> bytes:
    """Return a report's rows as a Parquet file.

    Raises:
        Failure: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Failure(
            "Parquet needs pyarrow, which is not installed; install evenwatt[parquet], or use --format csv"
        ) from None
    schema = pa.schema([(name, _type(pa, name)) for name in COLUMNS])
    rows = [{**record, "units": sorted(record["units"].items())} for record in records(report, derived)]
    document = to_document(report, derived)
    del document["rows"]
    metadata = {b"evenwatt.schema": SCHEMA.encode(), DOCUMENT_KEY: json.dumps(document).encode()}
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema.with_metadata(metadata)), out, compression="zstd")
    return out.getvalue()


def _type(pa: Any, name: str) -> Any:
    if name == "units":
        return pa.map_(pa.string(), pa.float64())
    if name in TEXTS:
        return pa.string()
    if name in TIMES:
        return pa.timestamp("us", tz="UTC")
    return pa.bool_() if name == "residual" else pa.float64()
