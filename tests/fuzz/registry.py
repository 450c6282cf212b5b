"""All parsers that take bytes from outside."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.parser import Parser


@cache
def parsers() -> dict[str, Parser]:
    """Return every parser by its name: what each module beside this one in ``parsers`` lists."""
    found: dict[str, Parser] = {}
    for path in sorted((Path(__file__).parent / "parsers").glob("[a-z]*.py")):
        for parser in importlib.import_module(f"tests.fuzz.parsers.{path.stem}").PARSERS:
            if parser.name in found:
                raise ValueError(f"two parsers are called {parser.name!r}")
            found[parser.name] = parser
    return found
