"""The registry's file and imported tables: what is right, and what is wrong with them in words."""

from __future__ import annotations

import json

import pytest

from evenwatt_collector.models.registry import ModelsFile, make_registry
from evenwatt_collector.models.tables import MOST_ROWS, Table, read_table, together
from evenwatt_daemon import Failure, load_settings
from tests.models.ledger import REGISTRY
from tests.models.market import TASK, variant

CSV = "task,model,variant,unit,wh_per_1000,device,quality,metric\nclassify,net,tiny,image,2.5,a100,0.7,top-1\n"


def load(tmp_path, text):
    path = tmp_path / "models.toml"
    path.write_text(text)
    return make_registry(load_settings(ModelsFile, path), [], [], str(path))


def test_the_file(tmp_path):
    registry = load(tmp_path, REGISTRY)
    assert [one.label for one in registry.of_task("classify")] == ["net:large", "net:small"]
    assert registry.labels_of("net") == ["net:large", "net:small"]
    assert registry.labels_of("ne") == []
    assert registry.kind_of("hall", "g7").name == "a100"
    assert registry.kind_of("hall", "n1") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('variant = "small"', "stands twice"),
        ('devices = ["a10"]', "no \\[\\[devices\\]\\] 'a10'; did you mean 'a100'"),
        ('unit = "token"', "counts in 'image'"),
        ('colour = "red"', "unknown key 'models\\[2\\].colour'"),
        ("memory_gb = -1", "memory_gb"),
        ('quality = { metric = "top-1", value = 0.9 }', "source"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, change, words):
    key = change.split(" = ")[0]
    base = {"task": '"classify"', "model": '"net"', "variant": '"tiny"', "unit": '"image"'}
    entry = "".join(f"{name} = {value}\n" for name, value in base.items() if name != key)
    with pytest.raises(Failure, match=words):
        load(tmp_path, f"{REGISTRY}\n[[models]]\n{entry}{change}\n")


def test_watt_hours_per_thousand_are_joules_a_unit():
    (figure,) = Table(source="board", imported_s=1.0, rows=read_table(CSV, "csv", "t.csv")).published()
    assert figure.joules_per_unit == pytest.approx(2.5 * 3600 / 1000)
    assert (figure.label, figure.device, figure.source) == ("net:tiny", "a100", "board")


def test_csv_and_json_say_the_same():
    row = {"task": "classify", "model": "net", "variant": "tiny", "unit": "image", "wh_per_1000": 2.5, "device": "a100",
           "quality": 0.7, "metric": "top-1"}  # fmt: skip
    assert read_table(json.dumps([row]), "json", "t") == read_table("\ufeff" + CSV, "csv", "t")


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        ("", "csv", "no rows"),
        ("task,model,unit\na,b,c\n", "csv", "row 1: expected one of joules_per_unit and wh_per_1000"),
        (CSV + "classify,net,tiny,image,3,a100,0.7,top-1\n", "csv", "rows 1 and 2 tell of the same"),
        (CSV.replace("2.5", "nan"), "csv", "row 1"),
        (CSV.replace("2.5", "-2"), "csv", "row 1: .*wh_per_1000"),
        (CSV.replace("2.5", "many"), "csv", "row 1: .*wh_per_1000"),
        (CSV.replace("device", "devcie"), "csv", "unknown column 'devcie'"),
        (CSV.replace(",metric", "").replace(",top-1", ""), "csv", "names no metric"),
        (CSV + "classify,net,x,image,3,a100,0.7,top-1,extra\n", "csv", "row 2: more values than columns"),
        ('{"a": 1}', "json", "expected a JSON list"),
        ("[1]", "json", "expected a JSON list"),
        ("[", "json", "expected a JSON list"),
        ("task,model,unit,wh_per_1000\n" + "a,b,c,1\n" * (MOST_ROWS + 1), "csv", "at the most"),
    ],
)
def test_a_table_that_is_wrong(text, form, words):
    with pytest.raises(Failure, match=words):
        read_table(text, form, "t.csv")


def test_the_owner_counts_before_a_table_and_a_newer_table_before_an_older():
    old = Table(source="old", imported_s=1.0, rows=read_table(CSV, "csv", "t"))
    new = Table(source="new", imported_s=2.0, rows=read_table(CSV.replace("0.7", "0.72"), "csv", "t"))
    variants, published = together([new, old])
    assert [(one.label, one.quality.value) for one in variants] == [("net:tiny", 0.72)]
    assert [one.source for one in published] == ["old", "new"]
    registry = make_registry(ModelsFile(models=[variant("net:tiny", 0.5)]), variants, published)
    assert registry.find("net:tiny").quality.value == 0.5
    assert registry.imported == frozenset()
    assert make_registry(ModelsFile(), variants, published).imported == {"net:tiny"}


def test_an_imported_variant_in_another_unit_is_not_compared():
    rows = read_table("task,model,unit,joules_per_unit\nclassify,other,token,1\n", "csv", "t")
    variants, published = together([Table(source="s", imported_s=1.0, rows=rows)])
    registry = make_registry(ModelsFile(models=[variant("net", 0.5)]), variants, published)
    assert registry.unit_of(TASK) == "image"
