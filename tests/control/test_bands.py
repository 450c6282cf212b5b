import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.control.bands import BRAKE, BY_CODE, CAP, HOLD, NORMAL, BandStates, Steering, next_total
from evenwatt_collector.control.types import Band, Bands

BANDS = Bands()


def drive(powers, *, state=None, start_s=0.0, expected=None):
    """Readings of one zone of 1000 W, a second apart; beside it one without a limit, which never leaves NORMAL."""
    state = state or BandStates(2)
    for second, power in enumerate(powers):
        power_w = np.array([float(power), 1e6])
        expected_w = np.maximum(power_w, expected or 0.0)
        state.move(power_w, expected_w, np.array([1000.0, np.inf]), start_s + second, BANDS)
        assert state.band[1] == NORMAL
    return state


def band(powers, **known):
    return BY_CODE[drive(powers, **known).band[0]]


@pytest.mark.parametrize(
    ("power", "wanted"),
    [
        (0, Band.NORMAL),
        (899, Band.NORMAL),
        (900, Band.HOLD),
        (997, Band.HOLD),
        (998, Band.CAP),
        (1009, Band.CAP),
        (1010, Band.BRAKE),
    ],
)
def test_thresholds_from_normal(power, wanted):
    assert band([power]) is wanted


def test_hold_ends_at_once_and_cap_after_thirty_seconds():
    assert band([950, 899]) is Band.NORMAL
    assert band([999] + [800] * 30) is Band.CAP
    assert band([999] + [800] * 31) is Band.NORMAL
    assert band([999] + [800] * 29 + [901] + [800] * 29) is Band.CAP


def test_brake_ends_in_cap_below_the_trigger():
    assert band([1011, 1005]) is Band.BRAKE
    assert band([1011, 960]) is Band.CAP


def test_what_is_expected_begins_capping_but_never_brakes_nor_keeps_it_up():
    assert band([920], expected=998) is Band.CAP
    assert band([920], expected=5000) is Band.CAP
    assert band([999] + [800] * 31, expected=960) is Band.NORMAL


def test_capping_again_soon_doubles_the_dwell():
    state = drive([999] + [800] * 31)
    state = drive([999], state=state, start_s=40)
    assert state.dwell_s[0] == 60
    for _ in range(9):
        state = drive([999] + [800] * (int(state.dwell_s[0]) + 1), state=state, start_s=state.released_s[0] + 20)
    assert state.dwell_s[0] == 600
    assert drive([999], state=state, start_s=state.released_s[0] + 61).dwell_s[0] == 30


def total(before, *, elapsed_s=1.0, **known):
    facts = {
        "band": NORMAL, "power_w": 500.0, "budget_w": 1000.0, "floors_w": 100.0, "may_grow": True, "may_trim": True,
    }  # fmt: skip
    steering = Steering(**{name: np.array([value]) for name, value in (facts | known).items()})
    return next_total(np.array([float(before)]), steering, elapsed_s, BANDS)[0]


def test_normal_ramps_two_percent_a_second_up_to_the_target():
    assert total(500) == pytest.approx(520)
    assert total(985) == pytest.approx(995)
    assert total(500, may_grow=False) == 500
    assert total(1200) == pytest.approx(995)


def test_trim_lowers_on_overshoot_and_freezes_at_its_ends():
    assert total(990, band=CAP, power_w=1010.0) == pytest.approx(987)
    assert total(990, band=CAP, power_w=1010.0, may_trim=False) == 990
    assert total(103, band=CAP, power_w=2000.0) == 100
    assert total(990, band=HOLD, power_w=910.0) == pytest.approx(995)


def test_trim_settles_under_three_steps_of_delay():
    """Devices that draw 4 % more than asked are held at the target all the same."""
    now_w, readings = 990.0, [1030.0] * 3
    for _ in range(80):
        now_w = total(now_w, band=CAP, power_w=readings[-3])
        readings.append(now_w * 1.04)
    assert readings[-1] == pytest.approx(995, abs=0.5)
    assert min(readings) > 970


@given(
    before=st.floats(0, 1e6), code=st.sampled_from([NORMAL, HOLD, CAP, BRAKE]), power_w=st.floats(0, 1e6),
    budget_w=st.floats(0, 1e6), floors_w=st.floats(0, 1e6), elapsed_s=st.floats(0, 2), may_grow=st.booleans(),
    may_trim=st.booleans(),
)  # fmt: skip
def test_total_never_passes_the_target_nor_grows_too_fast(
    before, code, power_w, budget_w, floors_w, elapsed_s, may_grow, may_trim
):
    after = total(
        before, band=code, power_w=power_w, budget_w=budget_w, floors_w=floors_w, elapsed_s=elapsed_s,
        may_grow=may_grow, may_trim=may_trim,
    )  # fmt: skip
    assert after <= BANDS.target * budget_w
    assert after <= max(before + BANDS.ramp * budget_w * elapsed_s, floors_w) + 1e-6
    if not may_grow:
        assert after <= max(before, floors_w)
