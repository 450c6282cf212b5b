from __future__ import annotations

import pytest

from evenwatt_collector.control import Observations
from evenwatt_collector.fleet import Fleet, FleetFullError
from evenwatt_collector.node import Heard
from evenwatt_wire import Ack, LeaseInForce
from evenwatt_wire.command import Code
from evenwatt_wire.messages import LeaseState, NodeState
from tests.collector.said import BOOT, NEXT_BOOT, THIRD_BOOT, ZONE, birth, event, live, state, summary


@pytest.fixture
def fleet():
    fleet = Fleet()
    fleet.on_state(ZONE, state(), 0.0)
    fleet.on_birth(ZONE, birth(), 0.0)
    return fleet


def node(fleet):
    return fleet.find(ZONE, "n1")


def test_gaps_count_as_lost_and_late_or_doubled_windows_are_dropped(fleet):
    for seq in (5, 6, 9):
        assert fleet.on_live(ZONE, live(seq=seq), seq) is Heard.TAKEN
    assert fleet.on_live(ZONE, live(seq=9, power_w=1), 9.1) is Heard.STALE
    assert fleet.on_live(ZONE, live(seq=7, power_w=1), 9.2) is Heard.STALE
    assert fleet.lost == 2
    assert node(fleet).power_w == 100.0


def test_a_short_window_tells_of_a_jump(fleet):
    assert fleet.on_live(ZONE, live(seq=1, duration_s=0.3), 1.0) is Heard.JUMP
    assert fleet.on_live(ZONE, live(seq=2, duration_s=0.95), 2.0) is Heard.TAKEN


def test_peak_is_over_ten_seconds(fleet):
    fleet.on_live(ZONE, live(seq=1, peak_w=500.0), 1.0)
    for second in range(2, 11):
        fleet.on_live(ZONE, live(seq=second), float(second))
    assert node(fleet).peak_w(10.0) == 500.0
    assert node(fleet).peak_w(11.5) == 100.0


def test_lost_of_another_boot_is_stale(fleet):
    fleet.on_state(ZONE, state(boot=NEXT_BOOT), 1.0)
    assert not fleet.on_state(ZONE, state(what=NodeState.LOST), 2.0)
    assert node(fleet).state is NodeState.READY
    assert fleet.on_state(ZONE, state(what=NodeState.LOST, boot=NEXT_BOOT), 3.0)
    assert node(fleet).state is NodeState.LOST
    assert "lost" in fleet.alarms(ZONE, 3.0)[0]


def test_a_collector_that_is_cut_off_does_not_blame_the_nodes():
    fleet = Fleet()
    fleet.on_state(ZONE, state(), 0.0)
    fleet.on_live(ZONE, live(), 0.0)
    assert "connected, but no measurements arrive" in fleet.alarms(ZONE, 9.0)[0]
    assert "own connection to the broker is down" in fleet.alarms(ZONE, 9.0, linked=False)[0]


def test_a_node_whose_clock_is_wrong_is_named_with_the_fix(fleet):
    fleet.on_live(ZONE, live(seq=9), 3.0)
    sent_ms = node(fleet).live.wall_ms
    assert fleet.alarms(ZONE, 3.5, wall_ms=sent_ms + 500) == []
    assert fleet.alarms(ZONE, 3.5, wall_ms=sent_ms + 30_000) == []
    (behind,) = fleet.alarms(ZONE, 3.5, wall_ms=sent_ms + 500 + 2 * 3_600_000)
    assert behind.startswith("clock: n1: 120 min behind this collector's; synchronise both")
    (ahead,) = fleet.alarms(ZONE, 3.5, wall_ms=sent_ms + 500 - 300_000)
    assert "5 min ahead of this collector's" in ahead
    assert not any("clock" in alarm for alarm in fleet.alarms(ZONE, 60.0, wall_ms=sent_ms))


def test_lost_of_a_boot_never_heard_does_not_replace_the_living(fleet):
    assert not fleet.on_state(ZONE, state(what=NodeState.LOST, boot=NEXT_BOOT), 1.0)
    assert node(fleet).boot == BOOT


@pytest.mark.parametrize("newer", [NEXT_BOOT, THIRD_BOOT])
def test_a_new_boot_resets_whatever_its_id_sorts_like(fleet, newer):
    fleet.on_live(ZONE, live(seq=50), 1.0)
    assert fleet.on_live(ZONE, live(seq=1, boot=newer, power_w=7.0), 2.0) is Heard.TAKEN
    assert (node(fleet).boot, node(fleet).power_w, node(fleet).birth, fleet.lost) == (newer, 7.0, None, 0)


