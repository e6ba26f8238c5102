"""The commands that are more than one call: predict, and what concerns model versions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from components.config import DataConfig, read_params, section_of
from components.errors import ConfigError, DataError, InputError
from components.registry.config import PromoteConfig, PublishConfig, model_name_of
from flows.parameters import require_registry


def predict(home: Path, images: Sequence[Path], model: str | None, artifact: str | None, out: Path | None) -> int:
    """Predict files and folders; print a table, or write CSV or JSON. Returns 2 if any image could not be read."""
    from components.serving.bundle import Bundle
    from components.serving.predict import predict_files, table, write_csv, write_json

    for path in images:
        if not path.exists():
            raise DataError(f"{path} not found")
    if out is not None and out.suffix not in (".csv", ".json"):
        raise ConfigError(f"--out {out}: found '{out.suffix}'; expected a name that ends in .csv or .json")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}. Make it: mkdir -p {out.parent}")
    rows = list(predict_files(Bundle.open(_bundle(home, model), artifact), images))
    if not rows:
        raise DataError(f"no image found in {', '.join(str(path) for path in images)}")
    num_unread = sum(1 for row in rows if row.error)
    if out is None:
        print(table(rows))
    else:
        with out.open("w", encoding="utf-8", newline="") as file:
            (write_csv if out.suffix == ".csv" else write_json)(rows, file)
        num_read = len(rows) - num_unread
        print(f"{num_read} {'prediction' if num_read == 1 else 'predictions'} in {out}", file=sys.stderr)
    if num_unread:
        print(f"{num_unread} of {len(rows)} could not be read" + ("; the column error says why" if out else ""), file=sys.stderr)
    return InputError.exit_code if num_unread else 0


def _bundle(home: Path, model: str | None) -> Path:
    from components.registry.bundle import RECORD
    from components.registry.versions import fetch_bundle

    if model is None:
        return fetch_bundle(home, f"{model_name_of(Path.cwd())}@champion")
    if not Path(model).is_dir():
        require_registry(home.parent)
        return fetch_bundle(home, model)
    if not (Path(model) / RECORD).is_file():
        raise DataError(f"{model} is no bundle: it holds no {RECORD}. Name a version, NAME@champion or NAME/7, or the folder of a bundle")
    return Path(model)


def compare_models(project: Path, champion: str, challenger: str) -> str:
    """Compare two versions on the pinned test images."""
    from components.registry import models_view
    from components.registry.compare import compare

    params = read_params(project / "params.yaml")
    found = compare(project, project / ".darkroom", champion, challenger, section_of(params, PromoteConfig), section_of(params, DataConfig).name)
    return str(models_view.compare_text(found))


def promote_model(project: Path, ref: str, reason: str, override: bool) -> str:
    """Promote a version and publish it."""
    from components.registry import models_view
    from components.registry.promote import promote

    home = project / ".darkroom"
    params = read_params(project / "params.yaml")
    decision = promote(project, home, ref, section_of(params, PromoteConfig), reason, override)
    return "\n".join([str(models_view.decision_text(decision)), _publish(project, decision.challenger.partition("/")[0])])


def rollback_model(project: Path, name: str | None, to: int | None, reason: str) -> str:
    """Make an earlier champion the champion again, and move the object store's pointer back."""
    from components.registry.promote import rollback

    name = name or model_name_of(project)
    event = rollback(project / ".darkroom", name, reason, to)
    was = f"was {name}/{event.previous}" if event.previous is not None else "there was none"
    return "\n".join([f"{name}/{event.version} is the champion again ({was})", _publish(project, name)])


def _publish(project: Path, name: str) -> str:
    from components.registry.publish import publish_champion

    config = section_of(read_params(project / "params.yaml"), PublishConfig)
    published = publish_champion(project / ".darkroom", name, config.uri)
    return f"published at {published.uri.rstrip('/')}/{published.key}"
