import json
import shutil

import pytest

from components.errors import DataError
from components.files import sha256_of
from components.records import ExportRecord, ParityRecord
from components.registry.bundle import accepted_artifacts, assemble, digest_of, seal, training_images, verify
from tests.components.registry.conftest import Project, write_onnx


def test_the_digest_says_what_serves_and_not_how_it_was_measured(project: Project) -> None:
    project.train(0.9)
    first = assemble(project.root, "toy", "dense-onnx", ["dense-onnx"], project.root / "a")
    parity = project.root / "models" / "exported" / "dense-onnx" / "parity.json"
    ParityRecord.load(parity).model_copy(update={"agreement": 0.5}).save(parity)
    (project.root / "reports" / "benchmark" / "dense-onnx.json").unlink()
    assert assemble(project.root, "toy", "dense-onnx", ["dense-onnx"], project.root / "b").digest == first.digest
    assert digest_of("pruned-onnx", first.files) != first.digest
    project.train(0.91)
    assert assemble(project.root, "toy", "dense-onnx", ["dense-onnx"], project.root / "c").digest != first.digest


def test_the_training_images_are_those_learnt_from_and_chosen_by(project: Project) -> None:
    project.train(0.9)
    assemble(project.root, "toy", "dense-onnx", [], project.root / "a")
    sides = list(training_images(project.root / "a").values())
    assert (sides.count("train"), sides.count("val"), len(sides)) == (360, 40, 400)


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "record"])
def test_a_damaged_bundle_is_noticed(project: Project, damage: str) -> None:
    project.train(0.9)
    folder = project.root / "a"
    seal(folder, assemble(project.root, "toy", "dense-onnx", [], folder))
    verify(folder)
    if damage == "changed":
        (folder / "source" / "weights.safetensors").write_bytes(b"other")
    elif damage == "missing":
        (folder / "training_images.parquet").unlink()
    elif damage == "added":
        (folder / "dense-onnx" / "more.bin").write_bytes(b"")
    else:
        record = json.loads((folder / "bundle.json").read_text())
        record["digest"] = "0" * 64
        (folder / "bundle.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="is damaged"):
        verify(folder)


def test_an_artifact_of_a_format_that_was_dropped_is_left_out(project: Project) -> None:
    project.train(0.9)
    exported = project.root / "models" / "exported"
    shutil.copytree(exported / "dense-onnx", exported / "dense-onnx_int8")
    record = ExportRecord.load(exported / "dense-onnx" / "artifact.json")
    record.model_copy(update={"format": "onnx_int8"}).save(exported / "dense-onnx_int8" / "artifact.json")
    assert [export.name for export in accepted_artifacts(project.root, "dense-onnx", [])] == ["dense-onnx"]


@pytest.mark.parametrize("field", ["classes", "mean"])
def test_what_any_artifact_says_inside_is_held_against_the_model(project: Project, field: str) -> None:
    """Also one that does not serve, and also where the record beside it was made to fit."""
    project.train(0.9)
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("[dense]", "[dense, pruned]"))
    exported = project.root / "models" / "exported"
    shutil.copytree(exported / "dense-onnx", exported / "pruned-onnx")
    spec = project.spec().model_copy(update={field: project.spec().model_dump()[field][::-1] if field == "classes" else [0.9]})
    write_onnx(exported / "pruned-onnx" / "model.onnx", spec, 200)
    record = ExportRecord.load(exported / "dense-onnx" / "artifact.json")
    changed = {"variant": "pruned", "sha256": sha256_of(exported / "pruned-onnx" / "model.onnx"), "spec": spec}
    record.model_copy(update=changed).save(exported / "pruned-onnx" / "artifact.json")
    with pytest.raises(DataError, match=f"pruned-onnx: the artifact says {field} is "):
        assemble(project.root, "toy", "dense-onnx", [], project.root / "a")
