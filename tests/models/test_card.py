"""A model's life to date, from a real ledger: sums that agree with reports, and a card of them."""

from __future__ import annotations

import asyncio
import re
from math import fsum

import msgspec
import pytest

from evenwatt_cli.models.card_text import card_text
from evenwatt_collector.models.amounts import counted, singular
from evenwatt_collector.models.card import Asked, Card
from evenwatt_collector.models.desk import Models, Sources
from evenwatt_collector.report.asking import ReportQuery
from evenwatt_collector.report.build import Made, open_and_build
from evenwatt_collector.report.model import By
from evenwatt_daemon import Failure
from tests.models import ledger
from tests.models.ledger import EVALUATE_J, HOURS, IDLE_LOADED_J, IMAGES, INFER_J, NOW, OTHER_J, TRAIN_J, grams
from tests.storage.made import HOUR, T0

MADE = Made(now_s=NOW, version="1.2.3", fleet="lab")
EVALUATED = range(0, HOURS, 4)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return ledger.build(tmp_path_factory.mktemp("models") / "collector.db")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("registry") / "models.toml"
    path.write_text(ledger.REGISTRY)
    return path


@pytest.fixture(scope="module")
def desk(database, registry):
    return Models(Sources(database=str(database), file=str(registry), made=lambda: MADE, places=list))


@pytest.fixture(scope="module")
def card(desk):
    return asyncio.run(desk.card(Asked(model="net")))


def phases(card):
    return {one.phase: one for one in card.lifecycle.phases}


def test_each_phase_is_what_its_tasks_used(card):
    found = phases(card)
    assert list(found) == ["train", "evaluate", "infer", "idle-loaded", "(no phase)"]
    assert found["train"].operational.grams == pytest.approx(grams(TRAIN_J), rel=1e-9)
    assert found["evaluate"].operational.grams == pytest.approx(grams(EVALUATE_J, EVALUATED), rel=1e-9)
    assert found["infer"].operational.grams == pytest.approx(grams(sum(INFER_J.values())), rel=1e-9)
    assert found["idle-loaded"].energy_j == pytest.approx(IDLE_LOADED_J * HOURS)
    assert found["(no phase)"].energy_j == pytest.approx(OTHER_J * HOURS)
    assert found["infer"].units["image"] == 2 * IMAGES * HOURS
    assert found["infer"].idle_j == pytest.approx(found["infer"].energy_j / 4)


def report(database, by, model=None):
    query = ReportQuery(by=by, start_s=float(T0), end_s=NOW, timezone="UTC", model=model)
    return open_and_build(str(database), query, MADE)


def test_totals_by_phase_are_the_reports_total(card, database):
    life = card.lifecycle
    models = {row.name: row.figures for row in report(database, By.MODEL).rows}
    named = [models[name] for name in ("net", "net:large", "net:small")]
    for field, pick in (
        ("energy_j", lambda one: one.energy_j),
        ("location_g", lambda one: one.operational.grams),
        ("embodied_g", lambda one: one.embodied_g or 0.0),
    ):
        whole = fsum(getattr(figures, field) or 0.0 for figures in named)
        assert fsum(pick(one) for one in life.phases) == pytest.approx(whole, rel=1e-9)
        assert pick(life.total) == pytest.approx(whole, rel=1e-9)
        assert pick(life.making) + pick(life.using) == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("by", list(By))
def test_a_report_of_one_model_comes_to_the_same_by_whatever_it_is_grouped(database, by):
    whole = report(database, By.MODEL, "net")
    found = report(database, by, "net")
    assert found.total.energy_j == pytest.approx(whole.total.energy_j, rel=1e-9)
    assert fsum(row.figures.location_g for row in found.rows) == pytest.approx(whole.total.location_g, rel=1e-9)


def test_per_thousand_uses(card):
    per, life = card.lifecycle.per_use, card.lifecycle
    uses = 2 * IMAGES * HOURS
    assert (per.unit, per.uses, per.expected_uses) == ("image", uses, 1e6)
    assert per.served.grams == pytest.approx(1000 * life.using.whole_g / uses)
    assert per.to_date.grams == pytest.approx(1000 * life.total.whole_g / uses)
    assert per.over_life.grams == pytest.approx(1000 * (life.making.whole_g / 1e6 + life.using.whole_g / uses))
    for one in (per.served, per.to_date, per.over_life):
        assert one.low < one.grams < one.high


def test_fewer_expected_uses_than_there_were_do_not_lower_anything(desk):
    per = asyncio.run(desk.card(Asked(model="net", expected_uses=10.0))).lifecycle.per_use
    assert per.over_life.grams == pytest.approx(per.to_date.grams)


def test_one_variant_alone_has_its_own_life(desk):
    card = asyncio.run(desk.card(Asked(model="net:small")))
    assert set(phases(card)) == {"infer"}
    assert card.training is None
    assert card.lifecycle.per_use.uses == IMAGES * HOURS
    text = card_text(card)
    assert text.startswith("<!-- No co2_eq_emissions here: that is of training")
    assert "co2_eq_emissions:" not in text
    assert "what made net for all its variants is in the card of net" in text


