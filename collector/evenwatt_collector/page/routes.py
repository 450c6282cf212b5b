"""Hands out the page's files: held in memory, compressed once, and never from anywhere but ``assets``.

The browser may run nothing but these files and speak to nothing but this server (Content-Security-Policy, W3C CSP 3):
what nodes and people write is shown as text, and even a slip in that could not run.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

ASSETS: Final = Path(__file__).parent / "assets"

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is handed out; licences and notes stay in the package."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",  # asked again with the ETag: a newer collector brings a newer page
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is sent."""

    content: bytes
    packed: bytes
    """The same with gzip."""
    media_type: str
    etag: str


def load_assets(folder: Path = ASSETS) -> dict[str, Asset]:
    """Return the files of the page by their path below ``folder``."""
    found = {}
    for path in sorted(folder.rglob("*")):
        media_type = _TYPES.get(path.suffix)
        if media_type is not None and path.is_file():
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.relative_to(folder).as_posix()] = Asset(content, gzip.compress(content), media_type, etag)
    return found


def page_routes(first: str = "index.html") -> list[Route]:
    """Return the routes of the page.

    Args:
        first: What is shown at ``/``.
    """
    assets = load_assets()

    async def start(request: Request) -> Response:
        return _answer(request, assets[first])

    async def file(request: Request) -> Response:
        path = request.path_params["path"]
        asset = assets.get(path)
        if asset is None:
            return JSONResponse({"error": f"the page has no file {path!r}"}, status_code=404)
        return _answer(request, asset)

    return [Route("/", start), Route("/page/{path:path}", file)]


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**_HEADERS, "ETag": asset.etag}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = {**headers, "Content-Encoding": "gzip"}
        return Response(asset.packed, media_type=asset.media_type, headers=packed)
    return Response(asset.content, media_type=asset.media_type, headers=headers)
