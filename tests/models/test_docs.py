"""docs/models.md names every key, column, option, parameter, reason and constant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from evenwatt_cli import main
from evenwatt_collector.models import rules, variants
from evenwatt_collector.models.card import SCHEMA, Training
from evenwatt_collector.models.choice import Choice
from evenwatt_collector.models.costs import ALONE_RELATIVE, PUBLISHED_RELATIVE, Origin
from evenwatt_collector.models.desk import VariantView
from evenwatt_collector.models.lifecycle import PHASES
from evenwatt_collector.models.measured import FEW
from evenwatt_collector.models.registry import DeviceKind, Quality, Variant
from evenwatt_collector.models.tables import TableRow
from evenwatt_collector.models_api import CARD, CHOOSE

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


@pytest.mark.parametrize("kind", [Variant, DeviceKind, Quality])
def test_every_key_of_the_registry(kind):
    for name in kind.__struct_fields__:
        assert re.search(rf"\b{name} = ", TEXT), name


@pytest.mark.parametrize("kind", [TableRow, VariantView, Choice, Training])
def test_every_column_and_field(kind):
    for name in kind.__struct_fields__:
        assert f"`{name}`" in TEXT, name


@pytest.mark.parametrize("verb", ["choose", "card"])
def test_every_option(verb):
    for parameter in typer.main.get_command(main.app).commands[verb].params:
        for option in parameter.opts:
            if option.startswith("--") and option not in {"--help", "--config"}:
                assert option in TEXT, option


def test_every_parameter_phase_origin_and_the_schema():
    for name in (*CHOOSE, *CARD):
        assert f"{name}=" in TEXT, name
    for name in (*PHASES, *Origin, SCHEMA):
        assert f"`{name}`" in TEXT, name


def test_every_constant_is_what_is_described():
    for words in (
        f"Fewer than {FEW} pieces",
        f"({ALONE_RELATIVE:.0%} for a single piece, {PUBLISHED_RELATIVE:.0%} for a published".replace("%", " %"),
        f"above the {rules.LOWER_ABOVE:.0%} quantile".replace("%", " %"),
        f"at least {rules.UNEVEN - 1:.0%} above".replace("%", " %"),
        f"at most {rules.SLACK:.0%} of it".replace("%", " %"),
        f"once in {variants.DWELL_S / 60:.0f} minutes",
        f"for {1 - variants.MOVE_AT:.0%} fewer grams".replace("%", " %"),
        f"reaches {rules.LEAST_AHEAD_S / 3600:.0f} hours",
    ):
        assert words in TEXT, words
