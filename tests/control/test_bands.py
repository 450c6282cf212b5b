import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.control.bands import BandState, Steering, next_band, next_total
from evenwatt_collector.control.types import Band, Bands

BANDS = Bands()


def drive(powers, *, state=None, start_s=0.0):
    state = state or BandState()
    for second, power in enumerate(powers):
        state = next_band(state, power, 1000, start_s + second, BANDS)
    return state


@pytest.mark.parametrize(
    ("power", "band"),
    [(0, Band.NORMAL), (899, Band.NORMAL), (900, Band.HOLD), (969, Band.HOLD), (970, Band.CAP), (1000, Band.BRAKE)],
)
def test_thresholds_from_normal(power, band):
    assert drive([power]).band is band


def test_hold_ends_at_once_and_cap_after_thirty_seconds():
    assert drive([950, 899]).band is Band.NORMAL
    assert drive([980] + [800] * 30).band is Band.CAP
    assert drive([980] + [800] * 31).band is Band.NORMAL
    assert drive([980] + [800] * 29 + [901] + [800] * 29).band is Band.CAP


def test_brake_ends_in_cap_below_the_trigger():
    assert drive([1001, 990]).band is Band.BRAKE
    assert drive([1001, 960]).band is Band.CAP


def test_capping_again_soon_doubles_the_dwell():
    state = drive([980] + [800] * 31)
    state = drive([980], state=state, start_s=40)
    assert state.dwell_s == 60
    for _ in range(9):
        state = drive([980] + [800] * (int(state.dwell_s) + 1), state=state, start_s=state.released_s + 20)
    assert state.dwell_s == 600
    assert drive([980], state=state, start_s=state.released_s + 61).dwell_s == 30


def steering(**known) -> Steering:
    facts = {
        "band": Band.NORMAL, "power_w": 500.0, "budget_w": 1000.0, "floors_w": 100.0, "elapsed_s": 1.0,
        "may_grow": True, "may_trim": True,
    }  # fmt: skip
    return Steering(**(facts | known))


def test_normal_ramps_two_percent_a_second_up_to_the_target():
    assert next_total(500, steering(), BANDS) == pytest.approx(520)
    assert next_total(945, steering(), BANDS) == pytest.approx(950)
    assert next_total(500, steering(may_grow=False), BANDS) == 500
    assert next_total(1200, steering(), BANDS) == pytest.approx(950)


def test_trim_lowers_on_overshoot_and_freezes_at_its_ends():
    assert next_total(950, steering(band=Band.CAP, power_w=970), BANDS) == pytest.approx(946)
    assert next_total(950, steering(band=Band.CAP, power_w=970, may_trim=False), BANDS) == 950
    assert next_total(103, steering(band=Band.CAP, power_w=2000), BANDS) == 100
    assert next_total(950, steering(band=Band.HOLD, power_w=910), BANDS) == pytest.approx(950)


def test_trim_settles_under_three_steps_of_delay():
    """Devices that draw 4 % more than asked are held at the target all the same."""
    total, readings = 950.0, [988.0] * 3
    for _ in range(80):
        total = next_total(total, steering(band=Band.CAP, power_w=readings[-3]), BANDS)
        readings.append(total * 1.04)
    assert readings[-1] == pytest.approx(950, abs=0.5)
    assert min(readings) > 930


steerings = st.builds(
    Steering,
    band=st.sampled_from(Band), power_w=st.floats(0, 1e6), budget_w=st.floats(0, 1e6), floors_w=st.floats(0, 1e6),
    elapsed_s=st.floats(0, 2), may_grow=st.booleans(), may_trim=st.booleans(),
)  # fmt: skip


@given(st.floats(0, 1e6), steerings)
def test_total_never_passes_the_target_nor_grows_too_fast(before, how):
    after = next_total(before, how, BANDS)
    assert after <= BANDS.target * how.budget_w
    assert after <= before + BANDS.ramp * how.budget_w * how.elapsed_s + 1e-6
    if not how.may_grow:
        assert after <= before
