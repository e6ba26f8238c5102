import logging

import pytest

from components.compression._options import CompressConfig
from components.errors import ConfigError, InputError
from components.protocols import Context
from components.records import CompressRecord
from components.steps.compress import compress
from components.training.model_files import load_model, load_spec


def config(**settings):
    recovery = {"epochs": 1, "lr": 0.003, "device": "cpu", "precision": "float32"}
    return CompressConfig.model_validate({"variants": ["dense", "pruned"], "recovery": recovery} | settings)


def test_dense_costs_what_it_did(trained_digits, prepared_digits, tmp_path):
    record = compress(config(), "dense", prepared_digits, trained_digits, tmp_path / "dense", Context())
    assert record.multiply_adds == record.multiply_adds_before
    assert load_spec(tmp_path / "dense") == load_spec(trained_digits)


def test_pruned_says_what_it_lost(trained_digits, prepared_digits, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        record = compress(config(target_macs=0.4), "pruned", prepared_digits, trained_digits, tmp_path / "pruned", Context())
    assert 0.3 < record.multiply_adds / record.multiply_adds_before <= 0.4
    assert record.num_parameters < record.num_parameters_before
    assert CompressRecord.load(tmp_path / "pruned" / "compression.json") == record
    assert "of the multiply-adds" in caplog.text
    model, spec = load_model(tmp_path / "pruned")
    assert spec.structure
    assert sum(parameter.numel() for parameter in model.parameters()) == record.num_parameters


def test_a_killed_recovery_goes_on(trained_digits, prepared_digits, tmp_path):
    """Ctrl-C in the second epoch; the next run ends with the weights of one that was never stopped."""

    told = {}

    class Impatient:
        def log_params(self, params):
            told.update(params)

        def set_tags(self, tags):
            pass

        def log_metrics(self, metrics, step):
            raise KeyboardInterrupt

    policy = {"erasing": 0.3}
    settings = config(recovery={"epochs": 2, "policy": policy, "lr": 0.003, "device": "cpu", "precision": "float32", "checkpoint_minutes": 1e-6})
    compress(settings, "pruned", prepared_digits, trained_digits, tmp_path / "whole", Context())
    with pytest.raises(KeyboardInterrupt):
        compress(
            settings, "pruned", prepared_digits, trained_digits, tmp_path / "resumed", Context(tracker=Impatient(), scratch=tmp_path / "scratch")
        )
    assert told["policy"] == policy, "its own, not the one of the prepared data"
    assert not (tmp_path / "resumed").exists()
    assert list((tmp_path / "scratch").rglob("*.pt"))
    compress(settings, "pruned", prepared_digits, trained_digits, tmp_path / "resumed", Context(scratch=tmp_path / "scratch"))
    for name in ("weights.safetensors", "summary.json", "compression.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_unknown_variants_are_answered_with_those_there_are(trained_digits, prepared_digits, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown entry of compress.variants 'pruend'. Did you mean 'pruned'\? There are: dense, pruned"):
        compress(config(variants=["dense", "pruend"]), "dense", prepared_digits, trained_digits, tmp_path / "out", Context())


def test_a_target_out_of_reach_leaves_nothing(trained_digits, prepared_digits, tmp_path):
    with pytest.raises(InputError, match="set a larger share"):
        compress(config(target_macs=0.001), "pruned", prepared_digits, trained_digits, tmp_path / "out", Context())
    assert list(tmp_path.iterdir()) == []
