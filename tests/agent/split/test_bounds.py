"""The pure parts of the actuator: presence, bounds on what is heard, and what it takes for possible."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.actuator.manners import Complaints, Pace
from evenwatt_agent.actuator.plausible import Bounds
from evenwatt_agent.actuator.presence import Presence, PresenceState
from evenwatt_agent.actuator.protocol import Power, ProtocolError, ToActuator, decode_asked, encode
from evenwatt_agent.inventory import take_inventory
from evenwatt_agent.settings import AgentSettings, MeterSettings, SourceSettings

BOUNDS = Bounds(3_000.0, {"package-0": 2_000.0, "package-0/dram": 1_000.0})


def test_grace_ends_once_and_only_without_an_agent():
    presence = Presence(60.0, 100.0)
    assert not presence.is_over(159.9)
    presence.come()
    assert not presence.is_over(1_000.0)
    presence.go(1_000.0)
    assert not presence.is_over(1_059.0)
    presence.come()  # a restart within the grace
    presence.go(1_059.5)
    assert not presence.is_over(1_100.0)
    assert presence.is_over(1_120.0)
    assert presence.state is PresenceState.AWAY
    assert not presence.is_over(2_000.0)


@given(st.floats(), st.dictionaries(st.sampled_from(["package-0", "package-0/dram", "gpu-9"]), st.floats()))
def test_power_is_taken_of_known_domains_and_within_what_they_can_draw(total_w, domains):
    believed = BOUNDS.believe(Power(total_w, domains))
    if believed is None:
        assert not all(map(math.isfinite, (total_w, *domains.values())))
        return
    assert believed[0] <= 3_000.0
    assert all(power_w <= BOUNDS.domains_w[name] for name, power_w in believed[1].items())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_are_refused(raw):
    with suppress(ProtocolError):
        assert isinstance(decode_asked(raw), ToActuator)


@given(st.floats(min_value=0, max_value=1e6), st.lists(st.sampled_from(["package-0", "x"]), max_size=2))
def test_what_an_agent_says_comes_back_as_it_was(total_w, names):
    power = Power(total_w, dict.fromkeys(names, total_w))
    assert decode_asked(encode(power)) == power


def test_a_pace_lets_an_agent_through_and_holds_a_flood_back():
    pace = Pace(most=100, period_s=0.5)
    assert all(pace.wait_s(n * 0.1) == 0.0 for n in range(200))
    waits = [pace.wait_s(100.0) for _ in range(101)]
    assert waits[:99] == [0.0] * 99
    assert waits[99:] == [0.5, 0.5]
    assert pace.wait_s(100.5) == 0.0


def test_complaints_of_one_kind_are_counted_between_two_that_are_said():
    complaints = Complaints(60.0)
    assert complaints.admit("refused", 0.0) == 0
    assert [complaints.admit("refused", float(at)) for at in (1, 2, 59)] == [None] * 3
    assert complaints.admit("crowd", 3.0) == 0
    assert complaints.admit("refused", 60.0) == 3


def test_a_controller_on_the_network_is_known_and_not_asked(tmp_path):
    """The actuator has no network, and the password is the agent's."""
    meter = MeterSettings(redfish_url="https://10.0.0.7", redfish_password_file="/nonexistent", ipmi=False)
    settings = AgentSettings(
        node="n", state_dir=str(tmp_path), sources=SourceSettings(sysfs=str(tmp_path), meter=meter)
    )
    inventory = take_inventory(settings, ask=False)
    assert inventory.formula == "bmc"
    with pytest.raises(OSError, match="no answer yet"):
        inventory.probes[0].read()
    inventory.close()
