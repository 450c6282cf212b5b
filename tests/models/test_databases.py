"""The same figures from SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from evenwatt_cli.models.importing import import_models
from evenwatt_collector.models.card import Asked
from evenwatt_collector.models.desk import Models, Sources
from evenwatt_collector.report.build import Made
from evenwatt_collector.storage import connect
from evenwatt_collector.storage.documents import put_document
from evenwatt_daemon import Failure
from tests.models import ledger
from tests.models.ledger import HOURS, IMAGES, INFER_J, NOW, TRAIN_J, grams
from tests.storage.conftest import cluster, where

__all__ = ["cluster", "where"]


def make_desk(where, file=""):
    made = Made(now_s=NOW, version="1.2.3", fleet="lab")
    return Models(Sources(database=where, file=file, made=lambda: made, places=list))


def test_card_costs_and_imports(where, tmp_path):
    ledger.build(where)
    (tmp_path / "models.toml").write_text(ledger.REGISTRY)
    (tmp_path / "t.json").write_text(
        '[{"task": "classify", "model": "net", "variant": "small", "unit": "image", "joules_per_unit": 3}]'
    )
    import_models(tmp_path / "t.json", "a board", where, as_json=False)
    desk = make_desk(where, str(tmp_path / "models.toml"))
    card = asyncio.run(desk.card(Asked(model="net")))
    assert card.lifecycle.phase("train").operational.grams == pytest.approx(grams(TRAIN_J), rel=1e-9)
    assert card.lifecycle.per_use.uses == 2 * IMAGES * HOURS
    small = next(view for view in asyncio.run(desk.models()) if view.label == "net:small")
    assert small.measured[0].joules_per_unit.mean == pytest.approx(INFER_J["net:small"] / IMAGES)
    assert [row.joules_per_unit for row in small.published] == [3.0]
    assert not small.imported


def test_an_empty_ledger_knows_nothing_and_says_so(where):
    connection = connect(where)
    from evenwatt_collector.storage.schema import migrate

    migrate(connection, where)
    connection.close()
    desk = make_desk(where)
    assert asyncio.run(desk.models()) == []
    with pytest.raises(Failure, match="models in the ledger are none"):
        asyncio.run(desk.card(Asked(model="net")))


def test_a_damaged_import_is_named(tmp_path):
    where = str(ledger.build(tmp_path / "c.db"))
    connection = connect(where, exclusive=False)
    put_document(connection, "models-table", "a board", {"rows": 3}, NOW)
    connection.close()
    with pytest.raises(Failure, match=r"imported table 'a board': .*; import it again"):
        asyncio.run(make_desk(where).models())
