from __future__ import annotations

import pytest

from tests.broker.site import TlsBroker


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One broker for a module: what it forbids does not depend on what was said before."""
    made = TlsBroker(tmp_path_factory.mktemp("broker"))
    for name, zone in CLIENTS.items():
        made.client(name, zone)
    yield made.start()
    made.stop()


CLIENTS = {"n1": "hall", "n2": "hall", "n3": "yard", "collector.main": "", "operator.alice": "", "viewer.screen": ""}
