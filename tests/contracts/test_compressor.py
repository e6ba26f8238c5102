"""What every compressor has to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.compression._options import CompressConfig
from components.datasets.prepared import Prepared
from components.protocols import Compressor, Context, plugin, plugin_names
from components.records import TrainRecord
from components.training.inference import predict
from components.training.model_files import load_model, load_spec

OPTIONS = CompressConfig.model_validate({"variants": ["dense"], "recovery": {"epochs": 1, "lr": 0.003, "device": "cpu", "precision": "float32"}})


@pytest.fixture(params=plugin_names("components.compression"), scope="module")
def made(request: pytest.FixtureRequest, trained_digits: Path, prepared_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compressor: Compressor = plugin("components.compression", "variant", request.param)
    out = tmp_path_factory.mktemp(request.param) / "model"
    record = compressor.compress(trained_digits, prepared_digits, OPTIONS, out, Context())
    assert TrainRecord.load(out / "summary.json") == record
    return out


def test_it_is_a_model_of_the_same_task(made: Path, trained_digits: Path) -> None:
    before, after = load_spec(trained_digits), load_spec(made)
    assert after.model_copy(update={"structure": None}) == before


def test_it_computes_no_more(made: Path, trained_digits: Path) -> None:
    before, after = TrainRecord.load(trained_digits / "summary.json"), TrainRecord.load(made / "summary.json")
    assert after.multiply_adds <= before.multiply_adds
    assert after.num_parameters <= before.num_parameters
    model, _ = load_model(made)
    assert sum(parameter.numel() for parameter in model.parameters()) == after.num_parameters


def test_its_record_tells_its_accuracy(made: Path, prepared_digits: Path) -> None:
    model, spec = load_model(made)
    val = Prepared.open(prepared_digits).split("val")
    evaluator = plugin("components.evaluation.metrics", "task", spec.task)(spec.classes)
    predictions = predict(plugin("components.tasks", "task", spec.task), model, val.images)
    record = TrainRecord.load(made / "summary.json")
    assert evaluator.score(evaluator.statistics(predictions, evaluator.targets(val.rows)))[record.metric] == pytest.approx(record.value, abs=0.004)
