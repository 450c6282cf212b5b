"""The page's files: guarded by headers, kept by the browser until they change, and nothing else is handed out."""

from __future__ import annotations

import gzip
import hashlib

import httpx
import pytest
from starlette.applications import Starlette

from evenwatt_collector.page import page_routes
from evenwatt_collector.page.routes import ASSETS


@pytest.fixture
async def client():
    transport = httpx.ASGITransport(Starlette(routes=page_routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as made:
        yield made


async def test_the_start_is_guarded(client):
    answer = await client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.text == (ASSETS / "index.html").read_text()


async def test_what_has_not_changed_is_not_sent_again(client):
    first = await client.get("/page/app.js")
    again = await client.get("/page/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again.headers["content-security-policy"]


async def test_it_is_compressed_for_who_can_read_that(client):
    async with client.stream("GET", "/page/vendor/uplot.js", headers={"Accept-Encoding": "gzip"}) as answer:
        packed = b"".join([part async for part in answer.aiter_raw()])
    assert gzip.decompress(packed) == (ASSETS / "vendor/uplot.js").read_bytes()
    plain = await client.get("/page/vendor/uplot.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "path", ["../routes.py", "%2e%2e/routes.py", "vendor/README.md", "vendor/htm.LICENSE", "", "x"]
)
async def test_nothing_else_is_handed_out(client, path):
    assert (await client.get(f"/page/{path}")).status_code == 404


def test_libraries_are_those_that_were_looked_at():
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (ASSETS / "vendor").glob("*.*s*")
    }
    assert {
        "htm-preact.js": "72284e8e9079c878",
        "uplot.js": "5dd9b3281aa64b46",
        "uplot.css": "df630c6a8d6f8eea",
    }.items() <= found.items()
    assert all((ASSETS / "vendor" / name).is_file() for name in ("htm.LICENSE", "preact.LICENSE", "uplot.LICENSE"))
