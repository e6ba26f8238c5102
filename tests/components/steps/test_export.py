from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.config import section_of
from components.errors import ConfigError, DataError, GateRefused
from components.files import sha256_of
from components.records import BenchmarkRecord, ExportRecord, ParityRecord
from components.steps.export import ExportConfig, export

FORMATS = ["onnx", "onnx_int8", "torch_export"]


def run(model: Path, data: Path, folder: Path, format_: str = "onnx", **config: object) -> ExportRecord:
    settings = ExportConfig(formats=FORMATS, **config)
    return export(settings, "dense", format_, data, model, folder / f"dense-{format_}", folder / f"{format_}.json")


def few_training_images(data: Path, folder: Path, keep: np.ndarray) -> Path:
    """A copy of prepared data with only the training images that `keep` chooses."""
    shutil.copytree(data, folder)
    train = folder / "train"
    np.save(train / "images-16x16.npy", np.load(train / "images-16x16.npy")[keep])
    np.save(train / "order.npy", np.arange(len(keep)))
    pq.write_table(pq.read_table(train / "rows.parquet").take(keep), train / "rows.parquet")
    return folder


@pytest.mark.parametrize("format_", FORMATS)
def test_outputs_are_complete_and_true(exported_digits: Path, format_: str) -> None:
    out = exported_digits / f"dense-{format_}"
    record = ExportRecord.load(out / "artifact.json")
    parity = ParityRecord.load(out / "parity.json")
    costs = BenchmarkRecord.load(exported_digits / "benchmark" / f"dense-{format_}.json")
    assert record.name == costs.artifact == f"dense-{format_}"
    assert record.refusals == []
    assert record.file is not None
    assert {path.name for path in out.iterdir()} == {record.file, "artifact.json", "parity.json"}
    assert record.sha256 == sha256_of(out / record.file)
    assert record.num_bytes == costs.num_bytes == (out / record.file).stat().st_size
    assert parity.num_images == 397
    assert parity.agreement > 0.98
    assert costs.accuracy == parity.artifact["accuracy"] > 0.9
    assert (costs.speedup is not None) == (format_ == "onnx_int8")


def test_int8_is_smaller(exported_digits: Path) -> None:
    sizes = {name: ExportRecord.load(exported_digits / f"dense-{name}" / "artifact.json").num_bytes or 0 for name in ("onnx", "onnx_int8")}
    assert sizes["onnx_int8"] < 0.35 * sizes["onnx"]


