"""``evenwatt card``: a model's carbon to date, as Markdown or JSON."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from evenwatt_cli.exits import Exit
from evenwatt_cli.models.asking import ask
from evenwatt_cli.models.card_text import card_text
from evenwatt_cli.moments import moment
from evenwatt_cli.operator_settings import load
from evenwatt_collector.models.card import Asked, Card
from evenwatt_collector.models.desk import Models, Sources
from evenwatt_collector.report.build import Made
from evenwatt_daemon import Failure
from evenwatt_wire.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

LEAST_METERED: Final = 0.8
"""As for reports: below this share of metered energy the exit code says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOptions:
    """What is asked, as typed."""

    model: str
    start: str | None = None
    end: str | None = None
    known_at: str | None = None
    unit: str | None = None
    expected_uses: float | None = None
    as_json: bool = False
    out: Path | None = None
    database: str | None = None
    registry: Path | None = None
    config: Path | None = None


def show_card(options: CardOptions) -> Exit:
    """Print a card, or write it to a file; DEGRADED where less than 80 % of the energy is metered.

    Raises:
        Failure: nobody can be asked, nothing is known of the model, or the file cannot be written.
    """
    card = _card(options)
    as_json = options.as_json or (options.out is not None and options.out.suffix.lower() == ".json")
    text = msgspec.json.format(msgspec.json.encode(card)).decode() + "\n" if as_json else card_text(card)
    if options.out is None:
        sys.stdout.write(text)
    else:
        _write(options.out, text)
    return Exit.OK if (card.metered_share or 0.0) >= LEAST_METERED else Exit.DEGRADED


def _card(options: CardOptions) -> Card:
    now_s = time.time()

    def at(option: str, text: str | None) -> float | None:
        return None if text is None else moment(text, now_s, option)

    asked = Asked(
        model=options.model,
        start_s=at("--from", options.start),
        end_s=at("--to", options.end),
        known_at_s=at("--known-at", options.known_at),
        unit=options.unit,
        expected_uses=options.expected_uses,
    )
    if options.database is not None:
        made = Made(now_s=now_s, version=__version__, fleet=load(options.config).fleet)
        file = "" if options.registry is None else str(options.registry)
        desk = Models(Sources(database=options.database, file=file, made=lambda: made, places=list))
        return asyncio.run(desk.card(asked))
    if options.registry is not None:
        raise Failure("--registry: a collector has its own; name a --database, or leave it out")
    said = ask(
        "card",
        [
            ("model", asked.model),
            ("from", asked.start_s),
            ("to", asked.end_s),
            ("known_at", asked.known_at_s),
            ("unit", asked.unit),
            ("expected_uses", asked.expected_uses),
        ],
        options.config,
    )
    return msgspec.convert(said, Card)


def _write(path: Path, text: str) -> None:
    """Write a whole file or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Failure(
            f"--out {path} cannot be written: {error.strerror or error}; name a file in a folder of yours"
        ) from None
