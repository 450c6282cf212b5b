"""Simulated nodes publish what agents publish: windows that add up, a second each or cut short by a jump."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenwatt_agent.meter import _JUMP_SHARE, _JUMP_W, _MIN_WINDOW_BINS
from evenwatt_cli.replay.telemetry import JUMP_EVERY_S, JUMP_SHARE, JUMP_W, Meters


def windows_of(power_w, dt_s, seed=1):
    """Return (step, node, window) of all windows of power over time (steps x nodes)."""
    steps, nodes = power_w.shape
    meters, found = Meters(nodes, dt_s, seed), []
    for k in range(steps):
        held_w = np.full(nodes, 400.0)
        windows = meters.take(k, power_w[k], held_w, np.zeros(nodes, dtype=bool))
        for row, node in enumerate(windows.at if windows else ()):
            found.append(
                (k, int(node), windows.mean_w[row], windows.window_peak_w[row], windows.peak_w[row], windows.jump)
            )
    return found


def test_jumps_are_the_agents():
    assert (JUMP_W, JUMP_SHARE, JUMP_EVERY_S) == (_JUMP_W, _JUMP_SHARE, 0.1 * _MIN_WINDOW_BINS)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from((0.05, 0.1)), st.booleans())
def test_the_energy_of_windows_is_the_nodes_energy(seed, dt_s, wild):
    rng = np.random.default_rng(seed)
    power_w = rng.uniform(80, 500, (200, 3)) if wild else 300 + rng.uniform(-4, 4, (200, 3))
    ends = dict.fromkeys(range(3), -1)
    for k, node, mean_w, window_peak_w, peak_w, _ in windows_of(power_w, dt_s, seed):
        part = power_w[ends[node] + 1 : k + 1, node]
        assert mean_w == pytest.approx(part.mean(), rel=1e-9)
        assert mean_w - 1e-9 <= window_peak_w <= part.max() + 1e-9
        assert window_peak_w <= peak_w + 1e-9
        ends[node] = k
    # Nobody is silent for longer than a second.
    assert min(ends.values()) >= 199 - round(1.0 / dt_s)


def test_steady_nodes_speak_once_a_second_each_at_its_own_moment():
    found = windows_of(np.full((400, 20), 300.0), 0.05)
    by_node = {node: [k for k, at, *_ in found if at == node] for node in range(20)}
    for steps in by_node.values():
        assert set(np.diff(steps[1:])) == {20}
    assert len({steps[-1] % 20 for steps in by_node.values()}) > 5


def test_a_jump_is_told_within_two_bins_and_no_oftener_than_five_times_a_second():
    power_w = np.full((400, 1), 100.0)
    power_w[203:] = 500.0
    first = next(k for k, _, _, peak_w, _, _ in windows_of(power_w, 0.05) if peak_w > 200.0)
    assert (first - 203) * 0.05 <= 0.3
    wild = np.where(np.arange(400)[:, None] // 2 % 2, 500.0, 100.0)
    assert min(np.diff([k for k, *_ in windows_of(wild, 0.05)])) * 0.05 >= 0.2 - 1e-9


def test_a_peak_is_remembered_for_ten_windows():
    power_w = np.full((400, 1), 100.0)
    power_w[100:102] = 500.0
    peaks = {round(k * 0.05): peak_w for k, _, _, _, peak_w, _ in windows_of(power_w, 0.05)}
    assert peaks[13] > 400.0
    assert peaks[19] == pytest.approx(100.0)
