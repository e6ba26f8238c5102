import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.datasets.prepared import Prepared
from components.errors import DataError
from components.protocols import Context
from components.steps.evaluate import EvaluateConfig, evaluate

CONFIG = EvaluateConfig(num_resamples=200)


@pytest.fixture(scope="module")
def with_cameras(prepared_digits, tmp_path_factory):
    """The prepared digits with a column of metadata that says who is an odd digit."""
    folder = tmp_path_factory.mktemp("evaluate") / "data"
    shutil.copytree(prepared_digits, folder)
    rows = pd.read_parquet(folder / "test/rows.parquet")
    rows["camera"] = np.where(rows["label"].astype(int) % 2 == 1, "odd", "even")
    rows.to_parquet(folder / "test/rows.parquet", index=False)
    return folder


@pytest.fixture(scope="module")
def evaluated(with_cameras, trained_digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "evaluation"
    record = evaluate(CONFIG, with_cameras, trained_digits, out, Context())
    return record, out


def test_metrics_are_flat_numbers_with_intervals(evaluated):
    record, out = evaluated
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["num_images"] == record.num_images == 397
    assert metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"]
    assert metrics["accuracy"] > 0.9
    assert 0.05 < metrics["baseline_accuracy"] < 0.15
    assert {"top3_accuracy", "top5_accuracy", "precision", "recall", "f1", "calibration_error", "nll"} <= set(metrics)


def test_predictions_agree_with_the_metrics(evaluated, with_cameras):
    record, out = evaluated
    table = pd.read_parquet(out / "predictions.parquet")
    assert list(table.columns) == ["image_id", "label", "predicted_label", "score", "probabilities"]
    assert list(table["image_id"]) == list(Prepared.open(with_cameras).split("test").rows["image_id"])
    assert (table["label"] == table["predicted_label"]).mean() == pytest.approx(record.metrics["accuracy"].value)
    assert np.stack(table["probabilities"]).max(axis=1) == pytest.approx(table["score"].to_numpy())


def test_tables_of_classes_slices_and_confusion(evaluated):
    record, out = evaluated
    per_class = pd.read_csv(out / "per_class.csv")
    assert per_class["support"].sum() == 397
    slices = pd.read_csv(out / "slices.csv")
    assert set(slices["value"]) == {"odd", "even"}
    assert slices["metric"].is_monotonic_increasing
    assert (slices["images"] * slices["metric"]).sum() / 397 == pytest.approx(record.metrics["accuracy"].value, abs=1e-4)
    confusion = pd.read_csv(out / "confusion.csv")
    assert list(confusion.columns) == ["label", "predicted"]
    assert (confusion["label"] == confusion["predicted"]).mean() == pytest.approx(record.metrics["accuracy"].value)


def test_images_of_a_group_make_the_intervals_wider(evaluated, with_cameras, trained_digits, tmp_path):
    record, _ = evaluated
    shutil.copytree(with_cameras, tmp_path / "data")
    rows = pd.read_parquet(tmp_path / "data/test/rows.parquet")
    rows["group"] = "writer " + (np.arange(len(rows)) // 40).astype(str).astype(object)
    rows.to_parquet(tmp_path / "data/test/rows.parquet", index=False)
    found, before = evaluate(CONFIG, tmp_path / "data", trained_digits, tmp_path / "out", Context()).metrics["accuracy"], record.metrics["accuracy"]
    assert found.value == before.value
    assert found.high - found.low > before.high - before.low


def test_every_mistake_is_listed_the_worst_first(evaluated):
    _, out = evaluated
    mistakes, predictions = pd.read_csv(out / "mistakes.csv"), pd.read_parquet(out / "predictions.parquet")
    wrong = predictions[predictions["label"] != predictions["predicted_label"]]
    assert sorted(mistakes["number"]) == list(wrong.index)
    assert predictions["image_id"][mistakes["number"]].tolist() == mistakes["image_id"].tolist()
    assert predictions["score"][mistakes["number"]].is_monotonic_decreasing


def test_pictures_can_be_seen(evaluated):
    _, out = evaluated
    for name in ("mistakes", "confusion", "reliability"):
        with Image.open(out / "pictures" / f"{name}.png") as picture:
            assert min(picture.size) > 100


def test_the_same_inputs_give_the_same_bytes(evaluated, with_cameras, trained_digits, tmp_path):
    _, out = evaluated
    evaluate(CONFIG, with_cameras, trained_digits, tmp_path / "again", Context())
    names = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert len(names) == 9
    assert [(tmp_path / "again" / name).read_bytes() for name in names] == [(out / name).read_bytes() for name in names]


def test_an_empty_test_split_is_an_error(with_cameras, trained_digits, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(with_cameras, folder)
    images = np.load(folder / "test/images-16x16.npy")
    np.save(folder / "test/images-16x16.npy", images[:0])
    pd.read_parquet(folder / "test/rows.parquet").iloc[:0].to_parquet(folder / "test/rows.parquet", index=False)
    with pytest.raises(DataError, match=r"the test split of .* is empty; set split.shares"):
        evaluate(CONFIG, folder, trained_digits, tmp_path / "out", Context())
    assert not (tmp_path / "out").exists()


def test_a_model_of_other_classes_is_refused(with_cameras, trained_digits, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(with_cameras, folder)
    record = json.loads((folder / "prepared.json").read_text())
    record["classes"][0] = "zero"
    (folder / "prepared.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="Train on this data first"):
        evaluate(CONFIG, folder, trained_digits, tmp_path / "out", Context())
