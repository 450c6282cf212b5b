import csv
from importlib import resources

from hypothesis import given
from hypothesis import strategies as st

from evenwatt_collector.carbon.providers import eia, entsoe
from evenwatt_collector.carbon.providers.mix import STORAGE, Generated, fuel_factors, intensities
from evenwatt_collector.carbon.series import Basis

KINDS = {"grid": "X", "source": "x", "issued_s": 0, "recorded_s": 0}
FUELS = sorted({fuel for fuel, _ in fuel_factors()})


def test_every_figure_has_its_year_source_and_licence_on_both_bases():
    for row in fuel_factors().values():
        assert 2000 <= row.year <= 2030
        assert len(row.source) > 10
        assert row.licence
    assert {fuel for fuel, basis in fuel_factors() if basis is Basis.DIRECT} == set(FUELS)
    for fuel in {*entsoe.FUELS.values(), *eia.FUELS.values()} - {STORAGE}:
        assert fuel_factors()[fuel, Basis.LIFECYCLE].g_per_kwh > 0
    path = resources.files("evenwatt_collector.carbon.providers") / "fuel_factors.csv"
    with path.open(encoding="utf-8") as lines:
        assert len(list(csv.DictReader(lines))) == 2 * len(FUELS)


mixes = st.lists(
    st.tuples(st.sampled_from(FUELS), st.floats(0, 1e6, allow_nan=False)),
    min_size=1,
    max_size=8,
    unique_by=lambda m: m[0],
)


@given(mixes, st.sampled_from(Basis))
def test_an_intensity_lies_between_its_cleanest_and_dirtiest_part(mix, basis):
    found = intensities([Generated(fuel, fuel, 0, 3600, mw) for fuel, mw in mix], basis, **KINDS)
    used = [fuel_factors()[fuel, basis].g_per_kwh for fuel, mw in mix if mw > 0]
    assert len(found) == (1 if used else 0)
    for reading in found:
        assert min(used) - 1e-6 <= reading.g_per_kwh <= max(used) + 1e-6


@given(mixes, st.integers(2, 6))
def test_grams_are_the_same_however_the_hour_is_cut(mix, parts):
    """Energy x intensity, in grams, of one hour given whole and given in equal parts."""
    whole = intensities([Generated(fuel, fuel, 0, 3600, mw) for fuel, mw in mix], Basis.LIFECYCLE, **KINDS)
    step = 3600 // parts
    cut = [
        Generated(fuel, fuel, i * step, (i + 1) * step if i < parts - 1 else 3600, mw)
        for fuel, mw in mix
        for i in range(parts)
    ]
    pieces = intensities(cut, Basis.LIFECYCLE, **KINDS)
    total = sum(reading.g_per_kwh * (reading.end_s - reading.start_s) for reading in pieces)
    expected = sum(reading.g_per_kwh * 3600 for reading in whole)
    assert abs(total - expected) <= 1e-9 * max(1.0, expected)
