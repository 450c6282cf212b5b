"""Metrics are documented to the letter, and rules and alerts stand on metrics that there are; promtool proves them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evenwatt_collector.metrics import render_metrics

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packaging" / "prometheus"
RULES = (FOLDER / "evenwatt.rules.yml").read_text()
NOBODY = {
    "nodes": [], "zones": [], "workloads": [], "grids": [], "budgets": [], "alerts": [], "webhooks": [], "services": [],
    "planning": {"by_state": {}, "late": 0}, "messages": {"by_kind": []}, "store": {"waiting": 0}, "ready": True,
    "otlp": None,
    "caps": dict.fromkeys(
        ("sent", "renewals", "answer_p95_s", "applied", "clamped", "locked", "rejected", "expired"), 0
    ),
    "ledger": dict.fromkeys(("records", "duplicate", "conflicts", "missing"), 0),
}  # fmt: skip
"""The status of a fleet in which nothing has happened."""


def families():
    """Name, kind and help of everything that is served."""
    for family in text_string_to_metric_families(render_metrics(NOBODY).decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield name, family.type, family.documentation.rstrip(".")


def test_every_metric_stands_in_the_documentation_and_no_other():
    rows = re.findall(
        r"^\| `(evenwatt_\w+)` \| (\w+) \| [^|]+ \| (.+) \|$", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE
    )
    assert rows == list(families())


def expressions():
    """What the panels of the dashboards ask for."""
    boards = [json.loads(path.read_text()) for path in sorted((ROOT / "packaging" / "grafana").glob("*.json"))]
    return [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("text", [RULES, "\n".join(expressions())], ids=["rules", "dashboard"])
def test_rules_and_panels_stand_on_metrics_that_there_are(text):
    served = {name for name, _, _ in families()} | set(re.findall(r"record: (\S+)", RULES))
    used = set(re.findall(r"\b(?:\w+:)?evenwatt_\w+(?::\w+)?", text))
    assert len(used) > 10
    assert used <= served, used - served


def test_every_alert_is_tried_and_names_a_page_that_there_is():
    alerts = re.findall(r"alert: (\w+)", RULES)
    assert sorted(alerts) == sorted(set(re.findall(r"alertname: (\w+)", (FOLDER / "evenwatt.test.yml").read_text())))
    pages = re.findall(r"action: .*?(docs/[\w-]+\.md)", RULES)
    assert len(pages) == len(alerts)
    assert [page for page in pages if not (ROOT / page).exists()] == []


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "evenwatt.rules.yml"), ("test", "rules", "evenwatt.test.yml")]
)
def test_promtool_is_content(arguments):
    promtool = shutil.which("promtool") or pytest.skip("needs promtool (apt-get install prometheus)")
    said = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_promtool_can_read_every_panel(tmp_path):
    promtool = shutil.which("promtool") or pytest.skip("needs promtool (apt-get install prometheus)")
    rules = [{"record": f"panel:{i}", "expr": text.replace("$__range", "1h")} for i, text in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    said = subprocess.run(
        [promtool, "check", "rules", tmp_path / "panels.yml"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
