import math

import pytest

from evenwatt_collector.tuning import CapLearner, Context, Objective, Observed, Settings, grid
from evenwatt_daemon import Failure
from tests.tuning.machine import CAPS_W, Bench, Board

HOUR_S = 3600.0


def _lived(board=None, *, seconds=HOUR_S, noise=0.02, seed=1, context=None, **settings):
    learner = CapLearner(Settings(caps_w=settings.pop("caps_w", CAPS_W), **settings))
    bench = Bench(learner, board or Board(), noise=noise, seed=seed)
    return bench.run(seconds, context)


def _window(cap_w=300.0, at_s=10.0, **changed):
    return Observed(**{"cap_w": cap_w, "units": 5, "energy_j": 200.0, "seconds": 1.0, "at_s": at_s, **changed})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("demand_w", [60.0, 130.0, 200.0, 270.0, 400.0])
def test_it_ends_near_the_best_with_little_explored(demand_w, seed):
    board = Board(demand_w=demand_w)
    trace = _lived(board, seed=seed)
    assert board.regret(trace.held_w) <= 0.03
    assert trace.explored <= 0.05 * trace.units


def test_a_board_that_cannot_hold_low_caps_is_no_trap():
    board = Board(holds_w=170.0)
    trace = _lived(board)
    assert board.regret(trace.held_w) <= 0.03
    tried = {choice.cap_w for _, choice in trace.choices}
    assert min(tried) >= 125, "what lies below a cap that is clearly worse is not tried"


def test_effects_that_no_curve_explains_are_found():
    board = Board(demand_w=70.0, own={225: 0.88, 150: 0.95, 125: 1.07, 275: 1.05})
    trace = _lived(board)
    assert trace.held_w == 225


def test_it_begins_at_the_ceiling_and_says_so():
    choice = CapLearner(Settings(caps_w=CAPS_W)).propose(0.0, Context())
    assert choice.cap_w == 300
    assert choice.exploring
    assert not choice.settled
    assert choice.chosen.cost is None
    assert "300 W first" in choice.why


def test_a_settled_choice_gives_what_is_expected_with_its_interval_and_the_runner_up():
    board = Board()
    trace = _lived(board)
    choice = trace.last
    seconds, joules = board.truth(choice.cap_w)
    assert choice.settled
    assert not choice.exploring
    assert choice.chosen.energy_j_per_unit.low <= joules * 1.01
    assert choice.chosen.energy_j_per_unit.high >= joules * 0.99
    assert choice.chosen.units_per_s.value == pytest.approx(1 / seconds, rel=0.02)
    assert choice.chosen.units_per_s.measured
    assert choice.runner_up.cost.value >= choice.chosen.cost.value * 0.98
    assert choice.runner_up.cap_w != choice.cap_w


def test_a_trial_gives_a_prediction_that_is_marked_as_one():
    trace = _lived(seconds=120)
    trial = next(choice for _, choice in trace.choices if choice.exploring and choice.cap_w < 300)
    assert not trial.chosen.energy_j_per_unit.measured
    assert (
        trial.chosen.energy_j_per_unit.low < trial.chosen.energy_j_per_unit.value < trial.chosen.energy_j_per_unit.high
    )
    assert trial.runner_up.energy_j_per_unit.measured
    assert "trying" in trial.why


def test_the_cap_goes_down_in_steps():
    trace = _lived(caps_w=tuple(range(50, 301, 10)))
    lowest = 300.0
    for _, choice in trace.choices:
        assert choice.cap_w >= 0.75 * lowest - 1e-9
        lowest = min(lowest, choice.cap_w)


def test_weighted_and_energy_choose_differently():
    energy = _lived().held_w
    time = _lived(objective=Objective(aim="weighted", eta=0.0)).held_w
    half = _lived(objective=Objective(aim="weighted", eta=0.5)).held_w
    assert energy < half <= time


def test_carbon_slows_down_on_a_dirty_grid_and_hurries_on_a_clean_one():
    objective = Objective(aim="carbon", hold_g_per_h=15, hold_w=40)
    learner = CapLearner(Settings(caps_w=CAPS_W, objective=objective))
    bench = Bench(learner, Board())
    dirty = bench.run(HOUR_S, Context(intensity_g_per_kwh=800)).held_w
    clean = bench.run(HOUR_S, Context(intensity_g_per_kwh=30)).held_w
    assert dirty < clean


@pytest.mark.parametrize("hindrance", ["capping", "shared"])
def test_nothing_is_tried_while_it_would_disturb(hindrance):
    trace = _lived(context=Context(**{hindrance: True}), seconds=600)
    assert trace.explored == 0
    assert {choice.cap_w for _, choice in trace.choices} == {300}


