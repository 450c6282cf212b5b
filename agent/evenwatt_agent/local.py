"""The status socket: whoever connects gets one JSON line about this node, also when the broker is away."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from evenwatt_daemon import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

_MODE = 0o660


@asynccontextmanager
async def serve_status(path: Path, snapshot: Callable[[], bytes]) -> AsyncIterator[None]:
    """Serve ``snapshot()`` on a Unix socket while the context is open.

    Raises:
        Failure: another agent answers on it, or it cannot be made there.
    """
    await _refuse_second(path)

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(snapshot() + b"\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        server = await asyncio.start_unix_server(answer, path)
        path.chmod(_MODE)  # noqa: ASYNC240
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}; runtime_dir must be a writable directory with a short path") from None
    try:
        async with server:
            yield
    finally:
        with suppress(OSError):
            os.unlink(path)  # noqa: PTH108


async def read_status(path: Path, timeout_s: float = 10.0) -> bytes:
    """Return what an agent says on its socket.

    Raises:
        OSError: nobody answers there.
    """
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            return await reader.read()
        finally:
            writer.close()


async def _refuse_second(path: Path) -> None:
    try:
        await read_status(path)
    except PermissionError:
        raise Failure(
            f"{path} is another user's: an agent of theirs runs here, or has run; be that user, or set another "
            f"runtime_dir (RUNTIME_DIRECTORY)"
        ) from None
    except (OSError, TimeoutError):
        return
    raise Failure(f"another agent already runs here and answers on {path}; stop it, or set another runtime_dir")
