import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from evenwatt_twin import SpecError, Truth, load_fleet
from evenwatt_twin.__main__ import main

TWO = [{"id": "n1", "preset": "xeon_2s"}, {"id": "n2", "preset": "edge_ina"}]


def spec_file(folder: Path, machines) -> Path:
    path = folder / "spec.json"
    path.write_text(json.dumps({"machines": machines}))
    return path


def patched(**patch):
    return [{"id": "n1", "preset": "xeon_2s", **patch}]


@pytest.mark.parametrize(
    ("machines", "words"),
    [
        (patched(profile={"kind": "burst", "peroid_s": 2}), "peroid_s"),
        (patched(profile={"kind": "brust"}), "brust"),
        (patched(preset="xeon"), "xeon_2s, gpu_server"),
        (patched(id="../up"), "machines[0].id"),
        (patched(color="red"), "color"),
        (patched(powercap={"zones": {"0": {"measures": ["gpu-7"]}}}), "gpu-7"),
        (patched(powercap={"zones": {"5:0": {"name": "core", "measures": ["dram-0"]}}}), "no zone 5 around it"),
        (patched(components={"package-0": {"max_w": 1}}), "max_w"),
        (patched(components={"dram-0": {"follows": "dram-1"}}), "follows another"),
        ([*TWO, TWO[0]], "more than once"),
        ([], "machines"),
        ({"n1": "xeon_2s"}, "machines"),
    ],
)
def test_wrong_specs_get_one_line_with_file_key_and_fix(tmp_path, capsys, machines, words):
    path = spec_file(tmp_path, machines)
    assert main([str(path), "--dir", str(tmp_path / "d")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"evenwatt_twin: {path}: ")
    assert words in line
    assert "Fix: " in line


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"machines": 3}', "null"])
def test_files_that_are_no_spec(tmp_path, text):
    path = tmp_path / "spec.json"
    path.write_text(text)
    with pytest.raises(SpecError, match="Fix"):
        load_fleet(path)
    with pytest.raises(SpecError, match="No such file"):
        load_fleet(tmp_path / "none.json")


def test_missing_replay_file_is_named(tmp_path, capsys):
    path = spec_file(tmp_path, patched(profile={"kind": "replay", "path": "gone.csv"}))
    assert main([str(path), "--dir", str(tmp_path / "d")]) == 2
    assert "gone.csv" in capsys.readouterr().err


def test_patch_changes_one_part_and_null_removes(tmp_path):
    machines = patched(powercap={"zones": {"0": {"start_uj": 5}, "1": None, "1:0": None, "1:1": None, "1:2": None}})
    (spec,) = load_fleet(spec_file(tmp_path, machines)).machines
    assert spec.powercap.zones["0"].start_uj == 5
    assert spec.powercap.zones["0"].name == "package-0"
    assert "1" not in spec.powercap.zones


def test_fleet_runs_in_real_time_and_stops_on_sigterm(tmp_path):
    path = spec_file(tmp_path, TWO)
    command = [sys.executable, "-m", "evenwatt_twin", str(path), "--dir", str(tmp_path / "d")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert select.select([process.stdout], [], [], 60)[0]
        ready = json.loads(process.stdout.readline())
        assert ready["ready"] is True
        assert set(ready["machines"]) == {"n1", "n2"}
        place = ready["machines"]["n1"]
        assert place["nvml_dir"] is None
        fd = os.open(Path(place["sysfs"]) / "class/powercap/intel-rapl:0/energy_uj", os.O_RDONLY)
        values = {int(os.pread(fd, 64, 0))}
        while len(values) < 20:
            values.add(int(os.pread(fd, 64, 0)))
        os.close(fd)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (0, "", "")
    truth = Truth.load(Path(place["truth"]))
    assert len(truth.mono_ns) >= 20
    assert truth.energy_j(truth.mono_ns[0], truth.mono_ns[-1]) > 0
