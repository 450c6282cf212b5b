from __future__ import annotations

import re

import pytest

from evenwatt_collector.__main__ import main
from evenwatt_collector.carbon import IntensityTable
from evenwatt_collector.settings import load
from evenwatt_daemon import Failure
from tests.support import make_key, make_trust

TABLE = IntensityTable.packaged()
KEYS = '[keys]\nprivate_key = "k"\ntrust = "t"\nroot = "r"\n'


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "collector.toml"
        path.write_text(text)
        return str(path)

    return write


def test_defaults_watch_every_zone_on_the_worlds_grid():
    settings = load(None, TABLE)
    facts = settings.facts("anything", TABLE)
    assert settings.zones == []
    assert facts.fallback_g_per_kwh == TABLE.row("WORLD").intensity_g_per_kwh
    assert "WORLD" in facts.fallback_detail
    assert settings.where.endswith("collector.db")


def test_a_zone_takes_its_grid_pue_or_an_operators_figure(write):
    text = '[[zones]]\nname = "a"\ngrid = "DE"\npue = 1.5\n[[zones]]\nname = "b"\nintensity_g_per_kwh = 42.0\n'
    settings = load(write(text), TABLE)
    german, own = settings.facts("a", TABLE), settings.facts("b", TABLE)
    assert (german.grid, german.pue, german.fallback_year) == ("DE", 1.5, TABLE.row("DE").year)
    assert (own.fallback_g_per_kwh, own.fallback_detail, own.fallback_year) == (42.0, "set by the operator", None)
    assert own.fallback_standing == "estimated"


def test_a_zone_may_name_a_configured_grid_with_sources_contract_devices_and_budgets(write, tmp_path):
    text = """
database = "postgresql://u@host/name"
[[grids]]
name = "US-CAL-CISO"
annual = "US-CA"
[[grids.sources]]
type = "eia"
respondent = "CISO"
token_file = "/etc/evenwatt/eia"
[[grids.sources]]
type = "file"
path = "ci.csv"
[[zones]]
name = "a"
grid = "US-CAL-CISO"
since = 2026-01-01T00:00:00Z
slot_s = 60
contract = { share = 0.5, g_per_kwh = 0.0 }
[[devices]]
nodes = "gpu-*"
embodied_kg = 1500.0
lifetime_years = 4.0
[[budgets]]
name = "day"
grams_per_day = 1e6
[keep]
minutes_days = 10
"""
    settings = load(write(text), TABLE)
    facts = settings.facts("a", TABLE)
    assert facts.order == ("eia", "file")
    assert facts.fallback_g_per_kwh == TABLE.row("US-CA").intensity_g_per_kwh
    assert facts.contract.share == 0.5
    assert settings.devices[0].facts.rate_g_per_s == pytest.approx(1.5e6 / (4 * 365.25 * 86_400))
    assert settings.where == "postgresql://u@host/name"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fleat = 'x'", "unknown key 'fleat': did you mean 'fleet'?"),
        ("[mqtt]\nhots = 'x'", "unknown key 'mqtt.hots': did you mean 'host'?"),
        ("[http]\nport = 99999", "key 'http.port'.*found 99999"),
        ("fleet = 'Not An Id'", "fleet 'Not An Id' is not an identifier"),
        ("[[zones]]\nname = 'UPPER'", "zone 'UPPER' is not an identifier"),
        ("[[zones]]\nname = 'a'\n[[zones]]\nname = 'a'", "zone 'a' stands twice"),
        ("[[zones]]\nname = 'a'\nbudget_w = 5.0", "budget of 5 W, but there is no .keys. table; set keys.private_key"),
        (KEYS + "[[zones]]\nname = 'a'\nbudget_w = 5.0\nunmanaged_w = 9.0", "9 W leaves nothing of the budget of 5 W"),
        ("[[zones]]\nname = 'a'\ngrid = 'de'", "no grid 'de'.*did you mean 'DE'?"),
        ("[[zones]]\nname = 'a'\ngrid = 'germany'", "no grid 'germany'.*did you mean 'DE'?"),
        ("[[zones]]\nname = 'a'\ngrid = 'USCA'", "did you mean 'US-CA'"),
        ("[[zones]]\nname = 'a'\ngrid = '!!'", "ISO 3166"),
        ("[[zones]]\nname = 'a'\nslot_s = 7", "slot_s.*found 7"),
        ("[[grids]]\nname = 'Nowhere'", "key 'grids.0..annual'.*ISO 3166"),
        ("[[grids]]\nname = 'DE'\n[[grids.sources]]\ntype = 'electricity'", "electricity"),
        ("[[devices]]\nnodes = '*'\nembodied_kg = 0\nlifetime_years = 4", "embodied_kg.*found 0"),
        ("[[budgets]]\nname = 'a'\n", "exactly one of grams_per_day and grams_per_month"),
        ("[[zones]]\nname = 'a'\npue = 0.5", r"pue.*found 0.5"),
        ("[[zones]]\nbudget_w = 5.0", "name"),
        ("[log]\nstyle = 'text'", "key 'log.style': expected one of 'auto', 'console', 'json', found 'text'"),
        ("[mqtt]\nqos = 2", "key 'mqtt.qos': expected one of 0, 1, found 2"),
        ("no toml", "not TOML"),
    ],
)
def test_bad_settings_name_key_found_and_fix(write, text, expected):
    with pytest.raises(Failure, match=re.compile(expected)) as caught:
        load(write(text), TABLE)
    assert caught.value.exit_code == 2
    assert "collector.toml" in str(caught.value)


