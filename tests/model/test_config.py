"""Sizes are rows of numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from model.config import SIZES, config_from_dict, config_to_dict, sam2_config
from model.errors import ModelError


@pytest.mark.parametrize("size", SIZES)
def test_a_config_survives_json_shaped_values(size: str) -> None:
    config = sam2_config(size, version="2.0", image_size=512)
    values = config_to_dict(config)
    values["trunk"] = {k: list(v) if isinstance(v, tuple) else v for k, v in values["trunk"].items()}
    assert config_from_dict(values) == config


def test_the_published_stages() -> None:
    assert SIZES["tiny"].trunk.stage_ends == (0, 2, 9, 11)
    assert SIZES["base_plus"].trunk.stage_ends == (1, 4, 20, 23)
    assert SIZES["large"].trunk.widths == (144, 288, 576, 1152)


def test_an_unknown_size_suggests_the_nearest() -> None:
    with pytest.raises(ModelError, match="did you mean 'large'"):
        sam2_config("larg")


@pytest.mark.parametrize(("field", "value"), [("image_size", 100), ("version", "3.0"), ("dim", 100)])
def test_unusable_numbers_are_named(field: str, value: object) -> None:
    with pytest.raises(ModelError, match=str(value)):
        replace(SIZES["nano"], **{field: value})


@pytest.mark.parametrize("values", [{}, {"trunk": {}}, {"size": "x", "trunk": 3}])
def test_a_wrong_description_is_an_error(values: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="no description"):
        config_from_dict(values)
