import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from components.compression._options import CompressConfig
from components.compression._statistics import measure_statistics
from components.compression.pruned import _gradients, check_convolutional, output_layers, plugin, prune_to, pruned_copy
from components.datasets.composed import scenes
from components.datasets.prepared import PreparedSplit
from components.errors import InputError
from components.networks.classification.models import build
from components.networks.structure import structure_of
from components.protocols import Context
from components.protocols import plugin as find_plugin
from components.records import DatasetRef, ModelSpec, Preprocess
from components.training.model_files import load_model, load_spec, save_model
from components.training.multiply_adds import multiply_adds
from components.training.problem import Problem

FAMILIES = ["resnet18", "mobilenet_v3_small", "vgg11_bn", "densenet121", "resnet9", "whitened_vgg"]
PREPROCESS = Preprocess(size_hw=(32, 32), channels=3, resize="stretch")

#: Everything that is done with a trained model, in a process that has never seen it.
FRESH_PROCESS = """
import sys
from pathlib import Path
import numpy as np, torch
from components.datasets.policy import Policy
from components.datasets.prepared import PreparedSplit
from components.protocols import Context, plugin
from components.training.loop import fit
from components.training.model_files import load_model
from components.training.options import FitOptions
from components.training.problem import Problem
import pandas as pd

for folder in map(Path, sys.argv[1:]):
    model, spec = load_model(folder)
    expected = np.load(folder / "expected.npz")
    images = torch.from_numpy(expected["images"])
    task = plugin("components.tasks", "task", spec.task)
    with torch.inference_mode():
        loaded = task.deploy_graph(model, spec)(images).numpy()
    np.testing.assert_allclose(loaded, expected["logits"], rtol=1e-4, atol=1e-4)
    rows = pd.DataFrame({"image_id": ["a", "b", "c", "d"], "label": spec.classes[:4]})
    split = PreparedSplit(expected["images"], rows, np.arange(4))
    options = FitOptions(epochs=1, lr=1e-3, batch_size=4, optimizer="sgd", device="cpu", precision="float32")
    evaluator = plugin("components.evaluation.metrics", "task", spec.task)(spec.classes)
    trained = fit(Problem(model, spec, task, evaluator, split, split), options, Policy(), context=Context())
    assert np.isfinite(trained.history[0]["train_loss"])
    graph = task.deploy_graph(model, spec)
    with torch.inference_mode():
        eager = graph(images).numpy()
    assert not np.allclose(eager, expected["logits"])
    for name in ("torch_export", "onnx") if folder.name == "mobilenet_v3_small" else ("torch_export",):
        exporter = plugin("components.exporters", "format", name)
        exporter.export(graph, images[:2], None, {}, folder / exporter.file_name)
        exported = exporter.runner(folder / exporter.file_name, 1)(images.numpy())["logits"]
        np.testing.assert_allclose(exported, eager, rtol=1e-3, atol=1e-3)
"""


def spec_of(name, options=None):
    return ModelSpec(
        task="classification",
        model=name,
        model_options=options or {},
        classes=[f"c{index}" for index in range(10)],
        preprocess=PREPROCESS,
        mean=[0.5, 0.5, 0.5],
        std=[0.2, 0.2, 0.2],
        dataset=DatasetRef(name="d", version="1", manifest_digest="0" * 64, num_images=1),
        training_digest="1" * 64,
    )


def network_of(spec):
    torch.manual_seed(0)
    return find_plugin("components.tasks", "task", "classification").build_model(spec).eval()


def cost(network):
    return multiply_adds(network, PREPROCESS)


@pytest.fixture(scope="module")
def pruned_families(tmp_path_factory):
    """A pruned model of each family in a folder, with the logits it gives."""
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    folders = {}
    for name in FAMILIES:
        spec = spec_of(name)
        dense = network_of(spec)
        network = pruned_copy(dense, torch.zeros(2, 3, 32, 32), 0.5, {})
        spec = spec.model_copy(update={"structure": structure_of(network)})
        folders[name] = tmp_path_factory.mktemp("pruned") / name
        save_model(folders[name], network, spec)
        graph = find_plugin("components.tasks", "task", "classification").deploy_graph(network, spec)
        with torch.inference_mode():
            np.savez(folders[name] / "expected.npz", images=images, logits=graph(torch.from_numpy(images)).numpy())
        (folders[name] / "costs.json").write_text(json.dumps([cost(dense), cost(network)]))
    return folders


