from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_twin import Burst, Diurnal, Replay, Steady, TrainingSteps, load_function

ALL = [
    Steady(load=0.3),
    Burst(period_s=4.0, width_s=1.0, jitter_s=0.5, seed=3),
    TrainingSteps(jitter=0.1, seed=9),
    Diurnal(),
]


@given(st.floats(0, 1e6), st.sampled_from(ALL))
def test_load_is_a_share_and_the_same_each_time(t_s, profile):
    load = load_function(profile)(t_s)
    assert 0.0 <= load <= 1.0
    assert load == load_function(profile)(t_s)


def test_burst_rises_holds_and_falls():
    load = load_function(Burst(period_s=2.0, width_s=1.0, rise_s=0.25, low=0.1, high=0.9, phase_s=0.5))
    assert [round(load(t), 3) for t in (0.4, 0.5, 0.625, 0.75, 1.49, 1.625, 1.76, 2.4, 2.625)] == [
        0.1, 0.1, 0.5, 0.9, 0.9, 0.5, 0.1, 0.1, 0.5,
    ]  # fmt: skip


def test_jitter_moves_bursts_by_seed():
    starts = []
    for seed in (1, 2):
        load = load_function(Burst(period_s=2.0, width_s=0.5, rise_s=0.0, jitter_s=1.0, seed=seed))
        starts.append([next(t for t in range(2000) if load(k * 2 + t / 1000) > 0) for k in range(5)])
    assert starts[0] != starts[1]
    assert len(set(starts[0])) > 1


def test_replay_goes_straight_between_rows_and_repeats(tmp_path: Path):
    (tmp_path / "load.csv").write_text("when,cpu\n10,0\n12,100\n14,50\n")
    replay = Replay(path="load.csv", time_column="when", value_column="cpu", scale=100, speed=2)
    load = load_function(replay, tmp_path)
    assert [load(t) for t in (0.0, 0.5, 1.0, 1.5, 2.5)] == [0.0, 0.5, 1.0, 0.75, 0.5]


@pytest.mark.parametrize("text", ["t_s,x\n0,1\n1,2\n", "t_s,load\n0,1\n", "t_s,load\n0,1\n0,1\n"])
def test_wrong_replay_files_say_why(tmp_path: Path, text: str):
    (tmp_path / "load.csv").write_text(text)
    with pytest.raises(ValueError, match=r"load\.csv"):
        load_function(Replay(path="load.csv"), tmp_path)


def test_burst_that_does_not_fit_its_period_is_refused():
    with pytest.raises(ValueError, match="period_s"):
        Burst(period_s=1.0, width_s=1.0)
