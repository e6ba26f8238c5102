from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main

ROOT = Path(__file__).parents[2]


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from flows.cli import main
assert main(["--help"]) == 0
heavy = {"torch", "mlflow", "prefect", "dvc", "pandas", "great_expectations", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("run", "status", "demo", "up", "down", "serve", "report", "predict", "explain", "data", "models"):
        assert f"\n  {command}" in done.stdout


@pytest.mark.parametrize("group", [[], ["data"], ["models"]])
def test_every_command_is_told_in_one_line(group: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*group, "--help"]) == 0
    commands = capsys.readouterr().out.partition("Commands:")[2]
    assert commands
    assert "..." not in commands


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("darkroom 0.")


@pytest.fixture
def told(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command and return its exit code and what it says."""

    def run(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out + captured.err

    return run


def test_status_says_beforehand_which_and_why(told: Callable[..., tuple[int, str]], project: Path) -> None:
    code, text = told("status")
    assert code == 0
    assert "first                       has not run yet" in text
    assert "2 of 2 stages would run" in text
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=project, check=True, env={**os.environ, "PATH": path})
    assert "everything is up to date" in told("status")[1]
    (project / "in.txt").write_text("new")
    text = told("status")[1]
    assert "first                       in.txt modified" in text
    assert "second                      follows first" in text


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        pytest.param(["run", "--until", "secnd"], 2, "unknown stage 'secnd'. Did you mean 'second'?", id="stage"),
        pytest.param(["run", "--set", "toy.times"], 2, "expected SECTION.KEY=VALUE", id="assignment"),
        pytest.param(["run", "-S", "toi.times=2"], 2, "unknown section 'toi'. Did you mean 'toy'?", id="section"),
        pytest.param(["predict", "none.png"], 2, "none.png not found", id="image"),
        pytest.param(["report"], 2, "made at the end of: darkroom run", id="report"),
        pytest.param(["rum"], 2, "No such command 'rum'. Did you mean 'run'? How it goes: darkroom --help", id="command"),
        pytest.param(["models"], 2, "Usage: darkroom models", id="nothing asked"),
        pytest.param(["models", "rollback", "--to"], 2, "'--to' requires an argument. How it goes: darkroom models rollback --help", id="no value"),
        pytest.param(["models", "rollback", "--to", "x"], 2, "Invalid value for '--to'", id="value"),
        pytest.param(["models", "promote"], 2, "Missing argument 'NAME/V'. How it goes: darkroom models promote --help", id="argument"),
        pytest.param(["predict", "in.txt", "--out", "nowhere/out.csv"], 2, "there is no folder nowhere", id="folder"),
        pytest.param(["predict", "in.txt", "--model", "."], 2, ". is no bundle: it holds no bundle.json", id="bundle"),
        pytest.param(["data", "import", "nowhere"], 2, "nowhere", id="source"),
    ],
)
def test_bad_input_is_told_in_a_line(
    told: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, expected: str
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # no server: what is wrong is said before one is asked
    found, text = told(*arguments)
    assert found == code, text
    assert expected in text


def test_a_server_that_is_away_is_transient(told: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code, text = told("run", "--until", "first")
    assert code == 75
    assert "the Prefect server at http://127.0.0.1:9/api does not answer" in text


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(("  lr: 0.004", "  lrr: 0.004"), "train.lrr: unknown key. Did you mean 'lr'?", id="key"),
        pytest.param(("batch_size: 64", "batch_size: many"), "train.batch_size: found 'many'", id="type"),
        pytest.param(("model: resnet9", "model: resnet99"), "unknown model 'resnet99'", id="model"),
        pytest.param(("optimizer: adamw", "optimizer: adam3"), "train.optimizer: found 'adam3'", id="optimizer"),
        pytest.param(("name: classification", "name: clasification"), "unknown task 'clasification'. Did you mean 'classification'?", id="task"),
        pytest.param(("[onnx,", "[onix,"), "unknown export format 'onix'. Did you mean 'onnx'?", id="format"),
    ],
)
def test_params_are_checked_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: tuple[str, str], expected: str) -> None:
    from components.__main__ import check_params
    from components.errors import ConfigError

    text = (ROOT / "params.yaml").read_text()
    assert edit[0] in text
    (tmp_path / "params.yaml").write_text(text.replace(*edit))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        check_params({})
    assert expected in str(caught.value)


def test_a_wrong_value_is_told_before_anything_is_started_or_written(
    told: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, project / name)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code, text = told("run", "-S", "train.lr=fast")
    assert code == 2, text
    assert text.splitlines()[-1] == "darkroom: params.yaml: train.lr: found 'fast'; expected a valid number"
    assert (project / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_the_committed_params_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    from components.__main__ import check_params

    monkeypatch.chdir(ROOT)
    check_params({})


def test_no_git_repository(told: Callable[..., tuple[int, str]], project: Path) -> None:
    shutil.rmtree(project / ".git")
    code, text = told("status")
    assert code == 2
    assert "git init" in text


def test_import_brings_a_dataset_under_dvc(told: Callable[..., tuple[int, str]], project: Path) -> None:
    code, text = told("data", "import", "sklearn:digits")
    assert code == 0, text
    assert "1,797 images" in text
    assert "--set data.name=digits" in text
    assert (project / "data" / "digits.dvc").exists()
    assert (project / "data" / "digits" / "manifest.parquet").exists()
