"""Sends large bodies piece by piece: what a slow reader has not taken yet is not copied for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PIECE_BYTES: Final = 64 * 1024


def in_pieces(response: Response) -> Response:
    """Return an answer that waits for its reader after each piece; small ones, and streams, are left as they are."""
    return _InPieces(response) if len(getattr(response, "body", b"")) > PIECE_BYTES else response


class _InPieces(Response):
    """Another answer's status, headers and body."""

    def __init__(self, other: Response) -> None:
        self.status_code, self.body, self.raw_headers = other.status_code, other.body, other.raw_headers
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  (ASGI's signature)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for first in range(0, len(self.body), PIECE_BYTES):
            piece = bytes(self.body[first : first + PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
