from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.errors import DataError
from components.records import ModelSpec
from components.training.inference import predict
from components.training.model_files import load_model, save_model
from components.training.resizing import resized


def test_a_model_comes_back_in_a_fresh_process_and_the_same_weights_are_the_same_bytes(problem: Any, tmp_path: Path) -> None:
    model = problem.model().eval()
    for name in ("a", "b"):
        save_model(tmp_path / name, model.to(memory_format=torch.channels_last), problem.spec)
    assert (tmp_path / "a/weights.safetensors").read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()
    code = "import sys, torch; from pathlib import Path; from components.training.model_files import load_model; " + (
        "m, s = load_model(Path(sys.argv[1])); torch.save((m.state_dict(), m(torch.ones(1, 1, 8, 8)), s.classes), sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a"), str(tmp_path / "there")], check=True)
    state, logits, classes = torch.load(tmp_path / "there")
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    torch.testing.assert_close(logits, model(torch.ones(1, 1, 8, 8)))  # in another process, with its own number of threads
    assert classes[0] == "north-west"


def test_files_that_are_missing_damaged_or_do_not_belong_together(problem: Any, make_spec: Callable[..., ModelSpec], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"spec\.json not found"):
        load_model(tmp_path)
    save_model(tmp_path, problem.model(), make_spec(model_options={"width": 8}))
    with pytest.raises(DataError, match=r"weights\.safetensors does not fit"):
        load_model(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="is no safetensors file"):
        load_model(tmp_path)


def test_predictions_do_not_depend_on_the_batch_and_leave_the_model_as_it_was(problem: Any) -> None:
    model = problem.model().train()
    model.network.stem.eval()
    one, many = (np.stack(predict(problem.task, model, problem.val.images, batch_size=size)) for size in (1, 32))
    np.testing.assert_allclose(one, many, atol=1e-5)
    assert model.training
    assert model.network.head.training
    assert not model.network.stem.training


def test_a_vision_transformer_goes_to_another_size(problem: Any, make_spec: Callable[..., ModelSpec]) -> None:
    from components.records import Preprocess

    preprocess = Preprocess(size_hw=(32, 32), channels=1, resize="stretch")
    spec = make_spec(model="vit_b_32", model_options={}, preprocess=preprocess)
    model = problem.task.build_model(spec)
    larger, changed = resized(problem.task, model, spec, (64, 64))
    assert changed.preprocess.size_hw == (64, 64)
    assert larger(torch.rand(1, 1, 64, 64)).shape == (1, 4)
    assert torch.equal(larger.state_dict()["network.conv_proj.weight"], model.state_dict()["network.conv_proj.weight"])
    assert resized(problem.task, model, spec, (32, 32)) == (model, spec)
