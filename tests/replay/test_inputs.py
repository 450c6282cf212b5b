"""Traces and plants from files: what is in them, and one clear word about what is wrong with them."""

import numpy as np
import pytest

from evenwatt_cli.replay.inputs import load_plant, load_trace
from evenwatt_daemon import Failure

DT_S = 0.5
SWEEP = "dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power\n"


def write(tmp_path, text):
    path = tmp_path / "input.csv"
    path.write_text(text, encoding="utf-8")
    return path


def loads(tmp_path, text, nodes=2, seconds=20.0):
    return load_trace(write(tmp_path, text), nodes, DT_S, seconds).block(round(seconds / DT_S))


def test_power_goes_from_its_lowest_to_its_highest_straight_between_rows(tmp_path):
    found = loads(tmp_path, "t_s,node_w,other_w\n0,100,50\n10,300,50\n20,200,150\n")
    assert found[0] == pytest.approx([0.0, 0.0])
    assert found[10] == pytest.approx([0.5, 0.0])
    assert found[20] == pytest.approx([1.0, 0.0])
    assert found[30] == pytest.approx([0.75, 0.5])


def test_more_nodes_than_columns_follow_a_while_later_and_the_trace_begins_anew(tmp_path):
    found = loads(tmp_path, "time,load\n0,0\n20,1\n", nodes=3, seconds=40.0)
    assert found[0] == pytest.approx([0.0, 0.35, 0.7])
    assert found[:, 0] == pytest.approx(np.tile(np.arange(40) / 40, 2))


def test_loads_may_be_in_percent_and_times_be_dates(tmp_path):
    text = "timestamp,gpu_util\n2024-05-10 00:00:00+00:00,0\n2024-05-10 00:00:10.5000000+00:00,50\n"
    found = loads(tmp_path, text, nodes=1, seconds=10.0)
    assert found[10, 0] == pytest.approx(0.5 * 5 / 10.5)


def test_requests_keep_their_node_busy_for_as_long_as_their_tokens_take(tmp_path):
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    rows = "2023-11-16 18:17:00.0000000,8000,40\n2023-11-16 18:17:10.0000000,0,40\n2023-11-16 18:17:20.0000000,0,0\n"
    found = loads(tmp_path, head + rows, nodes=1)
    busy = np.flatnonzero(found[:, 0] > 0.5) * DT_S
    assert busy.tolist() == [0.0, 0.5, 1.0, 1.5, 10.0, 10.5]


def test_requests_that_stand_in_another_order_are_the_same_requests(tmp_path):
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    rows = [f"2023-11-16 18:{m:02}:00.0000000,1000,{100 * m}" for m in range(1, 8)]
    inorder = loads(tmp_path, head + "\n".join(rows), seconds=400.0)
    assert np.array_equal(loads(tmp_path, head + "\n".join(rows[::-1]), seconds=400.0), inorder)


def test_jobs_of_a_week_are_sped_up_to_the_length_of_the_replay(tmp_path):
    rows = "".join(f"{3600 * i},7200,2\n" for i in range(24 * 7))
    found = loads(tmp_path, "arrival_time,length,cpus\n" + rows, nodes=8, seconds=300.0)
    assert 0.3 < (found > 0.5).mean() < 0.7
    assert (found > 0.5).any(axis=0).all()


def test_a_sweep_becomes_a_curve_for_each_network(tmp_path):
    rows = "".join(
        f"d,{network},64,sgd,{limit},{time_s},{limit}\n"
        for network, slow in (("a", 2.0), ("b", 4.0))
        for limit, time_s in ((100, 10 * slow), (150, 12.0), (200, 10.0))
    )
    first, second = load_plant(write(tmp_path, SWEEP + rows))
    assert first == ((0.2, 0.0), (0.5, 0.5), (0.75, pytest.approx(10 / 12)), (1.0, 1.0))
    assert second[1] == (0.5, 0.25)


def test_curves_always_rise_however_noisy_the_sweep(tmp_path):
    rng = np.random.default_rng(1)
    rows = "".join(
        f"d,n{i % 3},{i},sgd,{limit},{rng.uniform(5, 20)},{limit * rng.uniform(0.7, 1.1)}\n"
        for i in range(12)
        for limit in (100, 150, 200, 250)
    )
    for curve in load_plant(write(tmp_path, SWEEP + rows)):
        shares, speeds = zip(*curve, strict=True)
        assert list(shares) == sorted(set(shares))
        assert list(speeds) == sorted(speeds)
        assert (curve[0], curve[-1]) == ((0.2, 0.0), (1.0, 1.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("t_s,power_w\n", "no rows"),
        ("wenn,was\n1,2\n", "expected a time column"),
        ("t_s\n1\n2\n", "no column beside t_s"),
        ("t_s,power_w\n0,1\n1,much\n", r":3: column 'power_w' holds 'much'; expected a number"),
        ("t_s,power_w\n0,1\n1,nan\n", r":3: column 'power_w' holds nan"),
        ("t_s,power_w\n0,1\n1,-5\n", r":3: column 'power_w' holds -5"),
        ("t_s,power_w,host\n0,1,a\n1,2,b\n", r":2: column 'host' holds 'a'.*leave the column out"),
        ("t_s,power_w\n0,1\n0,2\n", "must rise from row to row"),
        ("t_s,power_w\n0,1\n", "two rows or more"),
        ("t_s,power_w\n0,1\nsoon,2\n", "expected seconds or ISO 8601"),
        ("t_s,power_w\n0,1\n1\n", r":3: not as many cells"),
        ("t_s,power_w\n0,1\n1,2,3\n", r":3: not as many cells"),
        ("t_s,power_w,power_w\n0,1,1\n1,2,2\n", "stands twice"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:00,x,1\n", r":2: column 'ContextTokens' holds 'x'"),
        ("arrival_time,length,cpus\n0,-1,1\n", r":2: column 'length' holds -1"),
    ],
)
def test_a_bad_trace_is_refused_with_file_place_and_fix(tmp_path, text, said):
    with pytest.raises(Failure, match=said) as refused:
        loads(tmp_path, text)
    assert "input.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column dataset, network, power_limit"),
        (SWEEP + "d,n,1,sgd,100,0,90\n", r":2: column 'time_per_epoch' holds 0; expected a number above 0 to 1e"),
        (SWEEP + "d,n,1,sgd,100,9,lots\n", r":2: column 'average_power' holds 'lots'"),
        (SWEEP + "d,n,1,sgd,100,9,90\n", "two or more power limits"),
    ],
)
def test_a_bad_plant_is_refused(tmp_path, text, said):
    with pytest.raises(Failure, match=said):
        load_plant(write(tmp_path, text))


def test_what_is_no_text_or_not_there_is_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01")
    for path in (tmp_path / "x.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(Failure, match=str(path)):
            load_trace(path, 2, DT_S, 10.0)
