"""The collector as a process: real broker, real signals, real database."""

from __future__ import annotations

import os
import socket
import sqlite3
from math import fsum

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evenwatt_collector.ingest import HEARD_KINDS
from evenwatt_wire import Kind
from evenwatt_wire.messages import NodeState
from tests.collector.middle import Middle, said_of_itself, speaking, stop
from tests.collector.said import BOOT, NEXT_BOOT, ZONE, birth, event, ledger, live, state, summary
from tests.support import Mosquitto, eventually, wait_for


@pytest.fixture
def middle(tmp_path, broker):
    return Middle(tmp_path, broker.port)


async def test_from_a_nodes_words_to_status_metrics_and_stored(middle):
    with middle.run() as child:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            await node.say(event(), Kind.EVENT)
            await node.say(summary(paused=["batch"], spooled=3), Kind.SUMMARY)
            for seq in (1, 2, 2):
                await node.say(ledger(seq=seq, energy_j=3.6e6), Kind.LEDGER)
            await eventually(lambda: node.stored and node.stored[-1].seq == 2, "the records are stored")
            await eventually(lambda: middle.status()["ledger"]["duplicate"] == 1, "the double one is counted")
            await eventually(lambda: node.last(Kind.SUMMARY, "_zone"), "the zone has a summary")
            await eventually(lambda: said_of_itself(node, "ready"), "the collector says it is there")
            for seq in (1, 2, 4):
                await node.say(live(seq=seq, power_w=150.0), Kind.LIVE)
            heard = lambda: (said := middle.status())["messages"]["received"] == 3 and said  # noqa: E731
            seen = await eventually(heard, "the windows are heard")
            (row,), (zone,) = seen["nodes"], seen["zones"]
            assert (row["state"], row["power_w"], row["energy_j"], row["paused"]) == ("ready", 150.0, 7.2e6, ["batch"])
            assert row["emissions_g"] == pytest.approx(2 * zone["intensity_g_per_kwh"])
            assert (row["live_total_j"], row["lost"], row["spooled"]) == (600.0, 1, 3)
            assert row["covered_mono_ns"] == [[0, 120 * 10**9]]
            assert (zone["band"], zone["budget_w"], zone["power_w"]) == ("off", None, 150.0)
            assert "Ember" in zone["intensity_source"]
            assert (seen["messages"]["received"], seen["messages"]["lost"]) == (3, 1)
            assert seen["events"][-1]["facts"] == {"cap_w": 90.0}
            check_metrics(middle.get("/metrics").text, zone)
            assert middle.get("/livez").text == "ok\n"
            assert stop(child) == 0
            await eventually(lambda: said_of_itself(node, "disconnected"), "it says good-bye")


def check_metrics(text, zone):
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {(s.name, *sorted(s.labels.items())): s.value for f in families.values() for s in f.samples}
    node = (("node", "n1"), ("zone", ZONE))
    assert values["evenwatt_energy_joules_total", *node] == 7.2e6
    assert values["evenwatt_power_watts", *node] == 150.0
    assert values["evenwatt_carbon_grams_total", *node] == pytest.approx(2 * zone["intensity_g_per_kwh"])
    assert values["evenwatt_grid_intensity_grams_per_kwh", ("zone", ZONE)] == zone["intensity_g_per_kwh"]
    assert values["evenwatt_messages_total", ("kind", "live"), ("result", "ok")] == 3
    assert values[("evenwatt_collector_ready",)] == 1
    assert {label for f in families.values() for s in f.samples for label in s.labels} <= {
        "zone", "node", "kind", "result", "workload", "severity", "grid", "source", "standing", "budget", "scope",
        "webhook", "state", "service", "variant",
    }  # fmt: skip


async def test_a_zone_with_a_budget_leases_and_counts_answers(middle):
    middle.write(f'[[zones]]\nname = "{ZONE}"\nbudget_w = 400.0\n')
    with middle.run() as child:
        await middle.ready()
        async with speaking(middle, "n1") as one, speaking(middle, "n2") as two:
            for node in (one, two):
                node.start_speaking(250.0)
                await node.join(ceiling_w=300.0, fallback_w=150.0)
            await eventually(lambda: one.commands and two.commands, "both nodes get a lease")
            await eventually(lambda: middle.status()["caps"]["applied"] >= 4, "answers are counted")
            command, caps = one.commands[-1], middle.status()["caps"]
            assert (command.op, command.node, command.fleet) == ("cap", "n1", "f")
            assert command.expires_ms - command.issued_ms == 2_000
            assert command.fallback_w <= command.cap_w
            assert one.cap_w + two.cap_w <= 400.0
            assert command.reason
            assert caps["answer_p95_s"] > 0
            await eventually(lambda: middle.node()["cap_w"] == one.commands[-1].cap_w, "the readback is shown")
            zone = middle.status()["zones"][0]
            assert zone["leased_w"] <= 400.0
            assert zone["band"] in ("normal", "hold", "cap", "brake")
            seqs = [command.seq for command in one.commands]
            assert seqs == sorted(set(seqs))
            assert stop(child) == 0
            assert "fall back by themselves" in middle.log.read_text()


