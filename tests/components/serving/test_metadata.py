from __future__ import annotations

import json
from importlib import metadata

import pytest

from components.errors import DataError
from components.records import DatasetRef, ModelSpec, Preprocess
from components.serving.metadata import KEY, pack, unpack

SPEC = ModelSpec(
    task="classification",
    model="resnet9",
    classes=["ein Bär", "猫"],
    preprocess=Preprocess(size_hw=(32, 48), channels=3, resize="letterbox"),
    mean=[0.1, 0.2, 0.3],
    std=[1 / 3, 0.5, 0.7],
    dataset=DatasetRef(name="pets", version="1.0", manifest_digest="0" * 64, num_images=7),
    training_digest="1" * 64,
)


def test_what_is_packed_comes_back() -> None:
    found = unpack(pack(SPEC))
    assert found.spec == SPEC
    assert found.versions["torch"] == metadata.version("torch")
    assert pack(SPEC) == pack(SPEC.model_copy())


def test_missing_and_damaged_metadata_are_explained() -> None:
    with pytest.raises(DataError, match=r"model\.onnx has no metadata under 'darkroom'"):
        unpack({"other": "text"}, "model.onnx")
    with pytest.raises(DataError, match="damaged"):
        unpack({KEY: pack(SPEC)[KEY][:-9]})
    with pytest.raises(DataError, match=r"spec\.classes"):
        unpack({KEY: json.dumps(json.loads(pack(SPEC)[KEY]) | {"spec": SPEC.model_dump(mode="json") | {"classes": 3}})})
