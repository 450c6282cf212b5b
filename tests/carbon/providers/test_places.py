import pytest

from evenwatt_collector.carbon.annual import IntensityTable
from evenwatt_collector.carbon.places import Places, Published, UnknownPlaceError

PLACES = Places.packaged()
TABLE = IntensityTable.packaged()


def test_every_region_has_a_grid_of_last_resort_and_figures_that_can_be():
    assert len(PLACES.all) > 140
    for place in PLACES.all:
        row = TABLE.row(place.annual)
        assert row.code.startswith(place.country)
        assert place.pue is None or (1 < place.pue.value < 2 and 2020 <= place.pue.year <= place.year)
        assert place.wue_l_per_kwh is None or 0 <= place.wue_l_per_kwh.value < 5
        zone = place.electricity_maps_zone
        assert zone is None or zone.startswith(place.country)
        assert place.source
        assert place.licence


def test_a_region_is_found_with_its_years():
    place = PLACES.find("aws", "eu-central-1")
    assert (place.country, place.electricity_maps_zone, place.watttime_region) == ("DE", "DE", "DE")
    assert (place.pue, place.wue_l_per_kwh) == (Published(1.35, 2024), Published(0.01, 2024))
    assert PLACES.find("aws", "us-east-1").annual == "US-VA"
    assert PLACES.find("gcp", "asia-south1").pue is None, "what is not published is not made up"


@pytest.mark.parametrize(
    ("provider", "region", "says"),
    [
        ("aws", "eu-centrl-1", "did you mean 'eu-central-1'?"),
        ("aws", "moon", "name its grid and pue yourself"),
        ("digitalocean", "fra1", "it has aws, azure, gcp, oci"),
    ],
)
def test_a_region_that_is_not_there(provider, region, says):
    with pytest.raises(UnknownPlaceError) as caught:
        PLACES.find(provider, region)
    assert says in str(caught.value)


def test_the_annual_table_has_countries_states_and_chinese_provinces():
    codes = TABLE.codes
    assert sum(len(code) == 2 for code in codes) > 200
    assert sum(code.startswith("US-") for code in codes) == 51, "fifty states and the capital's district"
    assert sum(code.startswith("CN-") for code in codes) == 30
    for code in codes:
        row = TABLE.row(code)
        assert 0 < row.intensity_g_per_kwh < 1500
        assert row.year >= 2000
        assert row.source
        assert row.licence
