"""Where a person's settings are looked for, and that the sample is a complete one."""

from __future__ import annotations

import tomllib
from pathlib import Path

from msgspec.structs import fields

from evenwatt_cli.operator_settings import OperatorSettings, load

ROOT = Path(__file__).parents[2]


def test_ones_own_settings_come_before_the_machines(tmp_path, monkeypatch):
    monkeypatch.delenv("EVENWATT_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in (".evenwatt", ".config/evenwatt"):
        file = tmp_path / folder / "operator.toml"
        file.parent.mkdir(parents=True)
        file.write_text(f'zone = "{folder}"')
        assert load(None).zone == folder


def test_the_sample_names_every_key_and_is_read():
    sample = ROOT / "packaging" / "operator.toml"
    assert set(tomllib.loads(sample.read_text())) == {each.name for each in fields(OperatorSettings)}
    assert load(sample).mqtt.port == 8883


def test_the_fleet_has_one_name_in_samples_and_manual():
    for name in ("agent", "collector", "operator"):
        assert tomllib.loads((ROOT / "packaging" / f"{name}.toml").read_text())["fleet"] == "fleet"
    for file in (ROOT / "docs").glob("*.md"):
        assert "--fleet example" not in file.read_text(), file
