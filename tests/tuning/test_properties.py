"""On any board, under any bounds: near the best, within the budget, within floor and ceiling."""

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from evenwatt_collector.tuning import CapLearner, Context, Objective, Observed, Settings, Slo
from tests.tuning.machine import Bench, Board

SLOW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BOARDS = st.builds(
    Board,
    demand_w=st.floats(40, 450),
    idle_w=st.floats(10, 39),
    fixed=st.floats(0, 0.8),
    holds_w=st.sampled_from([0.0, 0.0, 130.0, 170.0]),
    unit_s=st.floats(0.005, 3),
)
CAPS = st.lists(st.integers(80, 299), min_size=2, max_size=12, unique=True).map(lambda caps: (*sorted(caps), 300))


@SLOW
@given(board=BOARDS, caps_w=CAPS, seed=st.integers(0, 1000), noise=st.floats(0.002, 0.03))
def test_it_ends_within_3_percent_at_5_percent_explored(board, caps_w, seed, noise):
    bench = Bench(CapLearner(Settings(caps_w=caps_w)), board, seed=seed, noise=noise)
    trace = bench.run(3600)
    assert board.regret(trace.held_w, caps_w) <= 0.03
    assert trace.explored <= 0.05 * trace.units


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    caps_w=CAPS,
    most=st.none() | st.floats(1, 3),
    told=st.lists(
        st.tuples(
            st.floats(0, 400),
            st.floats(0, 400),
            st.floats(0, 50),
            st.floats(0.01, 1e5),
            st.floats(0.05, 30),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=60,
    ),
    aim=st.sampled_from(["energy", "carbon", "weighted"]),
)
def test_whatever_is_observed_the_cap_is_within_floor_and_ceiling_and_joules_are_kept(caps_w, most, told, aim):
    learner = CapLearner(Settings(caps_w=caps_w, slo=Slo(max_slowdown=most), objective=Objective(aim=aim)))
    now_s, units = 0.0, 0.0
    for one, other, done, energy_j, seconds, capping, clean in told:
        floor_w, ceiling_w = min(one, other), max(one, other)
        choice = learner.propose(now_s, Context(floor_w=floor_w, ceiling_w=ceiling_w, capping=capping))
        assert floor_w <= choice.cap_w <= ceiling_w
        assert not (capping and choice.exploring)
        assert choice.why
        if choice.chosen.cost is not None:
            assert choice.chosen.cost.low <= choice.chosen.cost.value <= choice.chosen.cost.high
        now_s += seconds
        if choice.cap_w > 0:
            learner.observe(
                Observed(cap_w=choice.cap_w, units=done, energy_j=energy_j, seconds=seconds, at_s=now_s, clean=clean)
            )
            units += done
    state = learner.state()
    assert abs(state["done_units"] - units) <= 1e-6 * (1 + units)
    assert state["explored_units"] <= state["done_units"] + 1e-9
    measured_j = sum(each["energy_j"] for each in state["caps"])
    assert measured_j <= sum(energy_j for _, _, _, energy_j, *_ in told) * (1 + 1e-9)


@SLOW
@given(board=BOARDS, scale=st.floats(0.001, 1000), seed=st.integers(0, 20))
def test_the_unit_of_work_does_not_matter(board, scale, seed):
    assume(board.unit_s > 0.05)

    def lived(by):
        learner = CapLearner(Settings(caps_w=(100, 150, 200, 250, 300)))
        bench = Bench(learner, board, seed=seed)
        observe = learner.observe
        learner.observe = lambda seen: observe(
            Observed(
                cap_w=seen.cap_w, units=seen.units * by, energy_j=seen.energy_j, seconds=seen.seconds, at_s=seen.at_s
            )
        )
        return [(round(at_s, 3), choice.cap_w, choice.exploring) for at_s, choice in bench.run(300).choices]

    assert lived(1.0) == lived(scale)
