"""`darkroom models …` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import main


@pytest.mark.parametrize(
    "arguments",
    [
        *(["models", *asked] for asked in (["list"], ["show", "digits/1"], ["history"], ["history", "digits"])),
        *([command, __file__, "--model", "digits@champion"] for command in ("predict", "explain")),
        ["down"],
    ],
)
def test_a_folder_that_is_no_project_is_told_and_left_as_it_is(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(arguments) == 2
    assert "params.yaml not found. Run the command in the folder that holds params.yaml" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