async def test_floods_of_rubbish_and_huge_packets_change_nothing(middle):
    with middle.run():
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            await node.say(live(power_w=77.0), Kind.LIVE)
            for i in range(3_000):
                kind = HEARD_KINDS[i % len(HEARD_KINDS)]
                await node.client.publish(f"evenwatt/v1/{ZONE}/n1/{kind}", os.urandom(i % 300 + 1), qos=0)
            for _ in range(30):  # more than the broker's window of unacknowledged messages
                await node.client.publish(f"evenwatt/v1/{ZONE}/n1/ledger", b"\xc1" * 3_000_000, qos=1)
            await node.say(ledger(), Kind.LEDGER)
            await eventually(lambda: node.stored, "a good record still gets through")
            await node.say(live(seq=2, power_w=78.0), Kind.LIVE)
            await eventually(lambda: middle.node()["power_w"] == 78.0, "windows still get through")
            seen = middle.status()
            assert seen["messages"]["malformed"] >= 2_500
            assert seen["broker"]["connections"] == 1
            assert middle.log.read_text().count("message dropped") < 10
            resident = int(_proc_status(middle)["VmHWM"].split()[0]) // 1024
            assert resident < 150


def _proc_status(middle):
    pids = [pid for pid in os.listdir("/proc") if pid.isdigit() and str(middle.config) in _command(pid)]
    with open(f"/proc/{pids[0]}/status") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def _command(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as text:
            return text.read()
    except OSError:
        return ""


async def test_broker_restart_is_survived_and_said_once(middle, broker):
    with middle.run():
        await middle.ready()
        broker.kill()
        await eventually(lambda: middle.get("/readyz").status_code == 503, "it notices")
        assert "broker 127.0.0.1" in middle.get("/readyz").json()["reasons"][0]
        assert middle.get("/livez").status_code == 200
        broker.start()
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            await node.say(ledger(), Kind.LEDGER)
            await eventually(lambda: node.stored, "it has subscribed again")
        assert middle.status()["broker"]["connections"] == 2


async def test_killed_collector_resumes_with_a_higher_epoch_and_counts_nothing_twice(middle):
    energies = {seq: 0.1 * seq for seq in range(1, 301)}
    with middle.run() as child:
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            for seq, energy_j in energies.items():
                await node.say(ledger(seq=seq, energy_j=energy_j), Kind.LEDGER)
                if seq == 150:
                    child.kill()
                    child.wait()
            await eventually(lambda: said_of_itself(node, "lost"), "the broker says that it is lost")
            first = middle.epoch()
            told = max((said.seq for said in node.stored), default=0)
            with middle.run():
                await middle.ready()
                kept = (middle.node() or {"records": 0})["records"]
                assert kept >= told  # what was acknowledged is there
                for seq, energy_j in energies.items():
                    await node.say(ledger(seq=seq, energy_j=energy_j), Kind.LEDGER)
                await eventually(lambda: node.stored and node.stored[-1].seq == 300, "all is stored")
                row, seen = middle.node(), middle.status()
                assert (row["records"], row["missing"]) == (300, 0)
                assert row["energy_j"] == pytest.approx(fsum(energies.values()), rel=1e-15)
                assert seen["ledger"]["duplicate"] == kept
                assert seen["epoch"] > first


async def test_records_beyond_a_hole_are_told_one_by_one(middle):
    with middle.run():
        await middle.ready()
        async with speaking(middle) as node:
            for seq in (1, 3):
                await node.say(ledger(seq=seq), Kind.LEDGER)
            await eventually(lambda: any(3 in said.beyond for said in node.stored), "3 is said to be safe")
            assert node.stored[-1].seq == 1
            await node.say(ledger(seq=2), Kind.LEDGER)
            await eventually(lambda: node.stored[-1].seq == 3, "the hole is closed")


async def test_locked_database_leaves_records_with_the_nodes_and_the_live_view_going(middle):
    with middle.run():
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            other = sqlite3.connect(middle.folder / "state" / "collector.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            await node.say(ledger(), Kind.LEDGER)
            await eventually(lambda: middle.status()["store"]["alarm"], "the database is reported")
            await node.say(live(power_w=33.0), Kind.LIVE)
            await eventually(lambda: middle.node()["power_w"] == 33.0, "the live view goes on")
            assert node.stored == []
            assert "database" in middle.get("/readyz").json()["reasons"][0]
            other.execute("ROLLBACK")
            other.close()
            await eventually(lambda: node.stored, "the record is stored in the end")
            await middle.ready()


async def test_stale_lost_is_ignored_and_two_agents_are_reported(middle):
    with middle.run():
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            await node.join(boot=NEXT_BOOT)
            await node.say(live(boot=NEXT_BOOT), Kind.LIVE)
            await node.say(state(what=NodeState.LOST, boot=BOOT), Kind.STATE)
            await eventually(lambda: (middle.node() or {}).get("power_w"), "the window arrives")
            assert middle.node()["state"] == "ready"
            for seq in range(2, 8):
                await node.say(live(boot=BOOT, seq=seq), Kind.LIVE)
                await node.say(live(boot=NEXT_BOOT, seq=seq), Kind.LIVE)
            await eventually(lambda: middle.node()["two_agents"], "the second agent is noticed")
            assert any("two agents" in alarm for alarm in middle.status()["zones"][0]["alarms"])


async def test_without_zones_it_watches_all_and_steers_none(middle):
    middle.write(zone="")
    with middle.run():
        await middle.ready()
        async with speaking(middle) as node:
            await node.join()
            await node.say(live(power_w=10.0), Kind.LIVE)
            await eventually(lambda: middle.status()["zones"], "the zone is found")
            (zone,) = middle.status()["zones"]
            assert (zone["zone"], zone["band"], zone["budget_w"]) == (ZONE, "off", None)
            assert "WORLD" in zone["intensity_source"]
            await eventually(lambda: node.last(Kind.SUMMARY, "_zone"), "it is summarised")
            assert node.last(Kind.STATE, "_ctl") is None


async def test_what_was_stored_is_shown_before_a_node_is_heard(middle):
    with middle.run() as child:
        await middle.ready()
        async with speaking(middle) as node:
            await node.say(ledger(energy_j=12.5), Kind.LEDGER)
            await eventually(lambda: node.stored, "it is stored")
        assert stop(child) == 0
    with middle.run():
        await middle.ready()
        row = middle.node()
        assert (row["energy_j"], row["state"], row["power_w"]) == (12.5, "disconnected", None)


async def test_birth_survives_reconnection_by_retention(middle, broker):
    async with speaking(middle) as node:
        await node.join(ceiling_w=321.0)
    with middle.run():
        await middle.ready()
        await eventually(lambda: (middle.node() or {}).get("ceiling_w") == 321.0, "what is retained arrives")
        assert birth().ceiling_w != 321.0


# --- what must fail, and how --------------------------------------------------------------------------------------


def refusal(middle):
    with middle.run() as child:
        code = child.wait(60)
    return code, middle.log.read_text().strip().splitlines()[-1]


async def test_second_collector_on_the_same_state_is_refused(middle):
    with middle.run():
        await middle.ready()
        other = Middle.__new__(Middle)
        other.__dict__ |= middle.__dict__ | {"log": middle.folder / "other.log"}
        code, words = refusal(other)
    assert code == 2
    assert "another collector already works here; stop it, or set another state_dir" in words


def test_port_in_use_is_refused_with_the_address(middle):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", middle.port))
        taken.listen()
        code, words = refusal(middle)
    assert code == 2
    assert f"http 127.0.0.1:{middle.port}: Address already in use; stop what uses it" in words


def test_foreign_database_is_refused(middle):
    (middle.folder / "state").mkdir()
    with sqlite3.connect(middle.folder / "state" / "collector.db") as other:
        other.execute("CREATE TABLE something (x)")
    code, words = refusal(middle)
    assert code == 2
    assert "move it away" in words


def test_refused_login_is_said_once_and_waited_for(tmp_path):
    (tmp_path / "passwords").write_text("")
    running = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}").start()
    try:
        middle = Middle(tmp_path, running.port)
        (tmp_path / "password").write_text("wrong")
        middle.write(mqtt=f'username = "u"\npassword_file = "{tmp_path / "password"}"')
        with middle.run() as child:
            wait_for(lambda: middle.log.exists() and "refused the login" in middle.log.read_text(), "it is said")
            assert "check mqtt.username and mqtt.password_file" in middle.log.read_text()
            assert child.poll() is None
            assert stop(child) == 0
        assert middle.log.read_text().count("refused the login") == 1
    finally:
        running.kill()


def test_nobody_there_is_waited_for(tmp_path, broker):
    middle = Middle(tmp_path, broker.port)
    broker.kill()
    with middle.run() as child:
        wait_for(lambda: middle.log.exists() and "no connection to the broker" in middle.log.read_text(), "it is said")
        assert stop(child) == 0


def test_systemd_hears_ready_status_watchdog_and_stopping(middle, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        heard = ""
        with middle.run(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="30000000") as child:
            while not all(word in heard for word in ("READY=1", "WATCHDOG=1", "STATUS=epoch")):
                heard += manager.recv(4096).decode() + "\n"
            child.terminate()
            while "STOPPING=1" not in heard:
                heard += manager.recv(4096).decode() + "\n"
            assert child.wait(60) == 0
