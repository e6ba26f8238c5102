from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.__main__ import main
from components.config import TaskConfig
from components.errors import ConfigError
from components.protocols import Context, NullTracker
from components.records import TrainRecord
from components.steps.train import TrainConfig, train
from components.training.model_files import load_model, load_spec

TASK = TaskConfig(name="classification", image_size=16, channels=1)
SMALL: dict[str, Any] = {"model_options": {"width": 8}, "epochs": 2, "batch_size": 64, "lr": 0.01, "schedule": "onecycle"}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    folder = tmp_path / "start"
    folder.mkdir()
    (folder / "start.json").write_text('{"source": null}')
    return folder


class Tags(NullTracker):
    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.params: dict[str, Any] = {}

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.tags |= tags

    def log_params(self, params: Mapping[str, Any]) -> None:
        self.params |= params


def test_it_learns_and_leaves_a_model_that_the_same_inputs_give_again(
    prepared_digits: Path, start: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tags()
    scratch = tmp_path / "scratch"
    with caplog.at_level(logging.INFO):
        record = train(TrainConfig(**SMALL), TASK, prepared_digits, start, tmp_path / "a", Context(tracker, scratch))
    train(TrainConfig(**SMALL), TASK, prepared_digits, start, tmp_path / "b", Context())
    assert record.value > 0.7
    assert record == TrainRecord.load(tmp_path / "a/summary.json")
    assert record.loaded == "random weights"
    for name in ("weights.safetensors", "spec.json", "summary.json", "history.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert (tmp_path / "a/history.csv").read_text().startswith("epoch,train_loss,val_loss,val_accuracy,lr\n1,")
    assert tracker.tags["dataset"] == load_spec(tmp_path / "a").dataset.name
    assert tracker.params["lr"] == 0.01
    assert tracker.params["device"] in ("cpu", "cuda")
    assert "on the validation images, from epoch" in caplog.text

    caplog.clear()
    with caplog.at_level(logging.INFO):  # its outputs were lost before they were recorded: nothing is learnt twice
        train(TrainConfig(**SMALL), TASK, prepared_digits, start, tmp_path / "again", Context(scratch=scratch))
    assert "epoch 1/2" not in caplog.text
    assert "epoch 2/2" not in caplog.text
    assert (tmp_path / "again/weights.safetensors").read_bytes() == (tmp_path / "a/weights.safetensors").read_bytes()
    assert (tmp_path / "again/history.csv").read_bytes() == (tmp_path / "a/history.csv").read_bytes()


def test_a_registered_model_passes_through_without_training(prepared_digits: Path, trained_digits: Path, start: Path, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "spec.json"):
        (start / name).write_bytes((trained_digits / name).read_bytes())
    (start / "start.json").write_text(json.dumps({"source": "models:/digits/7"}))
    config = TrainConfig(**SMALL | {"epochs": 0, "init": "registered"})
    record = train(config, TASK, prepared_digits, start, tmp_path / "out", Context())
    assert (tmp_path / "out/weights.safetensors").read_bytes() == (trained_digits / "weights.safetensors").read_bytes()
    assert (record.best_epoch, record.num_epochs) == (0, 0)
    assert (tmp_path / "out/history.csv").read_text() == "epoch,train_loss,val_accuracy,lr\n"
    assert record.value == record.start_value == TrainRecord.load(trained_digits / "summary.json").value
    assert "registered: " in record.loaded


def test_balanced_classes_and_a_torchvision_model(prepared_digits: Path, start: Path, tmp_path: Path) -> None:
    config = TrainConfig(model="squeezenet1_1", epochs=1, batch_size=256, class_weights="balanced")
    task = TASK.model_copy(update={"image_size": 16})
    with pytest.raises(ConfigError, match="cannot take images of 16×16 px"):
        train(config, task, prepared_digits, start, tmp_path / "out", Context())
    config = TrainConfig(model="mobilenet_v3_small", epochs=1, batch_size=256, class_weights="balanced")
    assert train(config, task, prepared_digits, start, tmp_path / "out", Context()).num_parameters > 1_000_000
    assert load_model(tmp_path / "out")[1].model == "mobilenet_v3_small"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": "resnet99"}, "unknown model 'resnet99'"),
        ({"epochs": 0}, "nothing would be learnt"),
        ({"class_weights": {"ten": 2.0}}, "unknown class in class_weights 'ten'"),
    ],
)
def test_wrong_settings_leave_what_was_there(prepared_digits: Path, start: Path, tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/weights.safetensors").write_text("the one before")
    with pytest.raises(ConfigError, match=text):
        train(TrainConfig(**SMALL | changes), TASK, prepared_digits, start, tmp_path / "out", Context())
    assert (tmp_path / "out/weights.safetensors").read_text() == "the one before"


def test_weights_that_cannot_be_downloaded_may_be_tried_again(
    prepared_digits: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of whoever asked first
    Path("params.yaml").write_text(
        "task: {name: classification, image_size: 16, channels: 1}\ntrain: {model: mobilenet_v3_small, init: 'torchvision:IMAGENET1K_V1'}\n"
    )
    assert main(["train", "--data", str(prepared_digits), "--start", str(start), "--out", "model"]) == 75
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train:")]
    assert "could not be downloaded" in line
