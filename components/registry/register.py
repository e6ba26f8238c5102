"""One MLflow model version for each distinct bundle."""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.files import explaining_full_disk
from components.records import BundleRecord, DatasetRef
from components.registry import history
from components.registry.bundle import assemble, seal
from components.registry.card import description, write_card
from components.registry.config import RegisterConfig, model_name
from components.registry.lineage import Lineage, collect, tags
from components.registry.session import open_registry
from components.registry.versions import DIGEST_TAG, Version, version_of, versions
from components.tracking.sending import experiment_id

log = logging.getLogger(__name__)

_LEFTOVER_AFTER_S = 24 * 3600.0


@dataclass(frozen=True)
class Registered:
    """The version that a bundle is; `created` is False if it was one already."""

    name: str
    version: int
    digest: str
    created: bool
    bundle: Path
    lineage: Lineage


def register(project: Path, home: Path, data_name: str, config: RegisterConfig, required: Sequence[str], run_id: str | None) -> Registered:
    """Make a bundle of what the stages left in `project` and register it, unless this very bundle is registered already.

    A registration that was cut off is completed by the next one of the same bundle.

    Args:
        project: The folder with params.yaml, dvc.lock, models/, data/ and reports/.
        home: The `.darkroom` folder; a copy of the bundle stays in it.
        data_name: The dataset, whose name the model bears if the configuration gives none.
        config: The section `register`.
        required: `export.required`.
        run_id: The MLflow run of the flow; None: MLflow has not taken it.

    Raises:
        GateRefused: A required artifact was refused or not made; nothing is registered.
        ConfigError: The artifact that is to serve does not exist or needs torch.
        TransientError: MLflow is away.
    """
    name = model_name(config, data_name)
    _remove_leftovers(home / "bundles")
    staging = home / "bundles" / f".{uuid.uuid4().hex[:8]}.partial"
    try:
        with explaining_full_disk(staging):
            record = assemble(project, name, config.artifact, required, staging)
        lineage = collect(project, record.dataset, record.training_digest, run_id)
        with open_registry(home) as client:
            found = _registered(client, name, record.digest)
            folder = home / "bundles" / record.digest
            if found is not None:
                _announce(client, found, record.dataset)
                log.info("%s holds the same bundle (%s): nothing to register", found.ref, record.digest[:12])
                return Registered(name, found.number, record.digest, False, folder, lineage)
            with explaining_full_disk(staging):
                card = _write_lineage(project, staging, record, lineage)
            shutil.rmtree(folder, ignore_errors=True)
            staging.replace(folder)
            own = _create(client, home, folder, record, lineage, card)
            version = _first(client, own)
            _announce(client, version, record.dataset)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    created = version.number == own.number
    if created:
        others = f" beside {len(record.artifacts) - 1} more" if len(record.artifacts) > 1 else ""
        log.info("%s registered (bundle %s, %s serves%s)", version.ref, record.digest[:12], record.serving, others)
    else:
        log.info("%s holds the same bundle (%s): another machine registered it in this moment", version.ref, record.digest[:12])
    return Registered(name, version.number, record.digest, created, folder, lineage)


def _remove_leftovers(bundles: Path) -> None:
    """Delete what registrations that were killed have left; one that is at work now is younger."""
    for partial in bundles.glob(".*.partial"):
        if time.time() - partial.stat().st_mtime > _LEFTOVER_AFTER_S:
            shutil.rmtree(partial, ignore_errors=True)


def _registered(client: Any, name: str, digest: str) -> Version | None:
    return next((version for version in versions(client, name) if version.digest == digest), None)


def _write_lineage(project: Path, folder: Path, record: BundleRecord, lineage: Lineage) -> str:
    lineage.save(folder / "lineage" / "lineage.json")
    for file in ("params.yaml", "dvc.lock"):
        if (project / file).exists():
            shutil.copyfile(project / file, folder / "lineage" / file)
    card = write_card(project, folder, record, lineage)
    seal(folder, record)
    return card


def _create(client: Any, home: Path, folder: Path, record: BundleRecord, lineage: Lineage, card: str) -> Version:
    """Create the version, which MLflow does in one go: it has its tags and its description, or it is not there."""
    from mlflow.exceptions import MlflowException

    from components.registry.packaging import log_bundle

    experiment = client.get_run(lineage.run_id).info.experiment_id if lineage.run_id else experiment_id(client, home, record.name)
    logged = log_bundle(folder, record.name, experiment, lineage.run_id)
    try:
        client.create_registered_model(record.name, description=f"{record.task} of {', '.join(record.classes)}"[:1000])
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    texts = {**tags(lineage), DIGEST_TAG: record.digest, "darkroom.serving": record.serving}
    created = client.create_model_version(
        record.name, f"models:/{logged.model_id}", lineage.run_id, tags=texts, description=description(card), model_id=logged.model_id
    )
    return version_of(created)


def _first(client: Any, own: Version) -> Version:
    """Return the first version of a bundle, and take `own` away if that is another one.

    The lock of a checkout does not reach another machine: of two that register the same bundle at once, the later finds the other's version here.
    """
    first = _registered(client, own.name, own.digest) or own
    if first.number != own.number:
        client.delete_model_version(own.name, str(own.number))
    return first


def _announce(client: Any, version: Version, dataset: DatasetRef) -> None:
    """Make a version the challenger, unless there is a newer one, and enter it in the history, unless it stands there: the entry is written last."""
    events = history.events_of(history.registered_model(client, version.name))
    if any(event.kind == "registered" and event.version == version.number for event in events):
        return
    newer = [other for other in versions(client, version.name) if other.number > version.number and other.digest != version.digest]
    if not newer:
        client.set_registered_model_alias(version.name, history.CHALLENGER, str(version.number))
    reason = f"trained on {dataset.name} {dataset.version}"
    history.append(client, version.name, history.new_event("registered", version.number, history.champion_by_history(events), reason))
