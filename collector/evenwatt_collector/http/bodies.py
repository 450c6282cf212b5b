"""Reads what is sent, within bounds of length and time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect

from evenwatt_collector.http.errors import RequestError

if TYPE_CHECKING:
    from starlette.requests import Request

BODY_S: Final = 30.0
"""A body that takes longer is not waited for."""


async def received(request: Request, most_bytes: int, too_much: str) -> bytes:
    """Return a body that has to come in time.

    Raises:
        RequestError: 413 with ``too_much``, 408 where it does not come, 400 where who sent it has left.
    """
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                found += part
                if len(found) > most_bytes:
                    raise RequestError(413, too_much)
    except TimeoutError:
        said = f"the body has not come within {BODY_S:.0f} s ({len(found)} bytes of it have); send it at once"
        raise RequestError(408, said, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise RequestError(400, "the body ended before its end") from None  # nobody hears of it
    return bytes(found)
