"""status on narrow terminals, in a pipe, and by what the environment says of colours."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from evenwatt_cli.status import worries
from evenwatt_cli.status_text import print_status
from tests.cli.test_top import node, zone_row

NAMES = ("n1", "a-node-with-a-name-that-is-quite-long", "n3")


def document():
    zone = zone_row(
        leased_w=300.0, emissions_g=12.0, intensity_source="a source", pue=1.2, nodes=3, capped=1,
        alarms=["something is wrong here, and it takes more words to say than a narrow terminal has columns"],
    )  # fmt: skip
    rows = [node(NAMES[0]), node(NAMES[1], silent=True), node(NAMES[2], paused=["batch"], lease_by="operator")]
    work = [{"workload": "w" * 40, "power_w": 9.0, "emissions_g_per_h": 1.0, "nodes": 2}]
    otlp = {"exported": 0, "failed": 1, "trouble": "http://otel:4318/v1/metrics: all connection attempts failed"}
    return {"zones": [zone], "nodes": rows, "workloads": work, "otlp": otlp}


def shown(width, monkeypatch, **environment):
    for key in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    out = io.StringIO()
    print_status(document(), Console(file=out, width=width, highlight=False, markup=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 50, 60, 70, 80, 200])
def test_it_fits_and_keeps_what_counts(width, monkeypatch):
    text = shown(width, monkeypatch)
    assert "\x1b" not in text
    rows = text.splitlines()
    assert max(map(len, rows)) <= width
    (n1,) = (row for row in rows if row.startswith("n1 "))
    assert n1.split()[:4] == ["n1", "ready", "100", "W"]
    assert any(row.startswith("a-node-with-") and "silent" in row for row in rows)
    assert ("CAP BY" in text) == (width >= 80)
    assert "! metrics are not exported" in text
    alarm = rows.index(next(row for row in rows if row.startswith("  ! something is wrong")))
    assert width == 200 or rows[alarm + 1].startswith("    ")
    assert any(row.startswith("n3") and "paused" in row for row in rows)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_by_the_environment(environment, coloured, monkeypatch):
    text = shown(80, monkeypatch, TERM="xterm-256color", **environment)
    assert ("\x1b[32m" in text or "\x1b[31m" in text) == coloured


def test_what_is_degraded():
    found = worries({"collector": {"role": "active", "ready": False, "reasons": ["no broker"]}, **document()})
    assert found[0] == "collector: no broker"
    assert any(NAMES[1] in words for words in found)
    calm = {"zones": [zone_row()], "nodes": [node("n1")]}
    assert worries(calm) == []
    standby = {"role": "standby", "ready": False, "reasons": ["it stands by"]}
    assert worries({"collector": standby, **calm}) == []
    assert worries({"collector": {**standby, "reasons": ["it stands by", "disk full"]}, **calm}) == [
        "collector: disk full"
    ]
    link = {"trouble": "", "spool": {"trouble": "disk full"}}
    assert worries({**calm, "local": {"link": link}}) == ["records cannot be kept: disk full"]
    assert worries({**calm, "zones": [zone_row(linked=False)]}) == ["zone hall: the collector is cut off from it"]


@pytest.mark.parametrize("budget_w", [None, 500.0])
def test_old_figures_are_called_old_with_and_without_a_budget(budget_w, monkeypatch):
    for key in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(key, raising=False)
    zone = {**document()["zones"][0], "linked": False, "budget_w": budget_w}
    out = io.StringIO()
    print_status({"zones": [zone], "nodes": []}, Console(file=out, width=200, highlight=False, markup=False))
    assert "old figures: the collector is cut off" in out.getvalue().splitlines()[0]
