"""The table in docs/faults.md."""

from __future__ import annotations

_BEGIN, _END = "<!-- figures of ./dev chaos -->", "<!-- end -->"


def write_table(page, results):
    """Put results between the page's two marks; rows that were not run this time stay as they are."""
    head, _, rest = page.read_text().partition(_BEGIN)
    old, _, tail = rest.partition(_END)
    lines = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ")}
    for key in ("row", "---"):
        lines.pop(key, None)
    for result in results:
        lines[result["row"]] = (
            f"| {result['row']} | {result['injected']} | {result['promised']} "
            f"| {result['result']}: {result['measured']} |"
        )
    top = "| row | what is broken | what is promised | what was measured |\n|---|---|---|---|"
    page.write_text("\n".join([f"{head}{_BEGIN}", top, *lines.values(), f"{_END}{tail}"]))
