"""Where a model comes from: code, data, parameters, libraries, machine settings."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import Field
from ruamel.yaml import YAML

import components
from components.config import read_params
from components.datasets.versions.objects import recorded
from components.datasets.versions.tags import versions
from components.errors import InputError
from components.files import sha256_of
from components.records import DatasetRef, Record, TrainRecord

LIBRARIES = ("darkroom", "torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "torch-pruning", "numpy", "pillow", "mlflow", "dvc", "prefect")


class Lineage(Record):
    """Everything that is needed to make the model again."""

    git_commit: str | None = Field(description="null: no git repository, or no commit yet")
    git_dirty: bool | None = Field(
        description="whether files differ from the commit; what the run itself writes is left out: dvc.lock, code.lock, reports/"
    )
    git_changed: list[str] = Field(description="the files that differ, at most 50")
    dataset: DatasetRef
    dataset_tag: str | None = Field(default=None, description="the git tag NAME@v1.3.0 that holds exactly these bytes; null: none does")
    dvc_hash: str | None = Field(description="DVC's hash of the dataset's folder; null: DVC does not track it")
    dvc_lock_sha256: str | None
    params_sha256: str
    params: dict[str, Any]
    run_id: str | None = Field(description="the MLflow run; null: MLflow has not taken it")
    training_digest: str = Field(description="SHA-256 over the sorted SHA-256 of the training images")
    settings: dict[str, Any] = Field(description="what every `auto` of the training became: device, precision, …")
    libraries: dict[str, str]
    package_commit: str | None = Field(default=None, description="of Darkroom's own sources; null: installed from a package that does not say")
    package_sha256: str | None = Field(default=None, description="over Darkroom's own sources, as installed")
    python: str


def collect(project: Path, dataset: DatasetRef, training_digest: str, run_id: str | None) -> Lineage:
    """Read the lineage of the models in a project's folder.

    Args:
        project: The folder with params.yaml and dvc.lock.
        dataset: What the model was trained on.
        training_digest: Of its training images.
        run_id: The MLflow run of the flow.
    """
    params = read_params(project / "params.yaml")
    commit, changed = _git(project)
    return Lineage(
        git_commit=commit,
        git_dirty=bool(changed) if commit else None,
        git_changed=changed[:50],
        dataset=dataset,
        dataset_tag=version_tag(project, dataset),
        dvc_hash=dvc_hash(project / "data" / f"{dataset.name}.dvc"),
        dvc_lock_sha256=sha256_of(project / "dvc.lock") if (project / "dvc.lock").exists() else None,
        params_sha256=hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest(),
        params=params,
        run_id=run_id,
        training_digest=training_digest,
        settings=_settings(project),
        libraries={name: metadata.version(name) for name in LIBRARIES},
        package_commit=_package_commit(),
        package_sha256=_package_sha256(),
        python=platform.python_version(),
    )


def tags(lineage: Lineage) -> dict[str, str]:
    """Return the lineage as a model version's tags, for people who search and filter in MLflow."""
    texts: dict[str, Any] = {
        "git_commit": lineage.git_commit or "none",
        "git_dirty": {None: "unknown", True: "yes", False: "no"}[lineage.git_dirty],
        "dataset": f"{lineage.dataset.name} {lineage.dataset.version}",
        "dataset_tag": lineage.dataset_tag or "none",
        "manifest_digest": lineage.dataset.manifest_digest,
        "dvc_hash": lineage.dvc_hash or "none",
        "params_sha256": lineage.params_sha256,
        "training_digest": lineage.training_digest,
        "device": lineage.settings.get("device", "unknown"),
        "torch": lineage.libraries["torch"],
        "package_commit": lineage.package_commit or "unknown",
    }
    return {f"darkroom.{key}": str(value) for key, value in texts.items()}


def version_tag(project: Path, dataset: DatasetRef) -> str | None:
    """Return the tag of the dataset's version whose bytes are those in data/NAME.dvc; None if no version holds them."""
    pointer = dvc_hash(project / "data" / f"{dataset.name}.dvc")
    try:
        known = versions(project, dataset.name)
        return next((version.tag for version in known if recorded(project, version.commit, dataset.name)["md5"] == pointer), None)
    except InputError:
        return None  # no git, or a tag that was made by hand for something else


def dvc_hash(pointer: Path) -> str | None:
    """Return the hash in a `.dvc` file; None if there is no such file."""
    if not pointer.exists():
        return None
    outs = YAML(typ="safe", pure=True).load(pointer.read_text(encoding="utf-8")).get("outs") or [{}]
    value = outs[0].get("md5") or outs[0].get("etag") or outs[0].get("hash")
    return str(value) if value else None


def _settings(project: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for folder in ("base", "tuned"):
        path = project / "models" / folder / "summary.json"
        if path.exists():
            settings |= TrainRecord.load(path).settings
    return settings


def _git(project: Path) -> tuple[str | None, list[str]]:
    commit = _output(project, "rev-parse", "HEAD")
    if commit is None:
        return None, []
    lines = (_output(project, "status", "--porcelain", "--no-renames") or "").splitlines()
    changed = [line[3:] for line in lines]
    return commit.strip(), sorted(path for path in changed if path not in ("dvc.lock", "code.lock") and not path.startswith("reports/"))


def _package_commit() -> str | None:
    """Return the git commit of Darkroom's sources: of the checkout they stand in, or that they were installed from (PEP 610)."""
    sources = Path(components.__file__).parent
    if _output(sources, "ls-files", "--error-unmatch", "__init__.py"):
        return (_output(sources, "rev-parse", "HEAD") or "").strip() or None
    origin = json.loads(metadata.distribution("darkroom").read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else None


def _package_sha256() -> str:
    root = Path(components.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _output(project: Path, *arguments: str) -> str | None:
    try:
        return subprocess.run(["git", "-C", str(project), *arguments], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, no repository, or no commit in it
