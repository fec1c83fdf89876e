"""The package's public names, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import model


def test_names_are_sorted_and_each_has_one_home() -> None:
    homes = [name for names in model._HOMES.values() for name in names]
    assert sorted(homes) == sorted(model.__all__) and len(set(homes)) == len(homes)
    assert list(model.__all__) == sorted(model.__all__)


@pytest.mark.parametrize("name", model.__all__)
def test_names_are_there(name: str) -> None:
    assert getattr(model, name).__name__ == name


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        model.nonsense  # noqa: B018


def test_errors_prompts_and_settings_do_not_load_torch() -> None:
    code = (
        "import sys, model.image.auto_config, model.errors, model.prompts; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
