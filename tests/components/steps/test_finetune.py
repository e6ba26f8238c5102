from __future__ import annotations

from pathlib import Path

import pytest

from components.config import TaskConfig, section_of
from components.errors import ConfigError, DataError
from components.protocols import Context
from components.records import TrainRecord
from components.steps.finetune import FinetuneConfig, finetune
from components.training.model_files import load_model, load_spec, save_model
from components.training.optimizers import gradual

TASK = TaskConfig(name="classification", image_size=16, channels=1)


def test_it_goes_on_from_the_model_and_never_gives_a_worse_one(prepared_digits: Path, trained_digits: Path, tmp_path: Path) -> None:
    better = finetune(FinetuneConfig(epochs=2, lr_head=2e-3, lr_backbone=1e-3), TASK, prepared_digits, trained_digits, tmp_path / "a", Context())
    before = TrainRecord.load(trained_digits / "summary.json").value
    assert better.start_value == before
    assert better.value >= before
    wild = FinetuneConfig(epochs=1, lr_head=50.0, lr_backbone=50.0, optimizer="sgd", clip_norm=1.0, schedule="constant")
    worse = finetune(wild, TASK, prepared_digits, trained_digits, tmp_path / "b", Context())
    assert (worse.best_epoch, worse.value) == (0, before)
    assert (tmp_path / "b/weights.safetensors").read_bytes() == (trained_digits / "weights.safetensors").read_bytes()


def test_no_epochs_pass_the_model_through(prepared_digits: Path, trained_digits: Path, tmp_path: Path) -> None:
    finetune(FinetuneConfig(epochs=0), TASK, prepared_digits, trained_digits, tmp_path / "out", Context())
    for name in ("weights.safetensors", "spec.json"):
        assert (tmp_path / "out" / name).read_bytes() == (trained_digits / name).read_bytes()


def test_the_backbone_joins_from_the_head_downwards(trained_digits: Path) -> None:
    model, _ = load_model(trained_digits)
    names = [name for name, _ in model.named_parameters()]
    plan = gradual(model, names[-2:], 1e-2, 1e-3, 3)
    assert [(group.from_epoch, group.lr) for group in plan] == [(1, 1e-2), (2, 1e-3), (3, 1e-3), (4, 1e-3)]
    assert [name for group in reversed(plan) for name in group.names] == names
    at_once = gradual(model, names[-2:], 1e-2, 1e-3, 0)
    assert [(group.from_epoch, len(group.names)) for group in at_once] == [(1, 2), (1, len(names) - 2)]


def test_gradual_unfreezing_learns(prepared_digits: Path, trained_digits: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(epochs=2, unfreeze_epochs=1, lr_head=2e-3, lr_backbone=1e-3, policy_strength=0.0)
    assert finetune(config, TASK, prepared_digits, trained_digits, tmp_path / "out", Context()).num_epochs == 2


def test_a_random_policy_of_its_own_takes_the_place_of_augments(prepared_digits: Path, trained_digits: Path, tmp_path: Path) -> None:
    config = section_of({"finetune": {"epochs": 1, "policy": {"mosaic": 0.5}}}, FinetuneConfig)
    with pytest.raises(ConfigError, match=r"policy\.mosaic"):  # which labels cannot follow
        finetune(config, TASK, prepared_digits, trained_digits, tmp_path / "out", Context())
    with pytest.raises(ConfigError, match=r"finetune\.policy\.erasing: found 2"):
        section_of({"finetune": {"policy": {"erasing": 2.0}}}, FinetuneConfig)


def test_more_parts_than_epochs_are_refused() -> None:
    with pytest.raises(ConfigError, match="a part would never learn"):
        section_of({"finetune": {"epochs": 2, "unfreeze_epochs": 2}}, FinetuneConfig)


def test_a_model_of_other_classes_is_refused(prepared_digits: Path, trained_digits: Path, tmp_path: Path) -> None:
    model, spec = load_model(trained_digits)
    save_model(tmp_path / "other", model, spec.model_copy(update={"classes": list("abcdefghij")}))
    with pytest.raises(DataError, match="knows the classes a, b, c"):
        finetune(FinetuneConfig(epochs=1), TASK, prepared_digits, tmp_path / "other", tmp_path / "out", Context())
    assert load_spec(tmp_path / "other").classes[0] == "a"
