"""Lets in who may: by a bearer token, or by the session of somebody who has logged in on the page.

A session's cookie is sent by the browser whoever makes it ask. So what changes something and comes with a cookie must
come from a page of ours (``Sec-Fetch-Site``, ``Origin``) **and** repeat in a header what only that page can read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from evenwatt_collector.http.attempts import Attempts
from evenwatt_collector.http.errors import RequestError
from evenwatt_collector.http.sessions import LONGEST_S, Session, Sessions
from evenwatt_collector.http.tokens import NOBODY, Caller, Scope, Tokens
from evenwatt_daemon import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from evenwatt_collector.http.settings import HttpSettings
    from evenwatt_daemon.audit import Fact

PROOF_HEADER: Final = "x-evenwatt-csrf"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FIX: Final = "add a line 'NAME {scope} TOKEN' to the file named by tokens in [http] of its settings"


def _unheard(_kind: str, _facts: Mapping[str, Fact]) -> None:
    """Enter nothing: there is no audit log."""


class Gate:
    """Who may ask.

    Args:
        settings: Whether reading is open, and whether TLS is in front.
        tokens: Tokens that are accepted.
        note: Enters something in the audit log.
    """

    def __init__(
        self, settings: HttpSettings, tokens: Tokens, note: Callable[[str, Mapping[str, Fact]], None] = _unheard
    ) -> None:
        self._log: Any = get_logger("http")
        self._settings, self.tokens, self._note = settings, tokens, note
        self.sessions, self._attempts = Sessions(), Attempts()
        prefix = "__Host-" if settings.tls else ""
        self._cookie = f"{prefix}evenwatt-{settings.port}"  # cookies do not know ports: each collector has its own

    @property
    def read(self) -> str:
        """Whether reading is ``open``, or takes a ``token`` too."""
        return self._settings.read

    def admit(self, request: Request, scope: Scope | None) -> Caller:
        """Return who asks.

        Args:
            request: What is asked.
            scope: What it takes; None: nothing.

        Raises:
            RequestError: 401 without a token or with a wrong one, 403 with one that is not good for this, 429 after too
                many wrong ones.
        """
        if scope is None or (scope is Scope.READ and self._settings.read == "open"):
            return NOBODY
        if not self.tokens.anybody_may(scope):
            raise RequestError(403, f"nobody may do this here; {_FIX.format(scope=scope.value)}, and start it anew")
        caller = self._bearer(request) or self._logged_in(request)
        if caller is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="evenwatt"'}
            raise RequestError(401, "expected the header 'Authorization: Bearer TOKEN'", challenge)
        if not caller.may(scope):
            held = ", ".join(sorted(caller.scopes))
            raise RequestError(403, f"the token of {caller.name!r} is for {held}, and this takes {scope.value}")
        return caller

    def check(self, request: Request, token: str) -> Caller:
        """Return whose token it is.

        Raises:
            RequestError: 401 if nobody's, 429 after too many wrong ones.
        """
        now_s, address = time.monotonic(), request.client.host if request.client else ""
        wait_s = self._attempts.wait_s(address, now_s)
        if wait_s > 0:
            again = {"Retry-After": str(int(wait_s) + 1)}
            raise RequestError(429, f"too many wrong tokens from here; wait {wait_s:.0f} s", again)
        caller = self.tokens.caller(token)
        if caller is not None:
            return caller
        if self._attempts.wrong(address, token, now_s):
            self._log.warning("a token that is not known", address=address, path=request.url.path)
            self._note("token-refused", {"address": address, "path": request.url.path[:200]})
        challenge = {"WWW-Authenticate": 'Bearer realm="evenwatt", error="invalid_token"'}
        raise RequestError(
            401, "this token is not known here; compare it with the collector's file of tokens", challenge
        )

    def log_in(self, request: Request, token: str) -> tuple[str, Session]:
        """Begin a session; returns its id, for the cookie, and the session.

        Raises:
            RequestError: it comes from another site, over a network without TLS, or with a wrong token.
        """
        self._same_site(request)
        if not (self._settings.tls or is_local(request.headers.get("host", ""))):
            raise RequestError(
                403,
                "the token would cross the network unencrypted: put a proxy with TLS before the collector and set "
                "tls = true in [http] of its settings, or come through a tunnel (ssh -L) to 127.0.0.1",
            )
        caller = self.check(request, token)
        identity, session = self.sessions.begin(caller, time.monotonic())
        self._note("login", {"by": caller.name, "address": request.client.host if request.client else ""})
        return identity, session

    def log_out(self, request: Request) -> None:
        """End the session of a request.

        Raises:
            RequestError: it does not come from our page.
        """
        session = self.session(request)
        if session is not None:
            self._proven(request, session)
            self.sessions.end(request.cookies[self._cookie])
            self._note("logout", {"by": session.caller.name})

    def session(self, request: Request) -> Session | None:
        """Return the session that a request belongs to."""
        identity = request.cookies.get(self._cookie)
        return self.sessions.find(identity, time.monotonic()) if identity else None

    def remember(self, response: Response, identity: str) -> None:
        """Have the browser keep a session's id; empty: forget it."""
        response.set_cookie(
            self._cookie,
            identity,
            max_age=int(LONGEST_S) if identity else 0,
            path="/",
            secure=self._settings.tls,
            httponly=True,
            samesite="strict",
        )

    def _bearer(self, request: Request) -> Caller | None:
        given = request.headers.get("authorization")
        if given is None:
            return None
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        return self.check(request, token.strip())

    def _logged_in(self, request: Request) -> Caller | None:
        session = self.session(request)
        if session is None:
            return None
        if request.method not in _SAFE:
            self._proven(request, session)
        return session.caller

    def _proven(self, request: Request, session: Session) -> None:
        self._same_site(request)
        if not session.proves(request.headers.get(PROOF_HEADER, "")):
            raise RequestError(403, f"expected the header {PROOF_HEADER} as /api/v1/session gives it")

    @staticmethod
    def _same_site(request: Request) -> None:
        """See that a request was not made by a page of somebody else's. Only a browser sends these headers."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        host = request.headers.get("host", "")
        ours = origin is None or origin.partition("://")[2] == host
        if site not in {None, "same-origin", "none"} or not ours:
            raise RequestError(403, "this was asked by a page of another site")


def is_local(host: str) -> bool:
    """Whether a ``Host`` names the machine itself."""
    return host_name(host) in {"localhost", "127.0.0.1", "::1"}


def host_name(host: str) -> str:
    """Return a ``Host`` header without its port, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
