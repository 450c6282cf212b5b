import pytest
from msgspec import Struct

from evenwatt_collector.carbon.annual import IntensityTable
from evenwatt_collector.carbon.providers.settings import GridSettings, annual_row, check_grids
from evenwatt_daemon import Failure, load_settings

TABLE = IntensityTable.packaged()


class File(Struct, forbid_unknown_fields=True, kw_only=True):
    grids: list[GridSettings] = []


@pytest.fixture
def load(tmp_path):
    def loading(text):
        path = tmp_path / "collector.toml"
        path.write_text(text)
        settings = load_settings(File, path)
        check_grids(str(path), settings.grids, TABLE)
        return settings.grids

    return loading


EVERY = """
[[grids]]
name = "US-CAL-CISO"
annual = "US-CA"

  [[grids.sources]]
  type = "electricity-maps"
  zone = "US-CAL-CISO"
  token_file = "/etc/evenwatt/electricity-maps.key"
  granularity = "5_minutes"

  [[grids.sources]]
  type = "watttime"
  region = "CAISO_NORTH"
  username = "sre"
  password_file = "/etc/evenwatt/watttime.key"

  [[grids.sources]]
  type = "neso"
  postcode = "RG10"

  [[grids.sources]]
  type = "entsoe"
  zone = "10Y1001A1001A82H"
  token_file = "/etc/evenwatt/entsoe.key"

  [[grids.sources]]
  type = "eia"
  respondent = "CISO"
  token_file = "/etc/evenwatt/eia.key"

  [[grids.sources]]
  type = "carbon-aware-sdk"
  base_url = "http://carbon-aware.internal:8080"
  location = "westus"
  kind = "average"
  basis = "lifecycle"

  [[grids.sources]]
  type = "file"
  path = "/var/lib/series.csv"
  origin = 2026-01-01T00:00:00Z
"""


def test_every_kind_of_source(load):
    (grid,) = load(EVERY)
    assert len(grid.sources) == 7
    assert annual_row(grid, TABLE).code == "US-CA"


@pytest.mark.parametrize(("name", "row"), [("DE", "DE"), ("US-CAL-CISO", "US"), ("US-CA", "US-CA"), ("IT-NO", "IT")])
def test_the_annual_row_is_the_name_or_its_country(load, name, row):
    (grid,) = load(f'[[grids]]\nname = "{name}"\n')
    assert annual_row(grid, TABLE).code == row


SOURCE = '[[grids]]\nname = "DE"\n[[grids.sources]]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[grids]]\nname = "DE"\n[[grids]]\nname = "DE"\n', "'DE' stands twice"),
        ('[[grids]]\nname = "Germny"\n', "did you mean 'DE'?"),
        ('[[grids]]\nname = "here"\n', "set annual to the ISO 3166 code"),
        ('[[grids]]\nname = "DE"\nannual = "XX"\n', "grids[0].annual'"),
        (SOURCE + 'type = "electricitymaps"\nzone = "DE"\ntoken_file = "x"\n', "electricitymaps"),
        (SOURCE + 'type = "electricity-maps"\nzone = "DE"\n', "token_file"),
        (SOURCE + 'type = "electricity-maps"\nzone = "DE"\ntoken = "abc"\ntoken_file = "x"\n', "token"),
        (SOURCE + 'type = "electricity-maps"\nzone = ""\ntoken_file = "x"\n', "zone"),
        (SOURCE + 'type = "neso"\nbase_url = "ftp://x"\n', "base_url"),
        (SOURCE + 'type = "neso"\npostcode = "RG10"\nregion = 12\n', "keep one of them"),
        (SOURCE + 'type = "neso"\n[[grids.sources]]\ntype = "neso"\n', "'neso' is taken; set name"),
        (SOURCE + 'type = "neso"\nname = "annual-average"\n', "is taken"),
        (SOURCE + 'type = "entsoe"\nzone = "DE"\ntoken_file = "x"\n', "zone"),
        (SOURCE + 'type = "file"\npath = "x.xlsx"\n', "neither .csv nor .parquet"),
        (SOURCE + 'type = "file"\npath = "x.csv"\norigin = 2026-01-01T00:00:00\n', "has no offset"),
        (SOURCE + 'type = "carbon-aware-sdk"\nbase_url = "http://x"\nlocation = "eastus"\n', "kind"),
    ],
)
def test_a_mistake_is_named_with_its_key(load, text, says):
    with pytest.raises(Failure) as caught:
        load(text)
    assert says in str(caught.value)
    assert "collector.toml" in str(caught.value)
