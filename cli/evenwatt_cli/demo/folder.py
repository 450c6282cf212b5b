"""Where a demo writes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from contextlib import ExitStack


def demo_folder(keep: Path | None, stack: ExitStack) -> Path:
    """Return an empty folder: the one to keep, or one that goes with ``stack``.

    Raises:
        Failure: the one to keep is not empty.
    """
    if keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evenwatt-")))
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise Failure(f"--keep {keep}: not empty; name an empty or new folder")
    return keep.resolve()
