from __future__ import annotations

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
