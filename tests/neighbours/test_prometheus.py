"""A real Prometheus scrapes a real collector: every rule and every panel of every dashboard is evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest

from evenwatt_wire import Kind
from tests.collector.middle import Middle, speaking, stop
from tests.collector.said import ZONE, ledger, summary
from tests.support import eventually, free_port, process

ROOT = Path(__file__).parents[2] / "packaging"
SPARSE = {
    "evenwatt_jobs", "evenwatt_workload_power_watts", "evenwatt_node_spooled_records", "evenwatt_power_cap_watts", "1h",
}  # fmt: skip
"""Parts of queries to which a fleet of one node that has just begun need not have an answer."""
VARIABLES = {"$zone": ".*", "$node": ".*", "$__range": "1h"}


def boards():
    return {path.name: json.loads(path.read_text()) for path in sorted((ROOT / "grafana").glob("*.json"))}


def queries():
    """Every query of every panel, with what Grafana would put in."""
    for name, board in boards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for variable, value in VARIABLES.items():
                    query = query.replace(variable, value)
                yield f"{name}: {panel['title']}", query


def test_dashboards_have_their_own_ids_and_places():
    found = boards()
    assert len({board["uid"] for board in found.values()}) == len(found) == 2
    for board in found.values():
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        taken = [
            (x, y)
            for panel in board["panels"]
            for at in [panel["gridPos"]]
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        ]
        assert len(set(taken)) == len(taken), "two panels lie on each other"
        assert max(x for x, _ in taken) < 24
        known = {variable["name"] for variable in board["templating"]["list"]}
        for panel in board["panels"]:
            for target in panel["targets"]:
                used = {word for word in ("zone", "node") if f"${word}" in target["expr"]}
                assert used <= known
        links = json.dumps(board)
        assert all(f"/d/{other['uid']}" not in links or other["uid"] != board["uid"] for other in found.values())


@pytest.fixture
def prometheus(tmp_path):
    """A server that scrapes each second; None until it is told whom."""
    program = shutil.which("prometheus") or pytest.skip("needs prometheus (apt-get install prometheus)")
    port = free_port()

    def start(target):
        folder = tmp_path / "prometheus"
        folder.mkdir()
        rules = shutil.copy(ROOT / "prometheus" / "evenwatt.rules.yml", folder)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "evenwatt", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        command = [
            program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        return process(command, folder / "log")

    start.port = port
    return start


async def test_every_rule_and_panel_has_an_answer(tmp_path, broker, prometheus):
    middle = Middle(tmp_path, broker.port)
    middle.write(zone=f'[[zones]]\nname = "{ZONE}"\nintensity_g_per_kwh = 360.0\nbudget_w = 1000.0\n')

    def ask(path, **parameters):
        try:
            return httpx.get(f"http://127.0.0.1:{prometheus.port}/api/v1/{path}", params=parameters, timeout=60).json()
        except httpx.HTTPError:
            return {"status": "not there"}

    def rules():
        groups = ask("rules").get("data", {}).get("groups", [])
        return [rule for group in groups for rule in group["rules"]]

    def answer(query):
        said = ask("query", query=query)
        assert said["status"] == "success", (query, said)
        return said["data"]["result"]

    with middle.run() as collector, prometheus(f"127.0.0.1:{middle.port}"):
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            node.start_speaking(120.0)
            await node.say(summary(), Kind.SUMMARY)
            await node.say(ledger(seq=1), Kind.LEDGER)
            await eventually(
                lambda: ask("query", query="evenwatt_power_watts").get("data", {}).get("result"), "scraped", 60
            )
            assert answer("evenwatt_power_watts")[0]["metric"]["node"] == "n1"
            await node.say(ledger(seq=2), Kind.LEDGER)
            empty = {}

            def all_answer():
                empty.clear()
                empty.update({title: query for title, query in queries() if not answer(query)})
                return all(any(part in query for part in SPARSE) for query in empty.values())

            await eventually(all_answer, f"every panel has an answer: {empty}", 60)
            await eventually(
                lambda: rules() and all(rule["health"] == "ok" for rule in rules()), "all are evaluated", 60
            )
            assert len(rules()) > 15
            assert [rule["name"] for rule in rules() if rule.get("state") == "firing"] == []
        assert stop(collector) == 0


def test_what_provisions_grafana_names_what_the_package_installs():
    build = (ROOT / "build-deb").read_text()
    assert (
        "/usr/share/evenwatt-collector/grafana" in (ROOT / "grafana/provisioning/dashboards/evenwatt.yml").read_text()
    )
    for folder in ("prometheus", "grafana", "neighbours"):
        assert f"packaging/{folder}/" in build
