"""Who else may work in our folders: nobody, or the one other collector that shares the lease."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evenwatt_collector.storage import is_url
from evenwatt_daemon import Failure, lock_folder

if TYPE_CHECKING:
    from collections.abc import Generator

    from evenwatt_collector.settings import CollectorSettings


@contextmanager
def only_us(settings: CollectorSettings) -> Generator[None]:
    """Lock the state directory, and the database's folder: shared with a standby, if there is one.

    Raises:
        Failure: somebody else works there.
    """
    state = Path(settings.state_dir)
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{state}: {error.strerror}; state_dir must be a folder we can write to") from None
    already = "another collector already works here; stop it, or set another state_dir and database"
    locks = [lock_folder(state.resolve(), already)]
    try:
        base = None if is_url(settings.where) else Path(settings.where).parent.resolve()
        if base is not None and base != state.resolve():
            locks.append(lock_folder(base, already, shared=settings.standby is not None))
        yield
    finally:
        for descriptor in locks:
            os.close(descriptor)
