"""A model version as a folder: everything from original bytes to predictions, with ONNX Runtime alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.errors import ConfigError, DataError, unknown_name
from components.files import sha256_of
from components.protocols import Postprocess, plugin
from components.records import BundleRecord, ExportRecord, ModelSpec
from components.serving.image import PreparedImage, prepare
from components.serving.metadata import unpack
from components.serving.onnx_runner import OnnxRunner
from components.serving.restoring import restored

_BATCH = 64


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; made by `Bundle.open`.

    Attributes:
        record: What the model version is made of.
        spec: Preprocessing, classes and normalisation, as the artifact itself says.
    """

    record: BundleRecord
    spec: ModelSpec
    runner: OnnxRunner
    postprocess: Postprocess

    @classmethod
    def open(cls, folder: Path, artifact: str | None = None, num_threads: int = 1) -> Bundle:
        """Load one artifact of a bundle after its checksum.

        Args:
            folder: Holds bundle.json and VARIANT-FORMAT/.
            artifact: VARIANT-FORMAT; None: the one that serves.
            num_threads: Threads that share the work of one batch.

        Raises:
            DataError: A file is missing, was changed, or the artifact is not of this bundle.
            ConfigError: There is no such artifact, or it needs torch.
        """
        record = BundleRecord.load(folder / "bundle.json")
        path = folder / _artifact_file(record, artifact or record.serving)
        _verify(record, folder, path)
        runner = OnnxRunner(path, num_threads)
        spec = unpack(runner.metadata, str(path)).spec
        if (spec.task, spec.classes) != (record.task, record.classes):
            raise DataError(f"{path} names the classes {spec.classes}, its bundle {record.classes}: the artifact is not of this bundle")
        return cls(record, spec, runner, plugin("components.serving.postprocess", "task", spec.task))

    @property
    def classes(self) -> list[str]:
        """Class names in the order of a prediction."""
        return self.spec.classes

    def predict(self, contents: Sequence[bytes], names: Sequence[str] | None = None) -> list[Any]:
        """Predict from the original bytes of image files.

        Args:
            contents: One file's bytes an image.
            names: What an error calls each image; None: their numbers.

        Raises:
            DataError: An image is damaged; the error names it.
        """
        predictions: list[Any] = []
        for start in range(0, len(contents), _BATCH):
            batch = range(start, min(start + _BATCH, len(contents)))
            images = [self.prepare(contents[index], names[index] if names else f"image {index}") for index in batch]
            predictions += self.predict_images(images)
        return predictions

    def prepare(self, content: bytes, name: str) -> PreparedImage:
        """Return an image file as the artifact takes it, and the size it had.

        Raises:
            DataError: It is damaged.
        """
        try:
            return prepare(content, self.spec.preprocess)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error

    def predict_images(self, images: Sequence[PreparedImage]) -> list[Any]:
        """Predict from prepared images; one prediction an image, as the evaluator knows it, in the pixels of its original."""
        predictions = self.postprocess.predictions(self.runner(np.stack([image.pixels for image in images])))
        return restored(self.postprocess, predictions, [image.size_hw for image in images], self.spec.preprocess)

    def columns(self, prediction: Any) -> dict[str, Any]:
        """Return a prediction as a row for people and tables."""
        return self.postprocess.columns(prediction, self.classes)


def _artifact_file(record: BundleRecord, name: str) -> str:
    artifacts: dict[str, ExportRecord] = {artifact.name: artifact for artifact in record.artifacts if artifact.file and not artifact.refusals}
    if name not in artifacts:
        raise unknown_name("artifact", name, artifacts)
    file = str(artifacts[name].file)
    if not file.endswith(".onnx"):
        runnable = [other for other, artifact in artifacts.items() if str(artifact.file).endswith(".onnx")]
        raise ConfigError(f"artifact '{name}' ({file}) does not run in ONNX Runtime; a bundle serves from: {', '.join(sorted(runnable))}")
    return f"{name}/{file}"


def _verify(record: BundleRecord, folder: Path, path: Path) -> None:
    key = path.relative_to(folder).as_posix()
    if not path.is_file():
        raise DataError(f"{path} is missing: the bundle is not complete. Fetch it again")
    if (found := sha256_of(path)) != record.files.get(key):
        raise DataError(
            f"{path} was changed: its SHA-256 is {found[:12]}…, bundle.json says {record.files.get(key, 'nothing')[:12]}…. Fetch it again"
        )
