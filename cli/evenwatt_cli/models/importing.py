"""``evenwatt models import``: published figures, kept beside the ledger."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING, Literal

from evenwatt_cli.exits import Exit
from evenwatt_collector.models.desk import KIND
from evenwatt_collector.models.tables import Table, read_table
from evenwatt_collector.storage import DatabaseError, connect
from evenwatt_collector.storage.connection import shown
from evenwatt_collector.storage.documents import put_document
from evenwatt_collector.storage.schema import check
from evenwatt_daemon import EXIT_FAILURE, Failure
from evenwatt_daemon.settings import read_document

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 200


def import_models(file: Path, source: str, database: str, *, as_json: bool) -> Exit:
    """Store a table under its source.

    Raises:
        Failure: the table or the database cannot be read, naming the row and column.
    """
    if not source.strip() or len(source) > _LONGEST:
        raise Failure(f"--source {source!r}: expected whose figures these are, e.g. 'AI Energy Score 2026-02'")
    form: Literal["csv", "json"] = "json" if file.suffix.lower() == ".json" else "csv"
    try:
        text = read_document(file).decode()
    except UnicodeDecodeError as error:
        raise Failure(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    table = Table(source=source, imported_s=time.time(), rows=read_table(text, form, str(file)))
    try:
        with closing(connect(database, exclusive=False)) as connection:
            check(connection, shown(database))
            put_document(connection, KIND, source, table, table.imported_s)
    except DatabaseError as error:
        raise Failure(f"{shown(database)}: {error}; nothing was stored", exit_code=EXIT_FAILURE) from None
    variants = sorted(variant.label for variant in table.variants())
    if as_json:
        print(json.dumps({"source": source, "rows": len(table.rows), "variants": variants}))
    else:
        print(f"{source}: {len(table.rows)} rows, {len(variants)} variants, marked as published")
    return Exit.OK
