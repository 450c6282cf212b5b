"""Answers only to names that are ours.

A page on the web can give its own name the address of this machine (DNS rebinding): the browser then takes our answers
for that page's. Its name is in ``Host``. An address in numbers cannot be rebound, and is let through.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from evenwatt_collector.http.errors import error_answer
from evenwatt_collector.http.gate import host_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send


class HostCheck:
    """Middleware.

    Args:
        app: What answers.
        hosts: Names besides ``localhost``.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app, self._names = app, {"localhost", *(name.lower() for name in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(given) != 1 or not self._ours(host_name(given[0])):
                shown = given[0][:100] if given else ""
                text = f"the host {shown!r} is not known here; add it to hosts in [http] of the collector's settings"
                await error_answer(421, text)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _ours(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
