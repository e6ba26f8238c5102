from __future__ import annotations

from pathlib import Path

import pytest

from components.config import read_params, section_of
from components.datasets.checks.config import Levels, ValidateConfig
from components.errors import ConfigError

ROOT = Path(__file__).parents[4]


def test_params_yaml_names_every_rule_with_its_default() -> None:
    section = read_params(ROOT / "params.yaml")["validate"]
    assert section["levels"].keys() == Levels.model_fields.keys()
    assert section_of({"validate": section}, ValidateConfig).levels == Levels()


@pytest.mark.parametrize(
    ("section", "text"),
    [
        pytest.param(
            {"levels": {"alpa": "warn"}}, r"levels\.alpa: unknown key. Did you mean 'alpha'\? There are: alpha, animated", id="unknown rule"
        ),
        pytest.param({"levels": {"alpha": "loud"}}, r"levels\.alpha: found 'loud'; expected 'fail', 'warn' or 'off'", id="unknown level"),
        pytest.param({"levels": {"label_errors": "fail"}}, r"label_errors: found 'fail'; expected 'warn' or 'off'", id="a report never refuses"),
        pytest.param({"drift": {"levl": 0.1}}, r"drift\.levl: unknown key", id="unknown key of drift"),
    ],
)
def test_what_is_not_known_is_refused_with_what_there_is(section: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        section_of({"validate": section}, ValidateConfig)