def test_a_fresh_process_loads_trains_and_exports_every_family(pruned_families):
    command = [sys.executable, "-W", "ignore", "-c", FRESH_PROCESS, *map(str, pruned_families.values())]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.parametrize("name", FAMILIES)
def test_channels_are_really_gone(pruned_families, name):
    before, after = json.loads((pruned_families[name] / "costs.json").read_text())
    assert after < 0.75 * before
    model, spec = load_model(pruned_families[name])
    assert cost(model) == after
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == spec.structure


def test_a_pruned_network_can_be_pruned_again(pruned_families):
    model, _ = load_model(pruned_families["mobilenet_v3_small"])
    again = pruned_copy(model, torch.zeros(2, 3, 32, 32), 0.3, {})
    assert cost(again) < 0.9 * cost(model)


def test_the_target_is_met_closely():
    dense = network_of(spec_of("resnet9", {"width": 16}))
    network = prune_to(dense, torch.zeros(2, 3, 32, 32), 0.5 * cost(dense), cost, {})
    assert 0.46 * cost(dense) < cost(network) <= 0.5 * cost(dense)
    assert all(layer.out_channels % 8 == 0 for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))


def test_a_network_too_narrow_for_blocks_of_channels_meets_the_target_too():
    dense = network_of(spec_of("resnet9", {"width": 4}))
    assert 0.46 * cost(dense) < cost(prune_to(dense, torch.zeros(2, 3, 32, 32), 0.5 * cost(dense), cost, {})) <= 0.5 * cost(dense)


def test_what_matters_least_goes_first():
    """Half the channels of one block are nearly silent: a tenth of all channels is taken from there."""
    dense = network_of(spec_of("resnet9", {"width": 16}))
    block = dense.network.stage3[2]
    with torch.no_grad():
        for tensor in (block.first[0].weight[:64], block.first[1].weight[:64], block.second[0].weight[:, :64]):
            tensor.mul_(0.01)
    network = pruned_copy(dense, torch.zeros(2, 3, 32, 32), 0.1, {})
    removed = {name: old - network.state_dict()[name].shape[0] for name, old in rows_of(dense).items()}
    assert removed.pop("network.stage3.2.first.0.weight") >= 40
    assert max(removed.values()) <= 8


def test_a_thin_layer_does_not_lose_half_of_itself_for_one_channel():
    dense = network_of(spec_of("resnet9", {"width": 16}))
    network = pruned_copy(dense, torch.zeros(2, 3, 32, 32), 0.02, {}, block=8)
    lost = {name: old - rows_of(network)[name] for name, old in rows_of(dense).items()}
    assert all(number % 8 == 0 for number in lost.values())
    assert sum(lost.values()) <= 0.02 * sum(rows_of(dense).values())


def test_the_channels_of_a_detector_are_weighed_by_its_loss():
    names = [str(number) for number in range(10)]
    of = {"task": "detection", "model": "yolo_nano", "classes": names, "preprocess": Preprocess(size_hw=(64, 64), channels=1, resize="stretch")}
    spec = spec_of("yolo_nano").model_copy(update=of | {"mean": [0.5], "std": [0.25]})
    drawn = list(scenes(6))
    rows = pd.DataFrame({"image_id": names[:6], "boxes_xyxy": [scene.boxes_xyxy.tolist() for scene in drawn]})
    rows["box_labels"] = [scene.labels for scene in drawn]
    split = PreparedSplit(np.stack([scene.pixels[..., None] for scene in drawn]), rows, np.arange(6))
    task = find_plugin("components.tasks", "task", "detection")
    evaluator = find_plugin("components.evaluation.metrics", "task", "detection")(names)
    torch.manual_seed(0)
    dense = task.build_model(spec).eval()
    gradients = _gradients(Problem(dense, spec, task, evaluator, split, split), batch_size=4)
    weights = {name: weight for name, weight in dense.named_parameters() if weight.ndim == 4}
    assert all(gradients[name].isfinite().all() and gradients[name].any() for name in weights)
    network = pruned_copy(dense, torch.zeros(2, 1, 64, 64), 0.4, gradients, block=8)
    assert multiply_adds(network, spec.preprocess) < 0.7 * multiply_adds(dense, spec.preprocess)
    measure_statistics(network, split)
    with torch.inference_mode():
        assert task.predict(network, torch.zeros(1, 1, 64, 64)) is not None


