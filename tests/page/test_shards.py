"""A fleet of several shards: each page leads to the others, and says whether anybody keeps them."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.sync_api import expect

from evenwatt_collector.storage import LedgerWriter
from evenwatt_collector.storage.writer import Part
from tests.collector.middle import Middle
from tests.storage.databases import Cluster
from tests.support import Mosquitto, wait_for


@pytest.fixture
def database():
    made = Cluster().start()
    yield made.database()
    made.remove()


def test_other_shards_are_linked_with_their_state(database, tmp_path, visit):
    south = LedgerWriter(database, part=Part(shard="south", zones=("barn", "yard"), url="https://south.example"))
    LedgerWriter(database, part=Part(shard="west", zones=("shed",), url="javascript:alert(1)")).close()
    broker = Mosquitto(tmp_path).start()
    middle = Middle(tmp_path, broker.port)
    shard = '[shard]\nname = "north"\nurl = "https://north.example"\n[[zones]]\nname = "hall"\ngrid = "DE"\n'
    middle.write(zone=shard, database=database)
    with middle.run():
        wait_for(lambda: len(shards(middle)) == 3, "all shards are known", 60)
        page = visit(middle.port, forgive="ERR_|Failed to load")  # it goes before its page does
        others = page.get_by_role("group", name="Other shards")
        expect(others.get_by_role("link", name="south")).to_have_attribute("href", "https://south.example/")
        expect(others.locator("tbody tr")).to_have_count(2)
        rows = [row.inner_text().split() for row in others.locator("tbody tr").all()]
        assert [(row[0], " ".join(row[1:4])) for row in rows] == [("south", "● at work"), ("west", "■ no collector")]
        expect(others.get_by_role("link")).to_have_count(1)
        expect(others.get_by_text("barn, yard")).to_have_count(1)
    south.close()
    broker.kill()


def shards(middle):
    try:
        return middle.status()["shards"]
    except (httpx.HTTPError, KeyError, json.JSONDecodeError):
        return []
