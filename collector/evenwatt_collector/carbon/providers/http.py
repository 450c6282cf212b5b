"""The one place that speaks HTTP to providers: time-outs, pace, cache, clock check, and errors that say what to do.

Nothing here sleeps: a request that must wait fails at once with the time to wait, and the feed asks again then.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from evenwatt_collector.carbon.providers.cache import Cache
from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble
from evenwatt_collector.carbon.providers.pace import Limit, Pace, retry_after_s
from evenwatt_collector.carbon.providers.secret import blank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

LARGEST_ANSWER_BYTES: Final = 32 * 2**20
"""A month of ENTSO-E's quarter hours by production type is some 4 MB; more than this is not an answer."""

_BEGINNING: Final = 60  # characters of an unexpected answer that a message quotes


class Net:
    """The client that all providers share: connections, cache, and one pace for each account."""

    def __init__(self, cache: Path | None, *, timeout_s: float = 20.0) -> None:
        """Args: the cache's folder, or None; how long one answer may take to begin, and three times that to end."""
        # httpx logs every URL at INFO, and ENTSO-E and EIA take their keys in the URL.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None
        self._cache = Cache(cache) if cache is not None else None
        self._paces: dict[tuple[str, str], Pace] = {}

    def http(self, source: str, base_url: str, limit: Limit, account: str = "") -> Http:
        """Return one source's access; the same service and account share a pace.

        Args:
            source: For messages and the cache.
            base_url: Where its API begins.
            limit: What the provider allows.
            account: What tells accounts apart: the name of the file with the key.
        """
        pace = self._paces.setdefault((base_url, account), Pace(limit))
        return Http(self, source, base_url.rstrip("/"), pace, self._cache)

    async def fetch(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Send a request and read its answer, bounded in time and size."""
        async with asyncio.timeout(3 * self._timeout_s):
            response = await self._open().send(request, stream=True)
            try:
                parts: list[bytes] = []
                size = 0
                async for part in response.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > LARGEST_ANSWER_BYTES:
                        raise ProviderError(
                            Trouble.NONSENSE,
                            f"the answer is longer than {LARGEST_ANSWER_BYTES >> 20} MB; check base_url",
                        )
                return response, b"".join(parts)
            finally:
                await response.aclose()

    def request(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str], login: tuple[str, str] | None
    ) -> httpx.Request:
        """Build a GET request.

        Raises:
            ProviderError: a header, such as a token that a server gave, holds what no header may.
        """
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ProviderError(
                    Trouble.NONSENSE,
                    f"what was given for the header {name!r} is not printable ASCII and cannot be sent",
                )
        client = self._open()
        request = client.build_request("GET", url, params=dict(params), headers=dict(headers))
        if login is not None:
            request = next(httpx.BasicAuth(*login).auth_flow(request))
        return request

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                timeout=self._timeout_s, follow_redirects=False, headers={"user-agent": "evenwatt-collector"}
            )
        return self._client


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """What to ask."""

    path: str
    """Below the base URL, with its slash."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Stand in the URL and name the cache's file."""
    max_age_s: float = 0.0
    """How old an answer from the cache may be; 0: ask, and keep nothing."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters that stand in the URL and nowhere else: keys."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Never to be shown or kept."""
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User and password, for basic authentication."""


class Http:
    """GET for one source."""

    def __init__(self, net: Net, source: str, base_url: str, pace: Pace, cache: Cache | None) -> None:
        self._net = net
        self._source = source
        self._base_url = base_url
        self._pace = pace
        self._cache = cache
        self.clock_off_s: float | None = None

    async def get(self, question: Get, now_s: float) -> bytes:
        """Return the body of a good answer, from the cache or the server; secrets that it echoes are blanked out.

        Raises:
            ProviderError: with the status and the body where there was an answer.
        """
        kept = self.kept(question, now_s)
        if kept is not None:
            return kept
        path, params = question.path, question.params
        self._pace.admit(now_s)
        request = self._net.request(
            self._base_url + path, {**params, **question.hidden}, question.headers, question.login
        )
        body = await self._send(request, path, now_s, question.secrets)
        self._pace.went_well()
        text = blank(body.decode("utf-8", errors="replace"), question.secrets)
        if self._cache is not None and question.max_age_s > 0:
            self._cache.put(self._name(question), text, now_s)
        return text.encode()

    def kept(self, question: Get, now_s: float) -> bytes | None:
        """Return the answer that the cache holds, if it is young enough."""
        if self._cache is None or question.max_age_s <= 0:
            return None
        found = self._cache.get(self._name(question), now_s, question.max_age_s)
        return None if found is None else found.body

    def _name(self, question: Get) -> str:
        return Cache.key(self._source, [self._base_url, question.path, sorted(question.params.items())])

    async def _send(self, request: httpx.Request, path: str, now_s: float, secrets: Sequence[str]) -> bytes:
        host = urlsplit(self._base_url).netloc
        try:
            response, body = await self._net.fetch(request)
        except TimeoutError:
            error = ProviderError(Trouble.UNREACHABLE, f"{host} did not answer {path} in time")
            raise self._pace.failed(error, now_s, None) from None
        except httpx.TimeoutException:
            error = ProviderError(Trouble.UNREACHABLE, f"{host} did not answer {path} in time")
            raise self._pace.failed(error, now_s, None) from None
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            reason = blank(str(problem) or type(problem).__name__, secrets)
            fix = "check base_url, DNS, proxy and firewall"
            error = ProviderError(Trouble.UNREACHABLE, f"{host} cannot be reached: {reason}; {fix}")
            raise self._pace.failed(error, now_s, None) from None
        self._look_at_clock(response.headers.get("date"), now_s)
        if response.is_success:
            return body
        error = _explain(response, body, host, path, secrets)
        if error.kind in {Trouble.UNREACHABLE, Trouble.LIMITED}:
            raise self._pace.failed(error, now_s, retry_after_s(response.headers.get("retry-after"), now_s))
        raise error

    def _look_at_clock(self, date: str | None, now_s: float) -> None:
        try:
            self.clock_off_s = now_s - parsedate_to_datetime(date).timestamp() if date else None
        except (ValueError, OverflowError):
            self.clock_off_s = None


def decode(body: bytes, kind: type[T]) -> T:
    """Read a JSON answer.

    Raises:
        ProviderError: ``nonsense``: it is not the documented one.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        begins = beginning(body)
        expected = "expected the documented JSON; check base_url"
        raise ProviderError(Trouble.NONSENSE, f"an answer that begins {begins!r}: {error}; {expected}") from None


def beginning(body: bytes) -> str:
    """Return the first characters of an answer, for a message; the caller has blanked out secrets."""
    return " ".join(body[: 4 * _BEGINNING].decode("utf-8", errors="replace").split())[:_BEGINNING]


def _explain(response: httpx.Response, body: bytes, host: str, path: str, secrets: Sequence[str]) -> ProviderError:
    status = response.status_code
    clean = blank(body.decode("utf-8", errors="replace"), secrets).encode()
    says = f"HTTP {status}" + (f" ({beginning(clean)!r})" if clean.strip() else "")
    if status in {401, 403}:
        kind, text = Trouble.REFUSED, f"{host} refused {path} with {says}; check the key and what its plan includes"
    elif status == 404:
        kind, text = Trouble.UNKNOWN_ZONE, f"{host} knows no {path} for this zone: {says}; check the zone and base_url"
    elif status == 429:
        kind, text = Trouble.LIMITED, f"{host} has had too many requests: {says}; other users of the same key count too"
    elif status >= 500 or status == 408:
        kind, text = Trouble.UNREACHABLE, f"{host} failed on {path} with {says}; its own trouble, it is asked again"
    elif status in {301, 302, 303, 307, 308}:
        to = urlsplit(response.headers.get("location", "")).netloc or "another place"
        kind, text = Trouble.NONSENSE, f"{host} sends {path} on to {to}; set base_url to where the API is"
    else:
        kind, text = Trouble.NONSENSE, f"{host} did not take {path}: {says}; check the zone and base_url"
    return ProviderError(kind, text, status=status, body=clean)
