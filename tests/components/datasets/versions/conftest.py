"""A project with a git and a DVC repository, and datasets that are made in a moment."""

from __future__ import annotations

import hashlib
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.datasets.manifest import DatasetInfo
from components.datasets.writing import Mode, write_dataset
from components.protocols import ImportedImage

CLASSES = ["cat", "dog"]


def picture(seed: str) -> bytes:
    """A PNG of 8×8 random pixels; another one for each seed."""
    noise = np.random.default_rng(int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def labelled(image_id: str, label: str, content: bytes | None = None) -> ImportedImage:
    return ImportedImage(image_id, content or picture(image_id), {"label": label})


def write(project: Path, images: list[ImportedImage], mode: Mode = "new", name: str = "pets", classes: list[str] | None = None) -> None:
    task = "classification" if images[0].row.get("label") else "detection"
    write_dataset(
        images, DatasetInfo(name=name, version="1.0.0", task=task, classes=classes or CLASSES), project / "data", mode, max_shard_bytes=20_480
    )


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def make_project(folder: Path, remote: str | None) -> Path:
    from dvc.repo import Repo

    folder.mkdir()
    run("git", "init", "-q", cwd=folder)
    run("git", "config", "user.email", "t@example.org", cwd=folder)
    run("git", "config", "user.name", "Tess", cwd=folder)
    Repo.init(str(folder)).close()
    settings = f"[core]\n    remote = r\n['remote \"r\"']\n    url = {remote}\n" if remote else ""
    (folder / ".dvc" / "config").write_text(settings)
    run("git", "add", "-A", cwd=folder)
    run("git", "commit", "-qm", "start", cwd=folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a folder as remote."""
    folder = make_project(tmp_path / "project", str(tmp_path / "remote"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def pets(project: Path) -> Path:
    """The project with 12 images of cats and dogs in data/pets, not committed."""
    write(project, [labelled(f"{number:02d}.png", CLASSES[number % 2]) for number in range(12)])
    return project


@pytest.fixture
def commit() -> Callable[..., str]:
    """Commit data/pets and return the version."""
    from components.datasets.versions.commit import commit as commit_version

    def made(project: Path, message: str = "images", version: str | None = None, name: str = "pets") -> str:
        return commit_version(project, name, message, version).version.version

    return made


def files_of(folder: Path) -> set[str]:
    """What a remote or cache holds."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()
