"""What the agent does not load: each would cost every machine some of its memory."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

NEEDLESS = ("email", "http.client", "numpy", "rich", "typer", "urllib.request")


@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="PySocks is here: paho asks for proxies")
def test_what_it_does_not_need_is_not_loaded():
    code = (
        "import sys, evenwatt_agent.__main__, evenwatt_agent.service\n"
        f"print([name for name in {NEEDLESS} if name in sys.modules])\n"
        "import urllib.request; print(bool(urllib.request.urlopen))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"], "and who does need it has it"