def test_a_recovery_that_only_harms_is_said_and_undone(trained_digits, prepared_digits, tmp_path, caplog):
    options = {
        "variants": ["pruned"],
        "target_macs": 0.9,
        "recovery": {"epochs": 1, "lr": 30.0, "optimizer": "sgd", "clip_norm": 1.0, "device": "cpu"},
    }
    record = plugin.compress(trained_digits, prepared_digits, CompressConfig.model_validate(options), tmp_path / "out", Context())
    assert record.best_epoch == 0
    assert record.value == record.start_value
    assert "no epoch was better than the pruned network as it was" in caplog.text


def rows_of(network):
    return {name: len(weight) for name, weight in network.state_dict().items() if weight.ndim == 4}


def test_a_target_out_of_reach_is_refused_with_the_numbers():
    dense = network_of(spec_of("resnet9", {"width": 8}))
    with pytest.raises(InputError, match=r"compress.target_macs: found 0.00; pruning this network leaves 0.\d\d at least"):
        prune_to(dense, torch.zeros(2, 3, 32, 32), 1000, cost, {})


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "fc"), ("squeezenet1_1", "classifier.1"), ("mobilenet_v2", "classifier.1")])
def test_the_layer_that_makes_the_logits_is_found(name, layer):
    network = build(name, 10, 3, (64, 64), {})
    assert output_layers(network, torch.zeros(2, 3, 64, 64)) == [network.get_submodule(layer)]


def test_a_network_that_cannot_be_traced_is_refused(prepared_digits, trained_digits, tmp_path):
    spec = load_spec(trained_digits).model_copy(update={"model": "shufflenet_v2_x0_5", "model_options": {}})
    save_model(tmp_path / "model", network_of(spec), spec)
    with pytest.raises(InputError, match=r"model shufflenet_v2_x0_5 cannot be pruned \(.*take 'pruned' out of compress.variants"):
        recovered(tmp_path / "model", prepared_digits, tmp_path / "out")


def test_attention_is_refused_before_it_is_traced():
    with pytest.raises(InputError, match=r"model v cannot be pruned: 1 \(MultiheadAttention\) is neither convolution nor linear layer"):
        check_convolutional(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.MultiheadAttention(8, 2)), "v")


def recovered(model, data, out, importance="magnitude"):
    options = CompressConfig.model_validate(
        {
            "variants": ["pruned"],
            "importance": importance,
            "recovery": {"epochs": 2, "lr": 0.003, "batch_size": 64, "device": "cpu", "precision": "float32", "distill": {"weight": 0.5}},
        }
    )
    return plugin.compress(model, data, options, out, Context())


@pytest.mark.parametrize("importance", ["magnitude", "taylor"])
def test_recovery_brings_the_accuracy_back(trained_digits, prepared_digits, tmp_path, importance):
    record = recovered(trained_digits, prepared_digits, tmp_path / "pruned", importance)
    dense, spec = load_model(trained_digits)
    assert record.multiply_adds <= 0.5 * multiply_adds(dense, spec.preprocess)
    assert record.start_value < record.value
    assert record.value > 0.9


def test_the_same_inputs_give_the_same_bytes(trained_digits, prepared_digits, tmp_path):
    for name in ("first", "second"):
        recovered(trained_digits, prepared_digits, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["history.csv", "spec.json", "summary.json", "weights.safetensors"]
    assert all((tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes() for name in names)
