"""docs/intensity.md names every source, every key, every trouble and every tag."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from evenwatt_collector.carbon.providers.contract import Trouble
from evenwatt_collector.carbon.providers.settings import GridSettings, Source
from evenwatt_collector.carbon.series import Standing

DOCS = (Path(__file__).parents[3] / "docs" / "intensity.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", get_args(Source))
def test_every_source_and_key_is_documented(source):
    assert f"`{source.__struct_config__.tag}`" in DOCS
    for field in msgspec.structs.fields(source):
        assert f"`{field.name}`" in DOCS


def test_every_key_of_a_grid_trouble_and_tag_is_documented():
    for field in msgspec.structs.fields(GridSettings):
        assert field.name in DOCS
    for word in (*Trouble, *Standing):
        assert f"`{word}`" in DOCS
