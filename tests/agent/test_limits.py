"""Whatever is asked, what reaches the devices never leaves what the owner of the machine allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.actuators import powercap
from evenwatt_agent.dry_run import cap_in_words
from evenwatt_agent.governor import Governor
from evenwatt_agent.leases import CONTROLLER, Lease, LeaseBook
from evenwatt_agent.limits import DomainLimits, LocalLimits, Ops, Rate, limits_path, load_limits
from evenwatt_agent.settings import load
from evenwatt_daemon import Failure
from evenwatt_twin.machine import Machine
from evenwatt_twin.presets import preset
from evenwatt_wire import Command, CommandError
from evenwatt_wire.command import Op, Role

ROOT = Path(__file__).parents[2]
watts = st.floats(0, 1e4)
maybe_watts = st.none() | watts


@pytest.fixture
def knobs(tmp_path):
    """Those of a simulated server with two packages, 90 to 225 W each."""
    twin = Machine(preset("xeon_2s", "m1"), tmp_path / "m1", start_ns=0, step_ns=5_000_000)
    yield powercap.discover(twin.places.sysfs, 0.4, {})
    twin.close()


@st.composite
def bounds(draw):
    least, most = draw(maybe_watts), draw(maybe_watts)
    if least is not None and most is not None and least > most:
        least, most = most, least
    return least, most


def command(op=Op.CAP, **fields):
    return Command("f", "m1", "0" * 32, 1, 1, 0, 0, 0, op, **fields)


@given(bounds(), maybe_watts)
def test_a_cap_is_clamped_and_the_limit_is_named(ends, cap_w):
    limits = LocalLimits(least_cap_w=ends[0], most_cap_w=ends[1])
    held_w = limits.cap_w(cap_w)
    if held_w is None:
        assert cap_w is None
        assert ends[1] is None
    else:
        assert ends[0] is None or held_w >= ends[0] or ends[1] is not None
        assert ends[1] is None or held_w <= ends[1]
    assert bool(limits.why(cap_w)) is (held_w != cap_w)
    assert limits.cap_w(held_w) == held_w


@given(
    bounds(),
    st.lists(
        st.tuples(st.sampled_from([CONTROLLER, "a", "b"]), watts, watts, st.floats(0.1, 20), st.floats(0, 9)),
        max_size=8,
    ),
    st.floats(0.05, 1.0),
)
def test_no_lease_ramp_fallback_or_reflex_leads_out_of_the_limits(ends, grants, share):
    """The target of the leases goes through the limits, and through them again after the reflex."""
    limits, now_s = LocalLimits(least_cap_w=ends[0], most_cap_w=ends[1]), 0.0
    book = LeaseBook(100.0, managed=True, fallback_max_w=1e9)
    for holder, cap_w, fallback_w, ttl_s, later_s in grants:
        book.grant(holder, Lease(cap_w, fallback_w, now_s + ttl_s, 1, 1))
        now_s += later_s
        asked_w = limits.cap_w(book.target(now_s).cap_w)
        asked_w = limits.cap_w(None if asked_w is None else asked_w * share)
        assert asked_w is not None
        assert ends[0] is None or asked_w >= ends[0]
        assert ends[1] is None or asked_w <= ends[1]


@pytest.mark.parametrize("asked_w", [0.0, 1.0, 90.0, 200.0, 333.3, 480.0, 1e9])
@pytest.mark.parametrize(
    "limits",
    [{}, {"least_w": 120.0}, {"most_w": 130.0}, {"least_w": 110.0, "most_w": 125.0}, {"most_w": 1.0}, {"least_w": 1e6}],
    ids=str,
)
def test_what_is_written_to_a_domain_stays_within_its_limits(tmp_path, knobs, asked_w, limits):
    """Real files of a simulated machine; what a device cannot do at all stays at its own end."""
    name = knobs[0].domain
    own = DomainLimits(**limits)
    governor = Governor(knobs, {}, 0.1, tmp_path, 0.0, LocalLimits(domains={name: own}))
    plan = {row.domain: row.limit_w for row in governor.plan(asked_w)}
    governor.apply(asked_w)
    floor_w, ceiling_w = knobs[0].floor_w, knobs[0].ceiling_w
    written_w = knobs[0].read()
    assert min(ceiling_w, max(floor_w, own.clamp(0.0))) - 0.5 <= written_w
    assert written_w <= max(floor_w, min(ceiling_w, own.clamp(1e9))) + 0.5
    assert written_w == pytest.approx(plan[name], abs=0.5)
    assert governor.floor_w <= governor.ceiling_w


def refused(limits, role, asked):
    with pytest.raises(CommandError) as caught:
        limits.check(role, asked)
    return caught.value.code


def test_what_is_not_listed_is_refused_and_the_key_named():
    limits = LocalLimits(
        max_ttl_s=600.0, max_pause_s=60.0, pausable=["batch"], ops=Ops(controller=[Op.CAP, Op.RELEASE], operator=None)
    )
    limits.check(Role.CONTROLLER, command(cap_w=1.0, ttl_s=600.0))
    limits.check(Role.OPERATOR, command(Op.PAUSE, target="batch", ttl_s=60.0))
    assert refused(limits, Role.CONTROLLER, command(Op.PAUSE, target="batch", ttl_s=1.0)) == "not-allowed"
    assert refused(limits, Role.OPERATOR, command(Op.PAUSE, target="other", ttl_s=1.0)) == "not-allowed"
    assert refused(limits, Role.OPERATOR, command(Op.PAUSE, target="batch", ttl_s=61.0)) == "ttl"
    assert refused(limits, Role.CONTROLLER, command(cap_w=1.0, ttl_s=601.0)) == "ttl"


@given(st.integers(1, 200), st.lists(st.floats(0, 5), max_size=300))
def test_no_minute_sees_more_than_twice_the_rate_and_giving_back_is_free(per_minute, waits):
    rate, now_s, taken = Rate(per_minute), 0.0, []
    for wait_s in waits:
        now_s += wait_s
        rate.take(b"k", Op.RELEASE, now_s)
        rate.take(b"k", Op.RESUME, now_s)
        try:
            rate.take(b"k", Op.CAP, now_s)
        except CommandError:
            continue
        taken.append(now_s)
    for at_s in taken:
        assert sum(at_s <= other_s < at_s + 60 for other_s in taken) <= 2 * per_minute
    Rate(per_minute).take(b"other", Op.CAP, now_s)


def test_a_clock_that_stands_or_goes_back_gives_nothing_more():
    rate = Rate(2)
    for now_s in (100.0, 50.0):
        rate.take(b"k", Op.CAP, now_s)
    with pytest.raises(CommandError, match="the next one in 30 s"):
        rate.take(b"k", Op.CAP, 50.0)


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(tmp_path, knobs):
    limits = LocalLimits(least_cap_w=300.0)
    governor = Governor(knobs, {}, 0.1, tmp_path, 0.0, limits)
    before = [knob.read() for knob in knobs]
    book = LeaseBook(250.0, managed=True)
    book.grant(CONTROLLER, Lease(300.0, 300.0, 10.0, 1, 1))
    said = cap_in_words(command(cap_w=100.0, ttl_s=10.0), book.target(0.0), limits, governor.plan(300.0))
    assert said.startswith(
        "would hold the node to 300 W (asked for 100 W; least_cap_w = 300 in limits.toml): package-0 "
    )
    assert said.count(" W by powercap (now ") == 2
    assert len(said) <= 400
    assert [knob.read() for knob in knobs] == before
    assert not list(tmp_path.rglob("originals.json"))


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("least_cap_w = 300\nmost_cap_w = 200", "key 'least_cap_w' is 300, above most_cap_w = 200"),
        ("least_cap = 300", "unknown key 'least_cap': did you mean 'least_cap_w'?"),
        ("least_cap_w = nan", "key 'least_cap_w'"),
        ("most_cap_w = inf", "key 'most_cap_w'"),
        ("most_cap_w = -1", "key 'most_cap_w'"),
        ("commands_per_minute = 0", "key 'commands_per_minute'"),
        ('pausable = ["other"]', "key 'pausable' names 'other', which is none of control.pausable (batch)"),
        ('[ops]\noperator = ["reboot"]', "key 'ops.operator"),
        (
            '[domains."package-0"]\nleast_w = 9\nmost_w = 8',
            "key 'domains.\"package-0\".least_w' is 9, above most_w = 8",
        ),
        ("most_cap_w = ", "not TOML"),
    ],
)
def test_a_bad_file_is_refused_with_its_key(tmp_path, text, complaint):
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(Failure) as caught:
        load_limits(path, ["batch"])
    assert complaint in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_file_beside_the_settings_is_taken_and_a_missing_one_only_where_it_is_named(tmp_path):
    settings = tmp_path / "agent.toml"
    settings.write_text('node = "n1"\n')
    assert load(str(settings)).control.limits is None
    (tmp_path / "limits.toml").write_text("most_cap_w = 500\n")
    assert load(str(settings)).control.limits == str(tmp_path / "limits.toml")
    settings.write_text(f'node = "n1"\n[control]\nlimits = "{tmp_path / "gone.toml"}"\n')
    with pytest.raises(Failure, match=r"gone\.toml: no such file"):
        load(str(settings))
    assert limits_path(None, None) is None


def test_a_file_that_everybody_may_write_limits_nobody(tmp_path):
    path = tmp_path / "limits.toml"
    path.write_text("most_cap_w = 500\n")
    path.chmod(0o646)
    with pytest.raises(Failure, match="chmod o-w"):
        load_limits(path, [])


def test_the_example_is_a_file_that_limits_nothing_until_it_is_edited():
    path = ROOT / "packaging" / "limits.toml"
    assert load_limits(path, []) == LocalLimits()
    every = "\n".join(line.removeprefix("#: ") for line in path.read_text().splitlines() if line.startswith("#: "))
    for name in LocalLimits.__struct_fields__:
        assert name in every