def good_keys(tmp_path, role="controller", own=True):
    _, public = make_key(tmp_path / "k.pem")
    make_trust(tmp_path, [{"public": public, "role": role}] if own else [], fleet="fleet")
    files = {"private_key": "k.pem", "trust": "trust.json", "root": "root.pub"}
    return "[keys]\n" + "".join(f'{key} = "{tmp_path / name}"\n' for key, name in files.items())


def test_check_accepts_what_is_good_and_reads_the_files(write, tmp_path):
    zone = '[[zones]]\nname = "a"\nbudget_w = 500.0\ngrid = "FR"\n'
    assert main(["--check", "--config", write(good_keys(tmp_path) + zone)]) == 0


def test_a_budget_of_nothing_is_refused_by_its_own_name(write, tmp_path):
    with pytest.raises(Failure, match=r"zones.0..budget_w': found 0, .*leave it out to measure only"):
        load(write(good_keys(tmp_path) + '[[zones]]\nname = "a"\nbudget_w = 0\n'), TABLE)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ("missing", "k.pem: no such file"),
        ("garbage", "k.pem: .*must be Ed25519 in PEM form, not encrypted"),
        ("ring", "trust.json: is not signed; sign it"),
        ("stranger", "control is stopped: key .* is not trusted here"),
        ("role", "is a operator's in trust version 1; expected a controller's"),
        ("open", "a secret that others may read .mode 0644.; chmod 600"),
        ("root", "root.pub: .*give the root's public key"),
        ("password", "nopass: no such file"),
        ("ca", "must be the PEM certificate"),
    ],
)
def test_files_that_cannot_be_used_end_with_code_two(write, tmp_path, capsys, broken, expected):
    text = good_keys(tmp_path, role="operator" if broken == "role" else "controller", own=broken != "stranger")
    if broken == "missing":
        (tmp_path / "k.pem").unlink()
    elif broken == "garbage":
        (tmp_path / "k.pem").write_text("no key")
    elif broken == "ring":
        (tmp_path / "trust.json").write_text("[]")
    elif broken == "open":
        (tmp_path / "k.pem").chmod(0o644)
    elif broken == "root":
        (tmp_path / "root.pub").write_bytes((tmp_path / "root.pem").read_bytes())
    elif broken == "password":
        text += '[mqtt]\nusername = "u"\npassword_file = "/nopass"\n'
    elif broken == "ca":
        (tmp_path / "ca.pem").write_text("no certificate")
        text += f'[mqtt]\nca_file = "{tmp_path / "ca.pem"}"\n'
    assert main(["--check", "--config", write(text)]) == 2
    assert re.search(expected, capsys.readouterr().err)