def test_stragglers_of_the_old_boot_are_no_second_agent(fleet):
    fleet.on_live(ZONE, live(seq=50), 1.0)
    fleet.on_live(ZONE, live(seq=1, boot=NEXT_BOOT), 2.0)
    assert fleet.on_live(ZONE, live(seq=51), 2.1) is Heard.STALE
    assert fleet.alarms(ZONE, 2.2) == []


def test_two_agents_of_one_name_are_an_alarm(fleet):
    for second in range(1, 8):
        fleet.on_live(ZONE, live(seq=second), float(second))
        fleet.on_live(ZONE, live(seq=second, boot=NEXT_BOOT, power_w=5.0), second + 0.5)
    assert any("two agents use the name 'n1'" in alarm for alarm in fleet.alarms(ZONE, 8.0))
    assert node(fleet).boot == NEXT_BOOT
    assert not any("two agents" in alarm for alarm in fleet.alarms(ZONE, 60.0))


def test_when_the_second_agent_goes_the_first_is_believed_again(fleet):
    fleet.on_live(ZONE, live(seq=1), 1.0)
    fleet.on_live(ZONE, live(seq=1, boot=NEXT_BOOT), 1.5)
    assert fleet.on_live(ZONE, live(seq=20, power_w=42.0), 20.0) is Heard.TAKEN
    assert node(fleet).power_w == 42.0


def test_numbering_that_began_anew_is_followed(fleet):
    fleet.on_live(ZONE, live(seq=2**50), 1.0)
    heard = [fleet.on_live(ZONE, live(seq=seq), 2.0 + seq) for seq in range(1, 8)]
    assert heard[:4] == [Heard.STALE] * 4
    assert heard[4:] == [Heard.TAKEN] * 3


def test_a_doubled_window_never_resets_the_numbering(fleet):
    fleet.on_live(ZONE, live(seq=10), 1.0)
    assert {fleet.on_live(ZONE, live(seq=3), 2.0) for _ in range(50)} == {Heard.STALE}


def observed(fleet, now_s):
    seen = Observations(1)
    fleet.find(ZONE, "n1").write_into(seen, 0, now_s, 1)
    return seen


def test_observation_follows_birth_window_and_acknowledgement(fleet):
    lease = LeaseInForce(LeaseState.LEASED, 200.0, 1, 1, 9.0)
    fleet.on_live(ZONE, live(seq=1, power_w=120.0, peak_w=180.0, lease=lease), 10.0)
    seen = observed(fleet, 11.5)
    assert (seen.power_w[0], seen.peak_w[0], seen.age_s[0], seen.held_w[0]) == (120.0, 180.0, 1.5, 200.0)
    assert seen.online[0]
    ack = Ack("n1", "0" * 32, 1, 2, Code.APPLIED, "", 0, requested_w=90.0, after_w=91.0)
    fleet.on_ack(ZONE, ack)
    assert observed(fleet, 11.5).held_w[0] == 91.0


def test_released_node_holds_its_ceiling_and_one_that_left_is_left_out(fleet):
    fleet.on_live(ZONE, live(seq=1), 1.0)
    assert observed(fleet, 1.0).held_w[0] == 400.0
    fleet.on_state(ZONE, state(what=NodeState.LOST), 2.0)
    assert (observed(fleet, 2.0).present[0], observed(fleet, 2.0).online[0]) == (True, False)
    fleet.on_state(ZONE, state(what=NodeState.DISCONNECTED), 3.0)
    assert not observed(fleet, 3.0).present[0]


def test_silence_is_said(fleet):
    fleet.on_live(ZONE, live(seq=1), 1.0)
    assert fleet.alarms(ZONE, 3.9) == []
    assert "silent: n1" in fleet.alarms(ZONE, 4.1)[0]


def test_events_are_bounded_and_summaries_of_another_boot_ignored(fleet):
    for seq in range(1000):
        fleet.on_event(ZONE, event(seq=seq))
    assert len(fleet.events) == 200
    assert fleet.on_summary(ZONE, summary(paused=["batch"]))
    assert not fleet.on_summary(ZONE, summary(boot=NEXT_BOOT))
    assert node(fleet).summary.paused == ["batch"]


def test_names_without_end_are_refused(monkeypatch):
    monkeypatch.setattr("evenwatt_collector.fleet.MAX_NODES", 3)
    fleet = Fleet()
    for i in range(3):
        fleet.on_live(ZONE, live(node=f"n{i}"), 0.0)
    with pytest.raises(FleetFullError):
        fleet.on_live(ZONE, live(node="n9"), 0.0)
    fleet.forget(ZONE, "n0")
    fleet.on_live(ZONE, live(node="n9"), 0.0)
