from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.config import section_of
from components.datasets.policy import Policy
from components.errors import ConfigError
from components.steps.augment import AugmentConfig


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        pytest.param({"rotat": 1.0}, r"augment\.policy\.rotat: unknown key\. Did you mean 'rotate'", id="unknown key"),
        pytest.param({"rotate": "ten"}, "found 'ten'; expected a valid number", id="wrong type"),
        pytest.param({"auto": "autoaugment"}, "'none', 'trivial' or 'randaugment'", id="unknown name"),
        pytest.param({"horizontal_flip": 1.5}, "found 1.5; expected less than or equal to 1", id="no probability"),
    ],
)
def test_a_wrong_policy_is_explained(policy: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        section_of({"augment": {"policy": policy}}, AugmentConfig)


def test_a_whole_number_is_a_number() -> None:
    assert section_of({"augment": {"policy": {"rotate": 10}}}, AugmentConfig).policy == Policy(rotate=10.0)


def test_the_document_explains_each_key_once() -> None:
    text = (Path(__file__).parents[3] / "docs/tasks.md").read_text(encoding="utf-8")
    table = text.split("## The random policy")[1].split("\n## ")[0]
    keys = [key for line in table.splitlines() if line.startswith("| `") for key in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(keys) == sorted(Policy.model_fields)
