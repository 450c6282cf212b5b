"""Windows and ledger records add up to the counters, however bins fall and whatever breaks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenwatt_agent.counters import Baseline
from evenwatt_agent.hierarchy import choose_total
from evenwatt_agent.meter import Meter
from evenwatt_agent.sources import Unit
from evenwatt_wire import Quality
from tests.agent.builders import RANGE, S, batch, probe

BIN = 100_000_000


def make(*probes, **keywords):
    domains, _ = choose_total(probes)
    return Meter(probes, domains, keywords.pop("now_ns", 0), **keywords)


@given(
    st.lists(
        st.tuples(st.integers(0, 150_000_000), st.integers(0, 50_000_000), st.booleans(), st.booleans()),
        min_size=1,
        max_size=120,
    ),
    st.integers(0, RANGE - 1),
)
def test_windows_and_records_add_up_to_the_counter(bins, start):
    """Random energy per bin, random ends of windows and records, a wrapping counter: every sum is the same."""
    meter = make(probe("package-0"), probe("package-0/dram", "dram", parent="package-0"))
    t, package, dram = 0, start, start // 3
    meter.fold(batch(0, {"package-0": [(1, package % RANGE)], "package-0/dram": [(2, dram % RANGE)]}))
    in_windows, in_records, covered = 0.0, 0.0, []
    for add_package, add_dram, close_window, close_record in bins:
        t += BIN
        package += add_package
        dram += add_dram
        meter.fold(batch(t, {"package-0": [(t + 1, package % RANGE)], "package-0/dram": [(t + 2, dram % RANGE)]}))
        meter.close_bin()
        if close_window:
            in_windows += meter.close_window(t).total.energy_j
        if close_record:
            entry = meter.close_ledger(t)
            in_records += entry.total.energy_j
            covered.append((entry.start_ns, entry.end_ns))
            assert sum(d.energy_j for d in entry.domains) == pytest.approx(entry.total.energy_j)
    in_windows += meter.close_window(t + 1).total.energy_j
    last = meter.close_ledger(t + 1)
    in_records += last.total.energy_j
    covered.append((last.start_ns, last.end_ns))
    true_j = (package - start + dram - start // 3) * 1e-6
    assert in_windows == pytest.approx(true_j, rel=1e-12, abs=1e-6)
    assert in_records == pytest.approx(true_j, rel=1e-12, abs=1e-6)
    assert meter.total_j == pytest.approx(true_j, rel=1e-12, abs=1e-6)
    assert covered[0][0] == 0
    assert all(before[1] == after[0] for before, after in itertools.pairwise(covered))


def test_a_window_tells_mean_min_max_and_p95_of_its_bins():
    meter = make(probe("package-0"))
    meter.fold(batch(0, {"package-0": [(0, 0)]}))
    raw = 0
    for i in range(1, 11):
        raw += i * 10 * 100_000  # i * 10 W for 100 ms
        meter.fold(batch(i * BIN, {"package-0": [(i * BIN, raw)]}))
        meter.close_bin()
    window = meter.close_window(10 * BIN)
    total = window.total
    assert (total.mean_w, total.min_w, total.max_w, total.p95_w) == pytest.approx((55, 10, 100, 100))
    assert window.samples == 110


def test_a_jump_is_reported_before_the_second_is_over():
    meter = make(probe("package-0"))
    meter.fold(batch(0, {"package-0": [(0, 0)]}))
    raw = 0
    for i in range(1, 11):
        raw += 10_000_000
        meter.fold(batch(i * BIN, {"package-0": [(i * BIN, raw)]}))
        meter.close_bin()
    meter.close_window(10 * BIN)
    due = []
    for i, power_w in enumerate((100, 101, 104, 400), start=11):
        raw += power_w * 100_000
        meter.fold(batch(i * BIN, {"package-0": [(i * BIN, raw)]}))
        meter.close_bin()
        due.append(meter.window_due())
    assert due == [False, False, False, True]


@given(st.integers(0, 20), st.integers(20, 2000), st.integers(20, 2000))
def test_half_a_second_after_a_step_the_latest_window_says_what_is_drawn_now(step_bin, before_w, after_w):
    meter = make(probe("package-0"))
    meter.fold(batch(0, {"package-0": [(0, 0)]}))
    raw, said_w = 0, None
    for i in range(1, step_bin + 16):
        # The step falls into the middle of a bin, which shows half of it.
        now_w = before_w if i < step_bin + 10 else after_w if i > step_bin + 10 else (before_w + after_w) / 2
        raw += round(now_w * 100_000)
        meter.fold(batch(i * BIN, {"package-0": [(i * BIN, raw)]}))
        meter.close_bin()
        if meter.window_due():
            said_w = meter.close_window(i * BIN).total.mean_w
    assert abs(said_w - after_w) <= max(10.0, 0.05 * said_w) + 1e-3


def test_a_slow_source_holds_its_power_between_readings_and_loses_no_energy():
    meter = make(probe("package-0"), probe("gpu-0", "gpu", source="nvml"))
    meter.fold(batch(0, {"package-0": [(0, 0)]}))
    meter.fold(batch(0, {"gpu-0": [(0, 0)]}, ticks=1))
    powers = []
    for i in range(1, 7):
        meter.fold(batch(i * BIN, {"package-0": [(i * BIN, 0)]}))
        if i % 2 == 0:
            meter.fold(batch(i * BIN, {"gpu-0": [(i * BIN, i * 30_000_000)]}, ticks=1))
        powers.append(meter.close_bin())
    assert powers == pytest.approx([0, 300, 300, 300, 300, 300])
    assert meter.close_window(6 * BIN).total.energy_j == pytest.approx(180)


def test_a_lost_source_is_said_once_and_is_unknown_not_zero():
    meter = make(probe("package-0"))
    meter.fold(batch(0, {"package-0": [(0, 0)]}))
    assert meter.fold(batch(BIN, {"package-0": []}, lost={"package-0": "No such device"})) == [
        ("package-0", "No such device")
    ]
    assert meter.fold(batch(2 * BIN, {"package-0": []}, lost={"package-0": "No such device"})) == []
    meter.close_bin()
    assert meter.close_window(2 * BIN).total.quality is Quality.UNKNOWN
    assert meter.fold(batch(3 * BIN, {"package-0": [(3 * BIN, 30_000_000)]})) == [("package-0", "")]
    entry = meter.close_ledger(3 * BIN)
    assert entry.total.energy_j == pytest.approx(30), "the counter ran on while it could not be read"


def test_a_restart_bridges_the_time_without_an_agent_and_says_so():
    """Counted by the hardware, so it is in the ledger; not power of this moment, so it is in no window."""
    meter = make(
        probe("package-0"),
        now_ns=60 * S,
        ledger_start_ns=30 * S,
        baselines={"package-0": Baseline(1_000_000, 30 * S)},
    )
    meter.fold(batch(60 * S, {"package-0": [(60 * S, 3_001_000_000)]}))
    meter.close_bin()
    assert meter.power_w == 0
    meter.fold(batch(60 * S + BIN, {"package-0": [(60 * S + BIN, 3_011_000_000)]}))
    assert meter.close_bin() == pytest.approx(100)
    window = meter.close_window(60 * S + BIN)
    assert window.total.energy_j == pytest.approx(10)
    entry = meter.close_ledger(60 * S + BIN)
    assert (entry.start_ns, entry.total.energy_j) == (30 * S, pytest.approx(3_010))
    assert [(g.domain, g.quality) for g in entry.gaps] == [("package-0", Quality.MEASURED)]


def test_a_suspend_is_a_gap_and_not_energy():
    meter = make(probe("package-0"))
    meter.fold(batch(0, {"package-0": [(0, 0)]}))
    meter.fold(batch(BIN, {"package-0": [(BIN, 10_000_000)]}))
    meter.rebase("the machine was suspended", BIN + 1)
    meter.fold(batch(2 * BIN, {"package-0": [(2 * BIN, 900_000_000)]}))
    meter.fold(batch(3 * BIN, {"package-0": [(3 * BIN, 910_000_000)]}))
    entry = meter.close_ledger(3 * BIN)
    assert entry.total.energy_j == pytest.approx(20)
    assert entry.total.quality is Quality.UNKNOWN
    assert entry.gaps[0].reason == "the machine was suspended"


def test_gaps_in_a_record_are_bounded():
    meter = make(probe("package-0"))
    for i in range(1, 400):
        meter.fold(batch(i * S, {"package-0": [(i * S, (i % 2) * 100_000_000_000)]}))
    entry = meter.close_ledger(400 * S)
    assert len(entry.gaps) == 64
    assert "more gaps" in entry.gaps[-1].reason


def names(*probes, integrated=frozenset()):
    return choose_total(probes, integrated)[1]


def test_the_total_counts_nothing_twice():
    p0, p1 = probe("package-0"), probe("package-1")
    core = probe("package-0/core", "core", parent="package-0")
    dram = probe("package-0/dram", "dram", parent="package-0")
    psys = probe("psys", "psys")
    mmio = probe("mmio:package-0", silicon="package-0")
    gpu = probe("gpu-0", "gpu", source="nvml")
    battery = probe("battery/BAT0", "battery", unit=Unit.POWER_UW, silicon="")
    board = probe("ina3221/VDD_IN", "board", unit=Unit.POWER_UW, silicon="")
    assert names(p0, p1, core, dram) == "package-0 + package-1 + package-0/dram"
    assert names(p0, core, psys, mmio, battery) == "psys"
    assert names(p0, mmio) == "package-0"
    assert names(mmio) == "mmio:package-0"
    assert names(p0, dram, gpu, board) == "package-0 + package-0/dram + gpu-0"
    assert names(core) == "package-0/core"
    assert names(board, battery) == "ina3221/VDD_IN"
    assert names(battery) == "battery/BAT0"
    assert names() == "nothing"


def test_graphics_inside_a_counted_package_is_left_out():
    amd = probe("amdgpu", "gpu", unit=Unit.POWER_UW, silicon="", source="hwmon")
    assert names(probe("package-0"), amd, integrated=frozenset({"amdgpu"})) == "package-0"
    assert names(amd, integrated=frozenset({"amdgpu"})) == "amdgpu"


def test_what_no_counter_bridged_over_a_restart_is_a_gap_and_not_silence():
    """An event's count and a power reading do not go on while no agent runs; a powercap counter does."""
    probes = (probe("package-0"), probe("gpu-0", "gpu", unit=Unit.POWER_UW, source="nvml"))
    domains, _ = choose_total(probes)
    meter = Meter(probes, domains, 10 * S, 4 * S, baselines={"package-0": Baseline(0, 4 * S)})
    meter.fold(batch(11 * S, {"package-0": [(11 * S, 7_000_000)], "gpu-0": [(11 * S, 50_000_000)]}))
    entry = meter.close_ledger(11 * S)
    assert [(gap.domain, gap.start_mono_ns, gap.end_mono_ns, gap.quality) for gap in entry.gaps] == [
        ("gpu-0", 4 * S, 10 * S, Quality.UNKNOWN),
        ("package-0", 4 * S, 11 * S, Quality.MEASURED),
    ]
    assert entry.total.energy_j == 7.0
    assert entry.total.quality is Quality.UNKNOWN
    assert meter.close_ledger(12 * S).gaps == []


