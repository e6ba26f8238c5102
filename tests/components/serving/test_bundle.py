from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.datasets.prepared import Prepared
from components.errors import ConfigError, DataError
from components.protocols import plugin
from components.records import BundleRecord
from components.serving.bundle import Bundle
from components.training.inference import predict
from components.training.model_files import load_model

WITHOUT_TORCH = """
import sys
from pathlib import Path
for name in ("torch", "torchvision", "mlflow", "prefect", "dvc", "great_expectations"):
    sys.modules[name] = None
from components.serving.bundle import Bundle
from components.serving.predict import predict_files, table
print(table(predict_files(Bundle.open(Path(sys.argv[1])), [Path(sys.argv[2])])))
"""


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*/[01]*.png"))]


@pytest.mark.parametrize("artifact", [None, "dense-onnx", "dense-onnx_int8"])
def test_original_bytes_give_what_the_model_says(
    bundle_folder: Path, digit_files: Path, trained_digits: Path, prepared_digits: Path, artifact: str | None
) -> None:
    bundle = Bundle.open(bundle_folder, artifact)
    network, spec = load_model(trained_digits)
    images = np.array(Prepared.open(prepared_digits).split("test").images[:12])
    eager = np.array(predict(plugin("components.tasks", "task", spec.task), network, images))
    own = np.array(bundle.predict(contents(digit_files)))
    np.testing.assert_allclose(own, eager, atol=0.1 if artifact == "dense-onnx_int8" else 1e-5)
    np.testing.assert_allclose(bundle.predict(contents(digit_files) * 7)[-12:], own, atol=1e-5)
    assert bundle.classes == spec.classes
    row = bundle.columns(bundle.predict(contents(digit_files)[:1])[0])
    assert row["label"] == spec.classes[int(eager[0].argmax())]
    assert row["score"] == pytest.approx(row["probabilities"][row["label"]])


def test_no_image_gives_no_prediction(bundle_folder: Path) -> None:
    assert Bundle.open(bundle_folder).predict([]) == []


def test_a_damaged_image_is_named(bundle_folder: Path, digit_files: Path) -> None:
    bundle = Bundle.open(bundle_folder)
    broken = (digit_files / "a" / "broken.png").read_bytes()
    with pytest.raises(DataError, match="image 1: "):
        bundle.predict([contents(digit_files)[0], broken])
    with pytest.raises(DataError, match=r"seven\.png: "):
        bundle.predict([broken], ["seven.png"])


def test_a_changed_artifact_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    path = tmp_path / "bundle" / "dense-onnx" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.onnx was changed"):
        Bundle.open(tmp_path / "bundle")
    path.unlink()
    with pytest.raises(DataError, match=r"model\.onnx is missing"):
        Bundle.open(tmp_path / "bundle")


def test_an_artifact_with_other_classes_than_its_bundle_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    record = BundleRecord.load(tmp_path / "bundle" / "bundle.json")
    record.model_copy(update={"classes": record.classes[::-1]}).save(tmp_path / "bundle" / "bundle.json")
    with pytest.raises(DataError, match="not of this bundle"):
        Bundle.open(tmp_path / "bundle")


def test_unknown_artifacts_and_those_that_need_torch_are_explained(bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dense-onnx, dense-onnx_int8"):
        Bundle.open(bundle_folder, "dense-onx")
    with pytest.raises(ConfigError, match="serves from: dense-onnx, dense-onnx_int8"):
        Bundle.open(bundle_folder, "dense-torch_export")
    with pytest.raises(DataError, match=r"bundle\.json not found"):
        Bundle.open(tmp_path)


def test_serving_needs_no_torch(bundle_folder: Path, digit_files: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(bundle_folder), str(digit_files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 13
