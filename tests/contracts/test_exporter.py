"""What every exporter has to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.datasets.prepared import Prepared
from components.errors import DataError
from components.protocols import Exporter, plugin, plugin_names
from components.serving.metadata import pack, unpack
from components.training.inference import predict
from components.training.model_files import load_model

ROOT = Path(__file__).parents[2]
TASK = plugin("components.tasks", "task", "classification")
POSTPROCESS = plugin("components.serving.postprocess", "task", "classification")


@pytest.fixture(params=plugin_names("components.exporters"), scope="module")
def exporter(request: pytest.FixtureRequest) -> Exporter:
    return plugin("components.exporters", "exporter", request.param)


@pytest.fixture(scope="module")
def artifact(exporter: Exporter, trained_digits: Path, prepared_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(exporter, trained_digits, prepared_digits, tmp_path_factory.mktemp(exporter.format))


def write(exporter: Exporter, model: Path, data: Path, folder: Path) -> Path:
    network, spec = load_model(model)
    calibration = np.array(Prepared.open(data).split("train").images[:128]) if exporter.needs_calibration else None
    path = folder / exporter.file_name
    exporter.export(TASK.deploy_graph(network, spec), torch.zeros((2, 16, 16, 1), dtype=torch.uint8), calibration, pack(spec), path)
    return path


def test_names_itself(exporter: Exporter) -> None:
    assert exporter is plugin("components.exporters", "exporter", exporter.format)


def test_artifact_does_what_the_model_does(exporter: Exporter, artifact: Path, trained_digits: Path, prepared_digits: Path) -> None:
    network, _ = load_model(trained_digits)
    images = np.array(Prepared.open(prepared_digits).split("test").images)
    eager = np.array(predict(TASK, network, images))
    own = np.array(POSTPROCESS.predictions(exporter.runner(artifact, 1)(images)))
    assert np.abs(own - eager).max() < (0.25 if exporter.needs_calibration else 1e-5)
    assert (own.argmax(1) == eager.argmax(1)).mean() > 0.98


@pytest.mark.parametrize("batch", [1, 3])
def test_batch_size_is_free(exporter: Exporter, artifact: Path, prepared_digits: Path, batch: int) -> None:
    images = np.array(Prepared.open(prepared_digits).split("test").images[:5])
    runner = exporter.runner(artifact, 1)
    outputs = runner(images[:batch])
    assert {name: output.shape for name, output in outputs.items()} == {"logits": (batch, 10)}
    np.testing.assert_allclose(outputs["logits"], runner(images)["logits"][:batch], atol=1e-4)


def test_metadata_stands_inside(exporter: Exporter, artifact: Path, trained_digits: Path) -> None:
    inside = unpack(exporter.runner(artifact, 1).metadata)
    assert inside.spec == load_model(trained_digits)[1]
    assert set(inside.versions) == {"darkroom", "onnx", "onnxruntime", "torch"}


def test_same_model_gives_same_bytes(exporter: Exporter, artifact: Path, trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    assert write(exporter, trained_digits, prepared_digits, tmp_path).read_bytes() == artifact.read_bytes()


def test_nothing_of_the_machine_stands_inside(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = artifact.read_bytes()
    for text in (ROOT, Path(torch.__file__).parent, tmp_path_factory.getbasetemp()):
        assert str(text).encode() not in content
    assert b'File "' not in content
    assert b"classification.py" not in content


def test_export_is_quiet(
    exporter: Exporter,
    trained_digits: Path,
    prepared_digits: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    write(exporter, trained_digits, prepared_digits, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


def test_damaged_artifact_is_named(exporter: Exporter, artifact: Path, tmp_path: Path) -> None:
    damaged = tmp_path / artifact.name
    damaged.write_bytes(artifact.read_bytes()[: artifact.stat().st_size // 2])
    with pytest.raises(DataError, match=artifact.name):
        exporter.runner(damaged, 1)
    with pytest.raises(DataError, match="missing"):
        exporter.runner(tmp_path / "missing" / artifact.name, 1)