def test_same_inputs_give_same_bytes(exported_digits: Path, trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    run(trained_digits, prepared_digits, tmp_path, "onnx_int8")
    for name in ("model.onnx", "artifact.json", "parity.json"):
        assert (tmp_path / "dense-onnx_int8" / name).read_bytes() == (exported_digits / "dense-onnx_int8" / name).read_bytes()


def test_too_few_calibration_images_are_refused_not_warned(trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    data = few_training_images(prepared_digits, tmp_path / "data", np.arange(100))
    record = run(trained_digits, data, tmp_path, "onnx_int8")
    assert (record.file, record.sha256, record.num_bytes) == (None, None, None)
    assert record.refusals[0].budget == "calibration_images"
    assert (record.refusals[0].found, record.refusals[0].limit) == (100, 128)
    assert [path.name for path in (tmp_path / "dense-onnx_int8").iterdir()] == ["artifact.json"]
    assert ExportRecord.load(tmp_path / "dense-onnx_int8" / "artifact.json") == record
    costs = BenchmarkRecord.load(tmp_path / "onnx_int8.json")
    assert costs.latency_ms_median is None
    assert "128" in costs.warnings[0]


def test_a_class_with_few_calibration_images_is_refused(trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    labels = pq.read_table(prepared_digits / "train" / "rows.parquet").column("label").to_numpy()
    keep = np.sort(np.concatenate([np.flatnonzero(labels != "4"), np.flatnonzero(labels == "4")[:7]]))
    record = run(trained_digits, few_training_images(prepared_digits, tmp_path / "data", keep), tmp_path, "onnx_int8")
    assert [(refusal.budget, refusal.found) for refusal in record.refusals] == [("calibration_class_images", 7)]
    assert record.file is None


def test_required_and_refused_stops_with_outputs_complete(trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    data = few_training_images(prepared_digits, tmp_path / "data", np.arange(100))
    with pytest.raises(GateRefused, match="dense-onnx_int8 is required and refused: 100 training images") as refused:
        run(trained_digits, data, tmp_path, "onnx_int8", required=["dense-onnx_int8"])
    assert refused.value.exit_code == 3
    assert ExportRecord.load(tmp_path / "dense-onnx_int8" / "artifact.json").refusals
    assert BenchmarkRecord.load(tmp_path / "onnx_int8.json").warnings


def test_an_artifact_outside_its_budget_is_refused_with_its_numbers(trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    record = run(trained_digits, prepared_digits, tmp_path, max_difference=1e-12)
    assert [refusal.budget for refusal in record.refusals] == ["max_difference"]
    assert record.refusals[0].found == ParityRecord.load(tmp_path / "dense-onnx" / "parity.json").max_difference
    assert (tmp_path / "dense-onnx" / "model.onnx").exists()


@pytest.mark.parametrize(("on_slow", "budgets"), [("warn", []), ("refuse", ["min_speedup"])])
def test_slow_is_judged_on_the_lower_bound(trained_digits: Path, prepared_digits: Path, tmp_path: Path, on_slow: str, budgets: list[str]) -> None:
    record = run(trained_digits, prepared_digits, tmp_path, "onnx_int8", min_speedup=1000.0, on_slow=on_slow)
    costs = BenchmarkRecord.load(tmp_path / "onnx_int8.json")
    assert [refusal.budget for refusal in record.refusals] == budgets
    assert costs.speedup is not None
    assert f"the lower end of its 95% interval, {costs.speedup.low:.2f} to {costs.speedup.high:.2f}, is less than 1000" in costs.warnings[0]
    assert all(refusal.found == costs.speedup.low for refusal in record.refusals)


def test_a_network_that_cannot_be_exported_is_refused(
    trained_digits: Path, prepared_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from components.networks.normalisation import Normalised

    plain = Normalised.forward

    def forward(self: Normalised, images_NCHW: torch.Tensor) -> torch.Tensor:
        return plain(self, images_NCHW if images_NCHW.max() > 0 else images_NCHW + 1)

    monkeypatch.setattr(Normalised, "forward", forward)
    record = run(trained_digits, prepared_digits, tmp_path)
    assert [refusal.budget for refusal in record.refusals] == ["export"]
    assert record.file is None


def test_empty_test_split_is_named(trained_digits: Path, prepared_digits: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(prepared_digits, data)
    np.save(data / "test" / "images-16x16.npy", np.zeros((0, 16, 16, 1), np.uint8))
    rows = pq.read_table(data / "test" / "rows.parquet")
    pq.write_table(rows.slice(0, 0), data / "test" / "rows.parquet")
    with pytest.raises(DataError, match="test split is empty"):
        run(trained_digits, data, tmp_path)
    assert not (tmp_path / "dense-onnx").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"formats": ["onnx8"]}, r"export.formats: .*unknown export format 'onnx8'.* onnx, onnx_int8, torch_export", id="format"),
        pytest.param({"formats": ["onnx"], "required": ["dense-onxx"]}, "export.required: .*dense-onxx", id="required"),
        pytest.param({"formats": []}, "export.formats", id="no format"),
        pytest.param({"num_calibration": 64}, "export.num_calibration: found 64", id="calibration"),
        pytest.param({"on_slow": "stop"}, "export.on_slow", id="on_slow"),
    ],
)
def test_wrong_configuration_is_explained(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        section_of({"export": values}, ExportConfig)
