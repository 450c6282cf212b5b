"""Server-sent events from bytes (html.spec.whatwg.org, section 9.2.6). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from evenwatt_cli.plain import plain

_MOST_BYTES: Final = 16 * 1024 * 1024
"""One message is never so long; whoever sends that is no collector."""


class StreamError(ValueError):
    """What came is no stream of a collector."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message: a state of something, a happening, or a ``gap``."""

    topic: str
    data: Any
    id: str | None = None
    """Of a happening: what to come back with."""


class Reader:
    """Takes bytes as they come, and gives whole messages, without what a terminal would obey."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Said]:
        """Return the messages that are complete now.

        Raises:
            StreamError: they are none of a collector.
        """
        text = (self._rest + chunk).replace(b"\r\n", b"\n")
        *blocks, self._rest = text.split(b"\n\n")
        if len(self._rest) > _MOST_BYTES:
            raise StreamError(f"a message of more than {_MOST_BYTES:,} bytes")
        return [said for said in map(_read, blocks) if said is not None]


def _read(block: bytes) -> Said | None:
    """Read the lines of one message; None for a comment, or one without data."""
    topic, id_, data = "message", None, []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            topic = value.decode("utf-8", "replace")
        elif field == b"data":
            data.append(value)
        elif field == b"id":
            id_ = value.decode("utf-8", "replace")
    if not data:
        return None
    try:
        return Said(plain(topic), plain(msgspec.json.decode(b"\n".join(data))), id_ and plain(id_))
    except (ValueError, RecursionError) as error:
        raise StreamError(f"a message that is not JSON: {error}") from None
