"""What others wrote does nothing to a terminal: no escape sequence, no markup, no line of its own in a log."""

from __future__ import annotations

import io
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evenwatt_cli.plain import plain
from evenwatt_cli.status_text import print_status

EVIL = "train\x1b]0;pwned\x07\x9b31m\r\u202e[/bold][red]"


@given(
    st.recursive(st.text() | st.floats() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_no_text_holds_what_a_terminal_obeys(value):
    texts = []

    def walk(node):
        if isinstance(node, dict):
            for key, inner in node.items():
                texts.append(key)
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)
        elif isinstance(node, str):
            texts.append(node)

    walk(plain(value))
    assert not [c for text in texts for c in text if (c < " " and c not in "\t\n") or "\x7f" <= c <= "\x9f"]


def test_a_name_of_work_is_shown_as_it_is_written_and_does_nothing():
    zone = {
        "zone": "hall-1", "power_w": 1.0, "budget_w": None, "emissions_g_per_h": 1.0, "intensity_g_per_kwh": 1.0,
        "pue": 1.0, "intensity_source": EVIL, "emissions_g": 1.0, "nodes": 1, "capped": 0, "silent": 0,
        "alarms": [EVIL],
    }  # fmt: skip
    row = {"workload": EVIL, "power_w": 1.0, "emissions_g_per_h": 1.0, "nodes": 1}
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False, markup=False, force_terminal=True, color_system=None)
    print_status(plain({"zones": [zone], "nodes": [], "workloads": [row]}), console)
    shown = out.getvalue()
    assert not set("\x07\x9b\x1b\r") & set(shown)
    assert "[/bold][red]" in shown, "and markup is text"


def test_a_log_on_a_terminal_holds_no_escape_of_others():
    script = (
        "from evenwatt_daemon.logs import setup_logging, get_logger\n"
        "setup_logging('info', 'console')\n"
        f"get_logger('x').warning('message dropped', why={EVIL!r}, topic='a\\n2026 [error] forged')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"NO_COLOR": "1"}
    )
    assert not set("\x07\x9b\x1b\r") & set(done.stderr)
    assert len(done.stderr.splitlines()) == 1


def test_a_log_that_is_no_terminal_has_no_colours_and_no_needless_digits():
    script = (
        "from evenwatt_daemon.logs import setup_logging, get_logger\n"
        "setup_logging('info', 'console')\n"
        "get_logger('x').info('lease', cap_w=819.206921552008, lasted_s=0.20002138199924957, at_ms=1795878350123)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env={})
    assert "\x1b" not in done.stderr
    assert "cap_w=819.207" in done.stderr
    assert "lasted_s=0.2" in done.stderr.split()
    assert "at_ms=1795878350123" in done.stderr