def test_a_trial_ends_at_once_when_the_zone_throttles():
    learner = CapLearner(Settings(caps_w=CAPS_W))
    bench = Bench(learner, Board())
    while not (bench.trace.choices and bench.trace.last.exploring and bench.trace.last.cap_w < 300):
        bench.run(1)
    choice = learner.propose(bench.trace.now_s, Context(capping=True))
    assert not choice.exploring
    assert choice.cap_w == 300
    assert "throttling" in choice.why


def test_windows_in_which_something_else_happened_teach_nothing():
    learner = CapLearner(Settings(caps_w=CAPS_W))
    bench = Bench(learner, Board())
    bench.run(100, clean=False)
    assert not any(each["units"] for each in learner.state()["caps"])


def test_warm_up_is_not_measured():
    learner = CapLearner(Settings(caps_w=CAPS_W, warmup_s=5.0))
    for second in range(1, 6):
        learner.observe(_window(at_s=second, energy_j=1e6))
    assert not any(each["units"] for each in learner.state()["caps"])
    learner.observe(_window(at_s=6.0))
    assert learner.state()["caps"][-1]["energy_j"] == pytest.approx(200)


@pytest.mark.parametrize(
    "junk",
    [
        {"energy_j": math.nan},
        {"energy_j": -5.0},
        {"seconds": 0.0},
        {"units": -1},
        {"cap_w": math.inf},
        {"at_s": math.nan},
        {"units": math.inf},
    ],
)
def test_junk_is_not_learned_and_harms_nothing(junk):
    learner = CapLearner(Settings(caps_w=CAPS_W))
    before = learner.state()
    learner.observe(_window(**junk))
    assert learner.state() == before


def test_a_cap_that_is_none_of_ours_counts_as_work_only():
    learner = CapLearner(Settings(caps_w=CAPS_W))
    for second in range(20):
        learner.observe(_window(cap_w=187.0, at_s=second + 1.0))
    state = learner.state()
    assert state["done_units"] == 100
    assert not any(each["units"] for each in state["caps"])


def test_a_unit_that_takes_many_windows_is_counted_whole():
    learner = CapLearner(Settings(caps_w=CAPS_W, warmup_s=0.0))
    for second in range(1, 11):
        learner.observe(_window(at_s=second, units=1 if second == 10 else 0))
    top = learner.state()["caps"][-1]
    assert (top["units"], top["seconds"], top["energy_j"]) == (1, 10, 2000)


def test_the_budget_follows_the_work_that_is_known_to_come():
    short = _lived(context=lambda: Context(remaining_units=1000), seconds=600)
    assert short.explored <= 0.05 * (short.units + 1000)
    none = _lived(explore_share=0.0)
    assert none.explored == 0
    assert none.held_w == 300


def test_the_ceiling_and_the_floor_of_the_moment_hold():
    bench = Bench(CapLearner(Settings(caps_w=CAPS_W)), Board())
    bench.run(HOUR_S)
    for floor_w, ceiling_w in ((0, 140), (210, 240), (0, 90), (320, 400), (110, 120)):
        choice = bench.learner.propose(bench.trace.now_s, Context(floor_w=floor_w, ceiling_w=ceiling_w))
        assert floor_w <= choice.cap_w <= ceiling_w


def test_a_grid_has_the_ceiling_the_floor_and_steps_that_matter():
    assert grid(100, 300, 25) == CAPS_W
    assert grid(100, 300)[0] == pytest.approx(100, abs=6)
    assert min(high - low for low, high in zip(grid(90, 300), grid(90, 300)[1:], strict=False)) >= 6
    assert grid(250, 250) == (250,)
    with pytest.raises(Failure, match="floor is 300 W, ceiling 200 W"):
        grid(300, 200)


@pytest.mark.parametrize("caps_w", [(), (0.0, 100.0), (math.nan,)])
def test_caps_that_are_none_are_refused(caps_w):
    with pytest.raises(Failure, match="caps_w is"):
        Settings(caps_w=caps_w)


def test_one_cap_is_simply_held():
    trace = _lived(caps_w=(300,), seconds=300)
    assert {choice.cap_w for _, choice in trace.choices} == {300}
    assert trace.last.settled
    assert trace.last.runner_up is None


def test_how_much_slower_work_is_under_the_cap_that_is_held():
    board = Board()
    learner = CapLearner(Settings(caps_w=CAPS_W))
    assert learner.slower == 0.0
    held_w = Bench(learner, board, noise=0.02, seed=1).run(HOUR_S).held_w
    assert held_w < CAPS_W[-1]
    slower = board.truth(held_w)[0] / board.truth(CAPS_W[-1])[0] - 1
    assert learner.slower == pytest.approx(slower, abs=0.03)
