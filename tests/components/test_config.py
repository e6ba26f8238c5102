"""Wrong parameters are answered with the key, what was found and what there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field

from components.config import Section, TaskConfig, read_params, section_of
from components.errors import ConfigError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    rotate: float = 0.0


class ExampleConfig(Section):
    section: ClassVar[str] = "example"
    lr: float = Field(default=0.1, gt=0)
    epochs: int = 3
    policy: Inner = Inner()


def test_scientific_notation_without_a_dot_is_a_number_as_in_dvc(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("example:\n  lr: 1e-3\n")
    assert section_of(read_params(tmp_path / "params.yaml"), ExampleConfig).lr == 0.001


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"lrr": 1.0}, ["example.lrr", "unknown key", "Did you mean 'lr'?", "epochs"], id="unknown key"),
        pytest.param({"policy": {"rotat": 1.0}}, ["example.policy.rotat", "Did you mean 'rotate'?"], id="unknown key in a nested section"),
        pytest.param({"epochs": "three"}, ["example.epochs", "'three'", "integer"], id="wrong type"),
        pytest.param({"epochs": 2.5}, ["example.epochs", "2.5"], id="fraction where a count is wanted"),
        pytest.param({"lr": 0}, ["example.lr", "greater than 0"], id="out of bounds"),
        pytest.param({"lr": float("nan")}, ["example.lr", "finite"], id="not a number"),
        pytest.param([1, 2], ["example", "expected keys with values"], id="list for a section"),
    ],
)
def test_wrong_values_are_explained(values: object, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        section_of({"example": values}, ExampleConfig)
    for text in expected:
        assert text in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        section_of({"example": {"lrr": 1, "epochs": "x"}}, ExampleConfig)
    assert "example.lrr" in str(caught.value)
    assert "example.epochs" in str(caught.value)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"task\.image_size: missing"):
        section_of({"task": {"name": "classification"}}, TaskConfig)


@pytest.mark.parametrize(
    ("given", "size_hw", "finetune_size_hw"),
    [((64, None), (64, 64), (64, 64)), (([48, 64], 96), (48, 64), (96, 96)), ((64, [48, 64]), (64, 64), (48, 64))],
)
def test_images_are_squares_or_have_a_height_and_a_width(given: Any, size_hw: tuple[int, int], finetune_size_hw: tuple[int, int]) -> None:
    task = section_of({"task": {"name": "detection", "image_size": given[0], "finetune_image_size": given[1]}}, TaskConfig)
    assert (task.size_hw, task.finetune_size_hw) == (size_hw, finetune_size_hw)


@pytest.mark.parametrize("size", [2, 5000, 64.0, "64", [64], [64, 64, 3], [64, 0], True])
def test_other_sizes_are_refused_in_one_line(size: object) -> None:
    with pytest.raises(
        ConfigError, match=r"^params\.yaml: task\.image_size: found .*; expected pixels, 4 to 4096: one number .*, or \[height, width\]$"
    ):
        section_of({"task": {"name": "detection", "image_size": size}}, TaskConfig)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(None, "not found", id="missing"),
        pytest.param("a: [1", "not valid YAML", id="broken"),
        pytest.param("- 1\n", "expected sections", id="a list"),
        pytest.param("", "expected sections", id="empty"),
    ],
)
def test_unreadable_params_are_one_line(tmp_path: Path, content: str | None, expected: str) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_params(path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
