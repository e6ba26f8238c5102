from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from components.config import read_params, section_of
from components.datasets.manifest import read_dataset, read_manifest
from components.errors import ConfigError
from components.steps.split import SplitConfig, assign_sides
from flows.demo_versions import make_version

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    root = tmp_path_factory.mktemp("demo")
    frames = {}
    for version in ("1.0", "1.1", "1.2"):
        make_version(version, root, PARAMS)
        assert read_dataset(root / "digits").version == f"{version}.0"
        frames[version] = read_manifest(root / "digits").set_index("image_id")
    shutil.rmtree(root)
    return frames


def test_the_young_version_has_one_label_in_twenty_wrong_but_none_of_those_that_judge(versions: dict[str, pd.DataFrame]) -> None:
    young, complete = versions["1.0"], versions["1.1"]
    assert len(young) == 400
    assert len(complete) == 1797
    wrong = young["label"] != complete["label"].reindex(young.index)
    sides = assign_sides(section_of(read_params(PARAMS), SplitConfig), young.reset_index())
    judging = (sides == "test").to_numpy()
    assert not wrong[judging].any()
    assert wrong[~judging].mean() == pytest.approx(0.05, abs=0.005)
    assert (young["sha256"] == complete["sha256"].reindex(young.index)).all()


def test_the_spoilt_version_adds_damaged_files_and_copies_under_other_labels(versions: dict[str, pd.DataFrame]) -> None:
    complete, spoilt = versions["1.1"], versions["1.2"]
    assert list(spoilt.index[:1797]) == list(complete.index)
    delivered = spoilt.iloc[1797:]
    damaged = delivered[~delivered.index.str.contains("relabelled")]
    assert {name.split("/")[1] for name in damaged.index} == {"truncated", "empty", "text"}
    copies = delivered.drop(damaged.index)
    labels = complete.drop_duplicates("sha256").set_index("sha256")["label"]
    assert len(copies) == 60
    assert (copies["label"].to_numpy() != labels.reindex(copies["sha256"]).to_numpy()).all()


def test_an_unknown_version_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There are: 1\.0, 1\.1, 1\.2"):
        make_version("2.0", tmp_path, PARAMS)
