"""Keys and passwords: read from their files when they are needed, so that a new one counts at once, and never shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST: Final = 4
"""A shorter 'secret' is a mistake, and would make blanking out destroy texts."""


class Secret:
    """The content of a file. Its representation is the file's name."""

    def __init__(self, path: str, key: str) -> None:
        """Args: the file, and the settings' key that named it, for messages."""
        self._path = Path(path)
        self._key = key

    def __repr__(self) -> str:
        return f"Secret({str(self._path)!r})"

    def read(self) -> str:
        """Return the secret.

        Raises:
            ProviderError: ``refused``: there is none that could be sent.
        """
        try:
            text = self._path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise self._fault(f"{error.strerror}; write the key into that file, readable by this user") from None
        except UnicodeDecodeError:
            raise self._fault("not text; write the key alone into that file") from None
        if len(text) < SHORTEST:
            raise self._fault("no key in it; write the key into that file")
        if not text.isprintable() or not text.isascii():
            raise self._fault("more than one line, or characters that no key has; write the key alone into that file")
        return text

    def _fault(self, what: str) -> ProviderError:
        return ProviderError(Trouble.REFUSED, f"{self._key} {self._path}: {what}")


def blank(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without the secrets, as they are and as a URL would hold them."""
    for secret in secrets:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            if len(form) >= SHORTEST:
                text = text.replace(form, "***")
    return text
