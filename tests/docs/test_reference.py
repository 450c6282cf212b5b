"""Every command, option and settings key is documented, and as the program has it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs import command_page, reference, settings_pages

ROOT = Path(__file__).parents[2]
PAGES = reference.pages()
TABLES = [
    pytest.param(table, id=f"{name}-{table.path or 'top'}")
    for name, (_, _, kind) in reference.SETTINGS.items()
    for table in settings_pages.tables(kind)
]
UNIT = re.compile(
    r"_(s|ms|hz|w|g|kg|kb|mb|gb|days|years|db|j|l)$|_per_(s|h|kwh|g|gb|day|month|minute|unit)$|share$|_g_per_unit$"
)
PURE_NUMBERS = {  # counts, ranks and ratios
    "port", "top", "priority", "weight", "slots", "states", "processes", "nice", "reserve", "retries", "pue", "risk",
    "margin", "eta", "least_gain", "region", "max_slowdown", "min_quality", "amount", "gb", "parameters", "value",
    "expected_uses", "spool_records",
}  # fmt: skip
SERVICES = {
    "evenwatt-agent": "agent/evenwatt_agent/__main__.py",
    "evenwatt-collector": "collector/evenwatt_collector/__main__.py",
    "evenwatt-actuator": "agent/evenwatt_agent/actuator/__main__.py",
    "evenwatt-restore": "agent/evenwatt_agent/restore.py",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_program_says(name):
    path = reference.FOLDER / name
    same = path.exists() and path.read_text() == PAGES[name]
    assert same, f"docs/reference/{name} is not what the program says now; run: ./dev docs reference"


def test_no_page_is_left_over():
    assert {path.name for path in reference.FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("table", TABLES)
def test_every_key_says_what_it_is(table):
    assert table.text
    assert [key.name for key in table.keys if not key.text] == [], "write a docstring below the field"


@pytest.mark.parametrize("table", TABLES)
def test_every_number_has_a_unit_in_its_name(table):
    bare = [key.name for key in table.keys if key.number and not UNIT.search(key.name)]
    assert [name for name in bare if name not in PURE_NUMBERS] == []


@pytest.mark.parametrize(("path", "command"), list(command_page.entries()))
def test_every_option_says_what_it_is(path, command):
    assert command.help, f"{path} has no help"
    assert [param.name for param in command.params if not param.help] == [], f"{path}: give these a help text"


@pytest.mark.parametrize("program", SERVICES)
def test_the_options_of_services_are_written_down(program):
    row = next(line for line in PAGES["commands.md"].splitlines() if line.startswith(f"| `{program}`"))
    for node in ast.walk(ast.parse((ROOT / SERVICES[program]).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            (option,) = (arg.value for arg in node.args if isinstance(arg, ast.Constant))
            assert f"`{option}" in row
