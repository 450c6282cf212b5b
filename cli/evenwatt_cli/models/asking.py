"""Asks the collector about models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenwatt_cli import asking, progress
from evenwatt_cli.operator_settings import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def ask(path: str, parameters: Sequence[tuple[str, str | float | None]], config: Path | None) -> Any:
    """Return the collector's answer to ``GET /api/v1/PATH``; parameters that are None are left out.

    What tasks cost is read from the ledger at the first question, which takes a while.

    Raises:
        Failure: it cannot be asked, or says what is wrong with the question.
    """
    said = tuple((name, str(value)) for name, value in parameters if value is not None)
    with progress.waiting("asking the collector what models cost"):
        return asking.ask(load(config), f"/api/v1/{path}", said, timeout_s=asking.PATIENT_S)
