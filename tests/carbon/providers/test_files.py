import os

import pyarrow as pa
import pyarrow.parquet
import pytest

from evenwatt_collector.carbon.providers.contract import ProviderError, Trouble, unix_s
from evenwatt_collector.carbon.series import Basis, Kind, Standing

HOUR = 3600
T0 = unix_s("2026-01-01T00:00:00Z")
NOW = T0 + 10 * HOUR


@pytest.fixture
def read(build, tmp_path):
    async def reading(content, *, name="series.csv", now_s=NOW, **settings):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return await build("file", path=str(path), **settings).past(T0 - 86_400, now_s, now_s)

    return reading


def brief(readings):
    return [((r.start_s - T0) // 60, (r.end_s - r.start_s) // 60, r.g_per_kwh) for r in readings]


@pytest.mark.parametrize(
    "text",
    [
        "utc_time,intensity_g_per_kwh\n2026-01-01T00:00:00Z,354.5\n2026-01-01T01:00:00Z,349\n",
        "Time,Carbon Intensity\n2026-01-01 00:00:00,354.5\n2026-01-01 01:00:00,349\n",
        "time,Caiso_North\n2026-01-01 00:00:00,354.5\n2026-01-01 01:00:00,349\n",
        "2026-01-01T01:00:00+01:00,354.5\n2026-01-01T02:00:00+01:00,349\n",
        f"{T0},354.5\n{T0 + HOUR},349\n",
        f"start_s,end_s,g_per_kwh\n{T0},{T0 + HOUR},354.5\n{T0 + HOUR},{T0 + 2 * HOUR},349\n",
        f"g_per_kwh,start\n354.5,{T0}\n349,{T0 + HOUR}\n",
        "\ufeffstart,g_per_kwh\r\n2026-01-01T01:00:00Z,349\r\n\r\n2026-01-01T00:00:00Z,354.5\r\n",
    ],
)
async def test_columns_by_name_or_place_and_times_of_three_kinds(read, text):
    assert brief(await read(text)) == [(0, 60, 354.5), (60, 60, 349)]


async def test_elapsed_seconds_count_from_their_origin(read):
    found = await read("0,87.483\n180,87.483\n360,87.872\n", origin="2026-01-01T00:00:00Z")
    assert brief(found) == [(0, 3, 87.483), (3, 3, 87.483), (6, 3, 87.872)]


async def test_elapsed_seconds_without_an_origin_are_not_guessed(read):
    with pytest.raises(ProviderError, match=r"series.csv:1: found the time '0', expected .* set origin"):
        await read("0,87.483\n180,87.483\n")


async def test_what_the_settings_say_stands_in_the_readings(read):
    found = await read("2026-01-01T00:00:00Z,100\n", unit="lb/MWh", kind="marginal", standing="estimated", name="x.csv")
    assert found[0].g_per_kwh == pytest.approx(45.359237)
    assert (found[0].kind, found[0].basis, found[0].standing) == (Kind.MARGINAL, Basis.LIFECYCLE, Standing.ESTIMATED)


async def test_a_hole_in_the_file_is_a_hole_in_the_series(read):
    text = "".join(f"{T0 + i * HOUR},{i}\n" for i in (0, 1, 2, 6)) + f"{T0 + 7 * HOUR},\n{T0 + 8 * HOUR},8\n"
    assert brief(await read(text)) == [(0, 60, 0), (60, 60, 1), (120, 60, 2), (360, 60, 6), (480, 60, 8)]


async def test_what_lies_ahead_is_a_forecast(build, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("".join(f"{T0 + i * HOUR},{i}\n" for i in range(20)))
    source = build("file", path=str(path))
    assert (await source.past(T0, NOW, NOW))[-1].end_s == NOW
    ahead = await source.ahead(4 * HOUR, NOW)
    assert [(r.g_per_kwh, r.standing) for r in ahead] == [(v, Standing.FORECAST) for v in (10, 11, 12, 13)]


async def test_a_changed_file_is_read_again(build, tmp_path):
    path = tmp_path / "f.csv"
    path.write_text(f"{T0},1\n")
    source = build("file", path=str(path))
    assert [r.g_per_kwh for r in await source.past(T0, NOW, NOW)] == [1]
    path.write_text(f"{T0},22\n")
    os.utime(path, (T0, T0))
    assert [r.g_per_kwh for r in await source.past(T0, NOW, NOW)] == [22]


@pytest.mark.parametrize("stamps", ["timestamp", "seconds"])
async def test_parquet(read, tmp_path, stamps):
    times = [T0, T0 + HOUR]
    column = pa.array([t * 1000 for t in times], pa.timestamp("ms", tz="UTC")) if stamps == "timestamp" else times
    pyarrow.parquet.write_table(pa.table({"start": column, "g_per_kwh": [1.5, None]}), tmp_path / "made.parquet")
    found = await read((tmp_path / "made.parquet").read_bytes(), name="series.parquet")
    assert [(r.start_s, r.g_per_kwh) for r in found] == [(T0, 1.5)]


async def test_no_numbers_and_lies_come_through_one_by_one_for_the_feed_to_drop(read):
    found = await read(f"{T0},-5\n{T0 + HOUR},nan\n{T0 + 2 * HOUR},1000000\n{T0 + 3 * HOUR},7\n")
    assert [r.fault() is None for r in found] == [False, False, False, True]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("start,g_per_kwh\n2026-01-01T00:00:00Z,12\n2026-01-01T01:00:00Z,lots\n", ":3: found the value 'lots'"),
        ("start,g_per_kwh\n2026-01-01T00:00:00Z,12\nnever,1\n", ":3: found the time 'never'"),
        ("start,g_per_kwh\n2026-01-01T00:00:00Z,12\n2026-01-01T01:00:00Z\n", ":3: found 1 columns"),
        ("start,g_per_kwh\n2026-13-01T00:00:00Z,12\n", "found the time '2026-13-01T00:00:00Z'"),
        ("2027-02-29T00:00:00Z,12\n2027-02-29T01:00:00Z,12\n", "found the time '2027-02-29T01:00:00Z'"),
        ("start;g_per_kwh\n1;2\n", "found one column"),
        ("time,lb_per_mwh\n2026-01-01T00:00:00Z,12\n", "set unit = 'lb/MWh'"),
        ("", "found no values"),
        ("start,g_per_kwh\n", "found no values"),
        (b"\xff\xfe\x00\x01", "not UTF-8"),
        (b'start,g_per_kwh\n1,"' + b"x" * 200_000, "field larger"),
    ],
)
async def test_a_malformed_file_is_refused_by_line(read, content, says):
    with pytest.raises(ProviderError, match=r"series\.csv") as caught:
        await read(content)
    assert says in str(caught.value)
    assert "expected" in str(caught.value)
    assert caught.value.kind is Trouble.NONSENSE


async def test_a_parquet_file_that_is_none(read):
    with pytest.raises(ProviderError, match="expected a Parquet file"):
        await read("no", name="series.parquet")


async def test_a_file_that_is_missing_is_looked_for_again(build, tmp_path):
    source = build("file", path=str(tmp_path / "later.csv"))
    with pytest.raises(ProviderError, match="No such file") as caught:
        await source.past(T0, NOW, NOW)
    assert caught.value.retry_s == 60
    (tmp_path / "later.csv").write_text(f"{T0},3\n")
    assert len(await source.past(T0, NOW, NOW)) == 1


async def test_a_leap_day_is_a_day(read):
    now_s = unix_s("2028-03-02T00:00:00Z")
    found = await read("2028-02-28,1\n2028-02-29,2\n2028-03-01,3\n", now_s=now_s)
    assert [(r.end_s - r.start_s) for r in found] == [86_400] * 3


async def test_how_often_it_is_looked_at_is_said_in_the_settings(build, tmp_path):
    (tmp_path / "series.csv").write_text("2026-01-01T00:00:00Z,100\n")
    usual = build("file", path=str(tmp_path / "series.csv"))
    quick = build("file", path=str(tmp_path / "series.csv"), period_s=5)
    assert (usual.period_s, usual.ahead_period_s) == (300, 900)
    assert (quick.period_s, quick.ahead_period_s) == (5, 15)
