"""Long lists in pages.

A cursor holds the key of the last row that was given, so that what comes or goes meanwhile neither repeats nor hides a
row that stays.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from evenwatt_collector.http.endpoint import Parameter
from evenwatt_collector.http.errors import RequestError, json_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

T = TypeVar("T")
Key = tuple[Any, ...]

MOST: Final = 500
"""Rows on a page."""
USUAL: Final = 100
LIMIT: Final = Parameter(
    name="limit", words="rows on a page", schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL}
)
CURSOR: Final = Parameter(name="cursor", words="'next' of the page before")


def limit_of(request: Request) -> int:
    """Return how many rows are asked for.

    Raises:
        RequestError: 400, it is no such number.
    """
    text = request.query_params.get("limit", str(USUAL))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= MOST:
        raise RequestError(400, f"limit: found {text[:40]!r}, expected a whole number from 1 to {MOST}")
    return int(text)


def page(request: Request, name: str, rows: Sequence[T], key: Callable[[T], Key], kinds: tuple[type, ...]) -> Response:
    """Answer with the page that is asked for.

    Args:
        request: Its ``limit`` and ``cursor`` count.
        name: What the rows are called in the answer.
        rows: All of them, rising by ``key``.
        key: What tells a row from all others, of which JSON keeps the order.
        kinds: Types of the parts of a key.
    """
    limit, cursor = limit_of(request), request.query_params.get("cursor")
    after = None if cursor is None else read_cursor(cursor, kinds)
    left = rows if after is None else [row for row in rows if key(row) > after]
    shown = list(left[:limit])
    following = _cursor(key(shown[-1])) if len(left) > limit else None
    headers = {}
    if following is not None:
        url = request.url.include_query_params(cursor=following)
        headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return json_answer({name: shown, "next": following}, headers=headers)


def _cursor(key: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def read_cursor(text: str, kinds: tuple[type, ...]) -> Key:
    """Return the key of the last row that was given.

    Raises:
        RequestError: 400, it is no cursor of ours.
    """
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        key: Key = msgspec.json.decode(raw, type=tuple[kinds])  # type: ignore[valid-type]
    except (ValueError, binascii.Error, msgspec.MsgspecError, RecursionError):
        raise RequestError(400, f"cursor: found {text[:40]!r}, expected the 'next' of an earlier page") from None
    return key
