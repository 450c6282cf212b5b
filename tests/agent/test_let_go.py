"""A sensor that does not answer costs nothing: it is looked for again and again for as long as an agent runs."""

import os

import pytest

from evenwatt_agent.sources import hwmon, ina, power_supply, powercap

TREES = {
    powercap: {
        "class/powercap/intel-rapl:0/name": "package-0\n",
        "class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
        "class/powercap/intel-rapl:0/energy_uj": "",
    },
    hwmon: {"class/hwmon/hwmon0/name": "amdgpu\n", "class/hwmon/hwmon0/power1_average": "no number\n"},
    ina: {
        "class/hwmon/hwmon1/name": "ina3221\n",
        "class/hwmon/hwmon1/in1_input": "19000\n",
        "class/hwmon/hwmon1/in1_label": "VDD_IN\n",
        "class/hwmon/hwmon1/curr1_input": "",
    },
    power_supply: {
        "class/power_supply/BAT0/type": "Battery\n",
        "class/power_supply/BAT0/voltage_now": "12000000\n",
    },
}


@pytest.mark.parametrize("source", TREES, ids=lambda source: source.__name__.rpartition(".")[2])
def test_what_does_not_answer_is_let_go_of(tmp_path, source):
    for name, text in TREES[source].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    source.discover(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        found = source.discover(tmp_path)
        assert len(found.problems) == 1
        assert found.probes == []
    assert len(os.listdir("/proc/self/fd")) == before