def test_a_unit_that_nobody_counted_is_said(desk):
    life = asyncio.run(desk.card(Asked(model="net", unit="token"))).lifecycle
    assert life.per_use is None
    assert life.no_use == "no task of phase infer counted token; counted are image"


def test_a_model_that_is_not_in_the_ledger(desk):
    with pytest.raises(Failure, match="models in the ledger are net, net:large, net:small, network"):
        asyncio.run(desk.card(Asked(model="nyet")))


def test_front_matter_for_a_model_card(card):
    training = card.training
    assert training.emissions == pytest.approx(grams(TRAIN_J) + grams(EVALUATE_J, EVALUATED), rel=1e-9)
    assert training.training_type == "pre-training"
    assert training.geographical_location == "DE (hall)"
    assert training.hardware_used == "1 x a100"
    head = card_text(card).split("---\n")[1]
    keys = re.findall(r"^  (\w+): ", head, re.MULTILINE)
    assert keys == ["emissions", "source", "training_type", "geographical_location", "hardware_used"]
    assert float(re.search(r"emissions: (\S+)", head)[1]) == pytest.approx(training.emissions, rel=1e-5)


def test_what_the_figures_rest_on_is_in_it(card):
    text = card_text(card)
    for words in (
        "location-based", "The making of the devices is counted", "PUE 1.25 in hall", "Intensity of DE: ", "100 to 300",
        "of the energy on hall:g1 (a100, A100 80GB)", "as known 2026-11-03", "evenwatt 1.2.3", "Not in it: ",
    ):  # fmt: skip
        assert words in text, words
    assert card.metered_share == 1.0
    assert fsum(card.by_standing.values()) == pytest.approx(1.0)
    assert card.by_standing["measured"] == pytest.approx(1.0)


def test_hints_have_figures(card):
    words = {hint.phase: hint.words for hint in card.hints}
    assert "evaluation has used 833 Wh, 8%" not in words.get("evaluate", "")  # too little to speak of
    assert words["idle-loaded"].startswith("loaded and idle it has used 2.22 kWh, 40.0 h: 29% of what using it has")
    # 12 s (12 GB at 1 GB/s) at the power of inference, for the power of waiting.
    busy_w = sum(INFER_J.values()) / (2 * HOUR)
    rest_s = 12 * busy_w / (IDLE_LOADED_J / HOUR)
    assert f"unload it after {rest_s:.0f} s" in words["idle-loaded"]
    assert "estimated: 12 GB at 1 GB/s" in words["idle-loaded"]
    assert "names no phase" in words["(no phase)"]
    assert "more until using has weighed as much" in words["train"]


def test_a_card_travels_as_json(card):
    assert msgspec.json.decode(msgspec.json.encode(card), type=Card) == card


def test_names_from_anybody_cannot_break_the_page(card):
    nasty = msgspec.structs.replace(card, model="<script>|[x](http://y)\n# a", fleet="`f`")
    text = card_text(nasty)
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "\n# a" not in text


def test_what_is_known_later_does_not_change_a_card_as_of_then(desk):
    before = asyncio.run(desk.card(Asked(model="net", known_at_s=float(T0 + 10 * HOUR))))
    assert before.lifecycle.total.energy_j < asyncio.run(desk.card(Asked(model="net"))).lifecycle.total.energy_j


def test_costs_are_those_of_the_ledger(desk):
    views = {view.label: view for view in asyncio.run(desk.models("classify"))}
    measured = views["net:large"].measured[0]
    assert (measured.zone, measured.node, measured.runs, measured.units) == ("hall", "n1", 1, IMAGES * HOURS)
    assert measured.joules_per_unit.mean == pytest.approx(INFER_J["net:large"] / IMAGES)
    assert measured.joules_per_unit.pieces == 2  # two days
    assert measured.idle_share == pytest.approx(0.25)
    assert measured.units_per_s.mean == pytest.approx(IMAGES / HOUR)
    assert not measured.latency_measured
    with pytest.raises(Failure, match="no task 'sing'"):
        asyncio.run(desk.models("sing"))


def test_without_devices_it_says_that_their_making_is_not_counted(tmp_path, registry):
    where = ledger.build(tmp_path / "other.db", devices=False)
    desk = Models(Sources(database=str(where), file=str(registry), made=lambda: MADE, places=list))
    text = card_text(asyncio.run(desk.card(Asked(model="net"))))
    assert "is not counted: none is configured" in text


def test_units_read_as_people_say_them():
    for unit, one, many in (("frames", "frame", "frames"), ("image", "image", "images"), ("loss", "loss", "loss"),
                            ("ms", "ms", "ms"), ("latency_s", "latency_s", "latency_s")):  # fmt: skip
        assert (singular(unit), counted(unit)) == (one, many)
