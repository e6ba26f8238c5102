"""A bundle as an MLflow model: code, artifacts, signature and exact requirements; nothing pickled, nothing guessed."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import components
from components.protocols import Postprocess, plugin
from components.records import BundleRecord
from components.registry.bundle import RECORD

#: What serving needs of Darkroom; none of it needs torch (import-linter holds that).
_PACKED = (
    *("__init__.py", "errors.py", "files.py", "protocols.py", "records.py", "serving"),
    *(f"datasets/{name}.py" for name in ("__init__", "decoding", "headers", "masks")),
)
_REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "pillow", "pydantic")


def requirements() -> list[str]:
    """Return what the model needs where it is loaded, at the versions it was logged with."""
    return [f"{name}=={metadata.version(name)}" for name in _REQUIREMENTS]


def log_bundle(folder: Path, name: str, experiment_id: str, run_id: str | None) -> Any:
    """Log a bundle to MLflow as a model of a run.

    Args:
        folder: The bundle.
        name: What the model is called in its experiment.
        experiment_id: Where it belongs.
        run_id: The run that made it; None: MLflow does not know it.

    Returns:
        MLflow's `ModelInfo`.
    """
    import mlflow
    from mlflow.models import Model

    record = BundleRecord.load(folder / RECORD)
    mlflow.set_experiment(experiment_id=experiment_id)
    with _packed_code() as code, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*An input example was not provided")  # the signature says all; an example would be run once more
        return Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            name=name,
            run_id=run_id,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"bundle": str(folder)},
            code_paths=[str(code)],
            signature=signature(record.task),
            metadata={"classes": record.classes},  # the order of probabilities and of all other lists by class
            pip_requirements=requirements(),
        )


def signature(task: str) -> Any:
    """Return the model's columns: image → those of the task."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import Array, DataType

    def column(kind: str) -> Any:
        return Array(column(kind.removesuffix("[]"))) if kind.endswith("[]") else DataType[kind]

    postprocess: Postprocess = plugin("components.serving.postprocess", "task", task)
    outputs: list[Any] = [ColSpec(column(kind), name) for name, kind in postprocess.fields.items()]
    return ModelSignature(inputs=Schema([ColSpec("binary", "image")]), outputs=Schema(outputs))


@contextmanager
def _packed_code() -> Iterator[Path]:
    source = Path(components.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "components"
        for name in _PACKED:
            target = packed / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source / name, target)
        yield packed
