"""What is answered instead of data: a status and ``{"error": WORDS}``, everywhere the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping


class RequestError(Exception):
    """What cannot be answered as it was asked: a status and one clear error."""

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error)
        self.status, self.headers = status, dict(headers or {})


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return data as JSON."""
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")


def error_answer(status: int, text: str, headers: Mapping[str, str] | None = None, **facts: Any) -> Response:
    """Return an error, with more beside it if it helps. One that passes by itself says when to ask again."""
    said = {"Retry-After": "5"} if status == 503 else {}
    return json_answer({"error": text, **facts}, status, {**said, **(headers or {})})
