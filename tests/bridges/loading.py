"""Bridges are single files to be copied: a test loads each from where it lies."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

BRIDGES = Path(__file__).parents[2] / "packaging" / "bridges"


def load(path):
    """Return the module in a file below packaging/bridges."""
    name = f"bridge_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, BRIDGES / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