def test_what_was_counted_before_a_restart_and_is_gone_is_a_gap_and_not_silence():
    baselines = {"package-0": Baseline(0, 4 * S), "package-1": Baseline(7, 3 * S)}
    meter = make(probe("package-0"), now_ns=10 * S, ledger_start_ns=4 * S, baselines=baselines)
    meter.fold(batch(11 * S, {"package-0": [(11 * S, 7_000_000)]}))
    entry = meter.close_ledger(11 * S)
    gone = [(gap.start_mono_ns, gap.end_mono_ns, gap.quality) for gap in entry.gaps if gap.domain == "package-1"]
    assert gone == [(3 * S, 10 * S, Quality.UNKNOWN)]
    assert (entry.total.energy_j, entry.total.quality) == (7.0, Quality.UNKNOWN)
    entry = meter.close_ledger(12 * S)
    assert (entry.gaps, entry.total.quality) == ([], Quality.MEASURED)


def test_only_what_goes_on_without_the_agent_is_remembered():
    lasting = probe("package-0")
    event = replace(probe("package-1"), lasting=False)
    meter = make(lasting, event)
    meter.fold(batch(S, {"package-0": [(S, 5)], "package-1": [(S, 6)]}))
    assert meter.baselines() == {"package-0": Baseline(5, S)}


def test_what_appears_later_adds_to_the_total_from_then_on():
    meter = make(probe("package-0"))
    meter.fold(batch(BIN, {"package-0": [(1, 0), (BIN, 10_000_000)]}))
    meter.close_bin()
    board = probe("gpu-0", "gpu", source="nvml")
    meter.add([board], choose_total([probe("package-0"), board])[0][1:])
    meter.fold(batch(2 * BIN, {"package-0": [(2 * BIN, 20_000_000)], "gpu-0": [(BIN, 10**9), (2 * BIN, 10**9 + 5)]}))
    meter.close_bin()
    window = meter.close_window(2 * BIN)
    assert window.total.energy_j == pytest.approx(20.000005)
    assert {row.id: row.energy_j for row in window.domains} == {"package-0": 20.0, "gpu-0": pytest.approx(5e-6)}
