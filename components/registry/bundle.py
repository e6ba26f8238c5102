"""A model version as a folder: artifacts with their proofs, the weights they were made from, what they were trained on.

bundle.json                       BundleRecord; written last
VARIANT-FORMAT/                   the artifact, artifact.json, parity.json, benchmark.json
source/                           weights.safetensors, spec.json
training_images.parquet           image_id, sha256, split: train and val
lineage/                          lineage.json, params.yaml, dvc.lock
card.md
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.config import read_params
from components.datasets.prepared import Prepared
from components.errors import ConfigError, DataError, GateRefused, unknown_name
from components.files import sha256_of
from components.records import BundleRecord, ExportRecord, ModelSpec
from components.serving.metadata import unpack
from components.serving.onnx_runner import OnnxRunner

RECORD = "bundle.json"
TRAINING_IMAGES = "training_images.parquet"
SOURCE_FILES = ("weights.safetensors", "spec.json")
#: What is measured or told, and may differ between two bundles that hold the same model.
_NOT_IN_DIGEST = ("parity.json", "benchmark.json", "card.md", "lineage/")


def assemble(project: Path, name: str, artifact: str, required: Sequence[str], out: Path) -> BundleRecord:
    """Copy what makes a bundle from a project's folder into `out`; bundle.json is left for `seal`.

    Args:
        project: The folder with models/ and data/training.
        name: Under which the model is registered.
        artifact: VARIANT-FORMAT of the one that serves.
        required: VARIANT-FORMAT of those without which there is no bundle.
        out: A folder that does not exist.

    Raises:
        GateRefused: A required artifact was refused or not made.
        ConfigError: The artifact that is to serve does not exist or does not run without torch.
        DataError: An artifact is not the file that was proven.
    """
    accepted = accepted_artifacts(project, artifact, required)
    source = project / "models" / "tuned"
    spec = ModelSpec.load(source / "spec.json")
    out.mkdir(parents=True)
    for export in accepted:
        _copy_artifact(project, export, out / export.name)
        if str(export.file).endswith(".onnx"):
            _verify_inside(out / export.name / str(export.file), spec)
    (out / "source").mkdir()
    for file in SOURCE_FILES:
        shutil.copyfile(source / file, out / "source" / file)
    write_training_images(project, out / TRAINING_IMAGES)
    files = checksums(out)
    return BundleRecord(
        name=name,
        task=spec.task,
        classes=spec.classes,
        dataset=spec.dataset,
        training_digest=spec.training_digest,
        serving=artifact,
        artifacts=accepted,
        files=files,
        digest=digest_of(artifact, files),
    )


def seal(folder: Path, record: BundleRecord) -> BundleRecord:
    """Write bundle.json with the checksums of all files that are in the folder by now."""
    sealed = record.model_copy(update={"files": checksums(folder)})
    sealed.save(folder / RECORD)
    return sealed


def verify(folder: Path) -> BundleRecord:
    """Return the record of a bundle after the checksum of every file.

    Raises:
        DataError: A file is missing, was changed or does not belong.
    """
    record = BundleRecord.load(folder / RECORD)
    found = checksums(folder)
    wrong = sorted(path for path in record.files.keys() | found.keys() if record.files.get(path) != found.get(path))
    if wrong:
        raise DataError(f"the bundle {folder} is damaged: {', '.join(wrong[:5])} not as bundle.json says. Delete the folder and fetch it again")
    if digest_of(record.serving, found) != record.digest:
        raise DataError(f"the bundle {folder} is damaged: its digest is not that of its files. Delete the folder and fetch it again")
    return record


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by its path, bundle.json excepted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {key: sha256_of(path) for path in paths if (key := path.relative_to(folder).as_posix()) != RECORD}


def digest_of(artifact: str, files: dict[str, str]) -> str:
    """Return the digest of a bundle: which artifact serves, and every file that is the same whenever the model is."""
    same = {path: sha for path, sha in files.items() if not path.endswith(_NOT_IN_DIGEST) and not path.startswith(_NOT_IN_DIGEST)}
    return hashlib.sha256(json.dumps({"serving": artifact, "files": same}, sort_keys=True).encode()).hexdigest()


def accepted_artifacts(project: Path, artifact: str, required: Sequence[str]) -> list[ExportRecord]:
    """Return the artifacts that params.yaml asks for and no budget refused, sorted by name; see `assemble` for the errors."""
    paths = [project / "models" / "exported" / name / "artifact.json" for name in asked_for(project)]
    records = [ExportRecord.load(path) for path in paths if path.exists()]
    by_name = {record.name: record for record in records}
    for name in required:
        if name not in by_name:
            raise GateRefused(f"{name} is required (export.required) and was not exported; there are: {', '.join(by_name) or 'none'}")
        if by_name[name].refusals or by_name[name].file is None:
            reasons = "; ".join(refusal.text for refusal in by_name[name].refusals) or "it could not be made"
            raise GateRefused(f"{name} is required (export.required) and was refused: {reasons}. Nothing was registered")
    if artifact not in by_name:
        raise unknown_name("artifact in register.artifact", artifact, by_name)
    serving = by_name[artifact]
    if serving.refusals:
        raise GateRefused(f"{artifact} is to serve (register.artifact) and was refused: {'; '.join(refusal.text for refusal in serving.refusals)}")
    if not str(serving.file).endswith(".onnx"):
        onnx = [name for name, record in by_name.items() if str(record.file).endswith(".onnx") and not record.refusals]
        raise ConfigError(f"register.artifact: {artifact} needs torch to run; one that serves without is: {', '.join(onnx) or 'none there'}")
    return [record for record in records if record.file is not None and not record.refusals]


def asked_for(project: Path) -> list[str]:
    """Return the names of the artifacts that params.yaml asks for; a folder of a format that was dropped from it stays behind."""
    params = read_params(project / "params.yaml")
    return sorted(f"{variant}-{form}" for variant in params["compress"]["variants"] for form in params["export"]["formats"])


def _copy_artifact(project: Path, export: ExportRecord, out: Path) -> None:
    folder = project / "models" / "exported" / export.name
    out.mkdir()
    for file in (str(export.file), "artifact.json", "parity.json"):
        shutil.copyfile(folder / file, out / file)
    found = sha256_of(out / str(export.file))
    if found != export.sha256:
        raise DataError(
            f"{folder / str(export.file)} is not the file that was proven: its SHA-256 is {found[:12]}…, "
            f"artifact.json says {str(export.sha256)[:12]}…. Run the stage export again"
        )
    benchmark = project / "reports" / "benchmark" / f"{export.name}.json"
    if benchmark.exists():
        shutil.copyfile(benchmark, out / "benchmark.json")


def _verify_inside(path: Path, spec: ModelSpec) -> None:
    """Hold what an artifact says inside (class order, normalisation, preprocessing) against the model it claims to be.

    A pruned one differs in its structure alone. That the graph does what it says was proven by the stage export on the bytes whose checksum
    `_copy_artifact` compares; proving it again would take torch and the test images, and `compare` judges the bundle on those images anyway.
    """
    inside = unpack(OnnxRunner(path, 1).metadata, str(path)).spec
    for field in ("task", "classes", "preprocess", "mean", "std", "dataset", "training_digest"):
        found, expected = getattr(inside, field), getattr(spec, field)
        if found != expected:
            raise DataError(
                f"{path.parent.name}: the artifact says {field} is {found}; the model it was made from has {expected}. Run the stage export again"
            )


def write_training_images(project: Path, out: Path) -> None:
    """Write the list of the images that the weights were learnt from (train) or chosen by (val).

    Where training started from a registered model, the images that it knows are among them.

    Raises:
        DataError: Nothing says which images the model knows that training started from.
    """
    prepared = Prepared.open(project / "data" / "training")
    rows = {(row.image_id, row.sha256): side for side in ("train", "val") for row in prepared.split(side).rows.itertuples()}
    if (read_params(project / "params.yaml").get("train") or {}).get("init") == "registered":
        inherited = project / "models" / "start" / TRAINING_IMAGES
        if not inherited.is_file():
            raise DataError(f"{inherited} not found: it lists the images that the start weights know. Delete {inherited.parent} and run again")
        for row in pq.read_table(inherited).to_pylist():
            rows.setdefault((row["image_id"], row["sha256"]), row["split"])
    ordered = sorted((image_id, sha256, side) for (image_id, sha256), side in rows.items())
    columns = zip(*ordered, strict=True) if ordered else ([], [], [])
    pq.write_table(
        pa.table({name: pa.array(values, pa.string()) for name, values in zip(("image_id", "sha256", "split"), columns, strict=True)}), out
    )


def training_images(folder: Path) -> dict[str, str]:
    """Return train or val by the SHA-256 of each image that a bundle's weights know."""
    table = pq.read_table(folder / TRAINING_IMAGES)
    return dict(zip(table["sha256"].to_pylist(), table["split"].to_pylist(), strict=True))
