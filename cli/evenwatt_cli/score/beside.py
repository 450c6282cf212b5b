"""Finds the database of a collector on this machine: baselines are written there, and nothing over HTTP writes one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.settings import load
from evenwatt_daemon import Failure

SETTINGS: Final = Path("/etc/evenwatt/collector.toml")
"""Of a collector that runs as a service."""
DATABASE: Final = Path("/var/lib/evenwatt-collector/collector.db")


def collector_database(name: str, settings: Path = SETTINGS, database: Path = DATABASE) -> str:
    """Return the database that the collector's settings name, else the usual file.

    Args:
        name: Of the class that is frozen, for the error.
        settings: The collector's.
        database: The usual one.

    Raises:
        Failure: there is none here; it says where to run the command instead.
    """
    why = f"{settings} is not there"
    try:
        if settings.is_file():
            return load(str(settings), IntensityTable.packaged()).where
        if database.is_file():
            return str(database)
    except OSError as error:
        why = f"{settings} or {database}: {error.strerror}"
    except Failure as failure:
        why = str(failure)
    raise Failure(
        f"no collector's database was found on this machine ({why}); a baseline is written to it, and never over HTTP: "
        f"run this beside the collector, e.g. evenwatt score freeze {name} --database {database}"
    )
