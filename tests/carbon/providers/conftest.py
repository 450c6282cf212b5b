import time

import msgspec
import pytest

from evenwatt_collector.carbon.providers.build import providers
from evenwatt_collector.carbon.providers.http import Net
from evenwatt_collector.carbon.providers.settings import GridSettings
from tests.carbon.providers.server import replaying

KEY = "s3cr3t/key+With=Signs"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    """No proxy of the environment between a test and its own server."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def replay():
    async with replaying() as found:
        yield found


@pytest.fixture
async def net(tmp_path):
    found = Net(tmp_path / "cache", timeout_s=2.0)
    yield found
    await found.close()


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture
def now_s():
    return int(time.time())


@pytest.fixture
def build(net, replay, key_file):
    """Make a provider from its settings, against the local server."""

    def make(kind, /, *, grid="DE", basis="lifecycle", **settings):
        source = {"type": kind, **settings}
        if kind != "file":
            source.setdefault("base_url", replay.url)
        if kind in {"electricity-maps", "entsoe", "eia"}:
            source.setdefault("token_file", str(key_file))
        if kind == "carbon-aware-sdk":
            source["basis"] = basis
        if kind == "watttime":
            source.setdefault("username", "sre")
            source.setdefault("password_file", str(key_file))
        described = {"name": grid, "basis": basis, "sources": [source]}
        return providers(msgspec.convert(described, GridSettings), net)[0]

    return make
