from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.files import sha256_of
from components.records import BundleRecord, ExportRecord


@pytest.fixture(scope="session")
def bundle_folder(exported_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the exported digits; dense-onnx serves."""
    folder = tmp_path_factory.mktemp("bundle")
    names = ["dense-onnx", "dense-onnx_int8", "dense-torch_export"]
    for name in names:
        shutil.copytree(exported_digits / name, folder / name)
    artifacts = [ExportRecord.load(folder / name / "artifact.json") for name in names]
    spec = artifacts[0].spec
    record = BundleRecord(
        name="digits",
        task=spec.task,
        classes=spec.classes,
        dataset=spec.dataset,
        training_digest=spec.training_digest,
        serving="dense-onnx",
        artifacts=artifacts,
        files={path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()},
        digest="0" * 64,
    )
    record.save(folder / "bundle.json")
    return folder


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def digit_files(prepared_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve test digits as PNG files in two folders, a damaged one, one that is no image, a hidden one."""
    images = np.load(prepared_digits / "test" / "images-16x16.npy")[:12, :, :, 0]
    folder = tmp_path_factory.mktemp("images")
    for index, image in enumerate(images):
        path = folder / ("a" if index < 6 else "b") / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(image))
    (folder / "a" / "broken.png").write_bytes(png(images[0])[:60])
    (folder / "a" / "notes.txt").write_text("no image")
    (folder / "b" / ".hidden.png").write_bytes(png(images[0]))
    return folder
