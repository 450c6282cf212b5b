"""Files in memory for parsers that read files."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

PARSERS: list[object] = []


@cache
def folder() -> Path:
    """Return a folder of this process, gone when it ends."""
    memory = Path("/dev/shm")
    found = Path(tempfile.mkdtemp(prefix="evenwatt-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, found, ignore_errors=True)
    return found


def write(name: str, data: bytes) -> Path:
    """Write a file and return where it is."""
    path = folder() / name
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    with open(path, "wb", buffering=0) as file:
        file.write(data)
    return path


def tree(name: str, files: dict[str, str]) -> Path:
    """Make a tree of small files once, and return its root."""
    root = folder() / name
    for path, text in files.items():
        write(f"{name}/{path}", text.encode())
    return root
