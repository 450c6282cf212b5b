"""Text of others before it goes to a terminal: without what a terminal would obey.

Names of work, reasons and logs come from nodes and from who submits jobs. An escape sequence among them could rewrite
what a person sees, or worse, type for them; and text that changes direction could make one name look like another.
"""

from __future__ import annotations

import re
from typing import Any, Final

_OBEYED: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(value: Any) -> Any:
    """Return a JSON value with each such character in its texts and keys replaced by a question mark."""
    if isinstance(value, str):
        return _OBEYED.sub("?", value)
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
