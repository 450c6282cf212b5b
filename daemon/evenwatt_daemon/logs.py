"""Logs: readable on a terminal, one JSON object a line everywhere else, which journald keeps whole."""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, Literal

from evenwatt_daemon.lean import without_needless

with without_needless():
    import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_OBEYED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# The first characters of a journald line set its priority (sd-daemon(3)).
_PRIORITY: Final = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


def setup_logging(level: LogLevel = "info", style: LogFormat = "auto") -> None:
    """Send every log record to standard error, ours as key-value events and other libraries' warnings among them."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _shorten,
            *(_console() if console else _json(journal="JOURNAL_STREAM" in os.environ)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


def get_logger(name: str) -> Any:
    """A logger that adds ``component`` to every event; events are short lower-case phrases, facts are keywords."""
    return structlog.get_logger().bind(component=name)


def _console() -> list[Any]:
    plain = structlog.dev.plain_traceback
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return [_tame, structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]


def _shorten(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Nobody reads a cap to the femtowatt: thousandths are kept, and three digits of what is smaller than one."""
    return {key: _short(value) if isinstance(value, float) else value for key, value in event.items()}


def _short(value: float) -> float:
    return round(value, 3) if abs(value) >= 1 else float(f"{value:.3g}")


def _tame(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Texts of others hold nothing that a terminal would obey; JSON escapes it by itself."""
    return {key: _OBEYED.sub("?", value) if isinstance(value, str) else value for key, value in event.items()}


def _json(*, journal: bool) -> list[Any]:
    render: list[Any] = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    return [*render, _journal_priority] if journal else render


def _journal_priority(_logger: object, method: str, line: str) -> str:
    return _PRIORITY.get(method, "<6>") + line
