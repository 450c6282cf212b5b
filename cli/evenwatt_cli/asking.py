"""The one way of every verb to the collector's HTTP: with the person's token, and with errors in words.

Whatever goes wrong becomes a :class:`Failure` whose exit code says of which kind it is: nobody there (1), the call or
the settings must be changed (2), not allowed (4), or no answer in time (5). See ``exits``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import httpx

from evenwatt_cli.exits import Exit
from evenwatt_cli.plain import plain
from evenwatt_daemon import Failure, read_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evenwatt_cli.operator_settings import OperatorSettings

QUICK_S: Final = 5.0
"""For what a collector has in its hands."""
PATIENT_S: Final = 120.0
"""For what it has to work out: a year's report of a fleet, a score."""
_CONNECT_S: Final = 5.0
_REFUSED: Final = frozenset({401, 403, 409, 429})
OR_ITS_DATABASE: Final = "start the collector, set collector_url in --config, or name its --database"
_NAMED: Final = "start the collector, or set collector_url in --config"


class UnknownNameError(Failure):
    """The collector knows nothing of that name."""


class AnswerError(Failure):
    """The collector answers with an error; ``document`` is what it said, empty where that is no JSON."""

    def __init__(self, message: str, document: dict[str, Any], *, exit_code: int) -> None:
        super().__init__(message, exit_code=exit_code)
        self.document = document


def ask(
    settings: OperatorSettings,
    path: str,
    parameters: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    *,
    timeout_s: float = QUICK_S,
    otherwise: str = _NAMED,
) -> Any:
    """Return what the collector answers to a GET, as JSON types; ``path`` begins with ``/``.

    Raises:
        Failure: there is no answer, or it is an error; its words are in it.
    """
    answer = request(settings, "GET", path, parameters=parameters, timeout_s=timeout_s, otherwise=otherwise)
    try:
        return answer.json()
    except ValueError:
        raise Failure(
            f"{settings.collector_url} answers something that is not JSON; is it a collector, and of this version?",
            exit_code=Exit.FAILURE,
        ) from None


def request(
    settings: OperatorSettings,
    method: str,
    path: str,
    *,
    parameters: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float = QUICK_S,
    otherwise: str = _NAMED,
) -> httpx.Response:
    """Return the collector's answer; ``otherwise`` says what a person may do where there is none.

    The path is quoted already.

    Raises:
        Failure: there is none, or it is an error.
    """
    url = settings.collector_url
    try:
        answer = httpx.request(
            method,
            f"{url}{path}",
            params=tuple(parameters.items() if isinstance(parameters, Mapping) else parameters) or None,
            headers={**authorisation(settings), **(headers or {})},
            content=body,
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
        )
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise unreachable(url, error, otherwise) from None
    if answer.is_error:
        raise refused(settings, answer)
    return answer


def authorisation(settings: OperatorSettings) -> dict[str, str]:
    """Return the header with the token, if ``token_file`` is set and there; reading may be open to everybody."""
    if not settings.token_file or not os.access(settings.token_file, os.R_OK):
        return {}
    return {"Authorization": f"Bearer {token(settings)}"}


def token(settings: OperatorSettings) -> str:
    """Return the person's token.

    Raises:
        Failure: there is none in the file that the settings name, or they name none.
    """
    if not settings.token_file:
        raise Failure(
            "no token: set token_file in the file named by --config to a file with a token that the collector knows "
            "(its [http] tokens)"
        )
    words = read_document(settings.token_file).decode("utf-8", "replace").partition("\n")[0].split()
    if not words or not words[-1].isascii():
        raise Failure(f"{settings.token_file}: no token in its first line; write the token there")
    return words[-1]


def unreachable(url: str, error: Exception, otherwise: str = _NAMED) -> Failure:
    """Return what to say where no answer came."""
    if isinstance(error, httpx.TimeoutException):
        return Failure(
            f"{url} gave no answer in time; is it busy, or is it the wrong address? {otherwise}", exit_code=Exit.TIMEOUT
        )
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | ValueError):
        return Failure(f"collector_url {url!r}: expected something like http://127.0.0.1:9730 ({error})")
    return Failure(f"{url} does not answer: {str(error) or type(error).__name__}; {otherwise}", exit_code=Exit.FAILURE)


def refused(settings: OperatorSettings, answer: httpx.Response) -> Failure:
    """Return what to say of an answer that is an error; its body has been read."""
    status = answer.status_code
    said = _document(answer)
    words = said.get("error")
    if status == httpx.codes.UNAUTHORIZED:
        return AnswerError(_unauthorised(settings, words), said, exit_code=Exit.REJECTED)
    if status == httpx.codes.FORBIDDEN:
        why = words or "this token may not do that"
        return AnswerError(f"{settings.collector_url} refuses: {why}", said, exit_code=Exit.REJECTED)
    if status == httpx.codes.NOT_FOUND and not words:
        return Failure(
            f"{settings.collector_url} knows no {answer.request.url.path}; is it a collector, and of this version?",
            exit_code=Exit.FAILURE,
        )
    if status == httpx.codes.NOT_FOUND:
        return UnknownNameError(str(words))
    code = Exit.FAILURE if answer.is_server_error else Exit.REJECTED if status in _REFUSED else Exit.USAGE
    return AnswerError(str(words or f"{settings.collector_url} answered {status}"), said, exit_code=code)


def _unauthorised(settings: OperatorSettings, words: object) -> str:
    why = words or "it asks for a token"
    if not settings.token_file:
        fix = "set token_file in --config to a file with a token that it knows"
    elif not os.access(settings.token_file, os.R_OK):
        fix = f"{settings.token_file} (token_file in --config) cannot be read"
    else:
        fix = f"the token in {settings.token_file} was sent"
    return f"{settings.collector_url} refuses: {why}; {fix}"


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return plain(said) if isinstance(said, dict) else {}
