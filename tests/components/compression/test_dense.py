from components.compression.dense import plugin
from components.protocols import Context


def test_the_model_stays_as_it_is(trained_digits, tmp_path):
    record = plugin.compress(trained_digits, tmp_path, None, tmp_path / "dense", Context())
    names = sorted(path.name for path in (tmp_path / "dense").iterdir())
    assert names == ["spec.json", "summary.json", "weights.safetensors"]
    assert all((tmp_path / "dense" / name).read_bytes() == (trained_digits / name).read_bytes() for name in names)
    assert record.num_parameters > 0
