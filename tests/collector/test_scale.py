"""Light nodes of the scale bench on a real broker and a real collector: what is counted is right, and leases spread."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import MOSQUITTO, need

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from scaling.files import BUDGET_SHARE, write_site
from scaling.fleet import FleetRun
from scaling.ingest import make_stream
from scaling.node import MEAN_DEMAND_W

from evenwatt_collector.fleet import Fleet
from evenwatt_collector.framing import Packets
from evenwatt_collector.ingest import Ingest, Sinks

NODES, ZONES = int(os.environ.get("EVENWATT_SCALE_NODES", "150")), 3


@pytest.mark.timeout(600)
def test_a_fleet_is_counted_and_held_and_no_joule_is_lost(tmp_path):
    need(MOSQUITTO, "mosquitto", "mosquitto")
    with ExitStack() as stack:
        run = FleetRun(write_site(tmp_path, NODES, ZONES, ledger_s=5.0), stack)
        run.start()
        run.wait(lambda: run.status()["ledger"]["records"] >= NODES, 120.0, "every node has a record stored")
        seen = []

        def held():
            seen[:] = [run.status()]
            return all(node["lease"] == "leased" and node["silent"] is False for node in seen[0]["nodes"])

        run.wait(held, 120.0, "every node speaks and holds a lease")
        (status,) = seen
        assert len(status["nodes"]) == NODES
        for zone in status["zones"]:
            mine = [node for node in status["nodes"] if node["zone"] == zone["zone"]]
            assert zone["nodes"] == len(mine) == NODES // ZONES
            assert zone["power_w"] == pytest.approx(sum(node["power_w"] for node in mine))
            assert zone["leased_w"] <= zone["budget_w"] == round(BUDGET_SHARE * MEAN_DEMAND_W * len(mine))
        assert status["messages"]["malformed"] == status["messages"]["refused"] == 0
        end = run.end()
    assert end["records_stored"] == end["records"] > NODES
    assert end["joules_apart"] < 1e-3
    assert "Traceback" not in (tmp_path / "collector.log").read_text()
    truth = json.loads((tmp_path / "swarm-0.truth").read_text())
    assert truth["lost_connections"] == 0


def test_the_bench_s_stream_is_what_a_collector_takes():
    fleet = Fleet()
    nothing = dict.fromkeys(
        ("record", "open_ack", "ack", "open_run", "run", "submit", "jump", "probe", "controller"), lambda *_: None
    )
    ingest = Ingest(fleet, Sinks(**nothing), lambda: 1.0)
    Packets(ingest.receive, print, print, print, properties=False).feed(make_stream(1))
    assert ingest.counts == {("live", "ok"): fleet.known}
    assert fleet.known == 5_000
