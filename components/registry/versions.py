"""Model versions by name, number or alias, and their bundles."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import InputError, unknown_name
from components.files import explaining_full_disk, replacing
from components.registry.bundle import RECORD, SOURCE_FILES, TRAINING_IMAGES, verify
from components.registry.session import open_registry

DIGEST_TAG = "darkroom.digest"


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    number: int
    digest: str
    source: str
    tags: dict[str, str]
    created_ms: int

    @property
    def ref(self) -> str:
        """NAME/V."""
        return f"{self.name}/{self.number}"


def resolve(client: Any, ref: str) -> Version:
    """Return the version that NAME/V or NAME@ALIAS means; as an MLflow URI, with models:/ before it, too.

    Raises:
        InputError: It is neither, or there is no such model, version or alias; the error lists those there are.
    """
    from mlflow.exceptions import MlflowException

    plain = ref.removeprefix("models:/")
    name, separator, which = plain.rpartition("@") if "@" in plain else plain.rpartition("/")
    if not (name and which) or (separator == "/" and not which.isdigit()):
        raise InputError(f"found '{ref}'; expected NAME/VERSION or NAME@ALIAS, for example digits/3 or digits@champion")
    try:
        found = client.get_model_version_by_alias(name, which) if separator == "@" else client.get_model_version(name, which)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise _missing(client, name, separator, which) from None
        raise
    return version_of(found)


def version_of(found: Any) -> Version:
    """Return MLflow's model version as ours."""
    return Version(found.name, int(found.version), found.tags.get(DIGEST_TAG, ""), found.source, dict(found.tags), int(found.creation_timestamp))


def versions(client: Any, name: str) -> list[Version]:
    """Return all versions of a model, the oldest first."""
    found = [version_of(version) for version in client.search_model_versions(f"name = '{name}'")]
    return sorted(found, key=lambda version: version.number)


def registered_models(client: Any) -> list[Any]:
    """Return all of MLflow's registered models, which it gives page by page."""
    found, token = [], None
    while True:
        page = client.search_registered_models(page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _missing(client: Any, name: str, separator: str, which: str) -> InputError:
    known = {model.name: model for model in registered_models(client)}
    if name not in known:
        return no_such_model(name, known)
    if (separator, which) == ("@", "champion"):
        return InputError(f"{name} has no champion. Name a version, {name}/V, or promote one: darkroom models promote {name}/V")
    if separator == "@":
        return unknown_name(f"alias of {name}", which, known[name].aliases)
    return unknown_name(f"version of {name}", which, [str(version.number) for version in versions(client, name)])


def no_such_model(name: str, known: Iterable[str]) -> InputError:
    """Return the error for a model that is not registered, with the names of those that are."""
    known = sorted(known)
    return unknown_name("model", name, known) if known else InputError(f"no model is registered yet; `darkroom run` registers '{name}'")


def fetch_bundle(home: Path, ref: str) -> Path:
    """Return the folder of a version's bundle: downloaded once, every file checked.

    Args:
        home: The `.darkroom` folder.
        ref: NAME/V, NAME@ALIAS, or the folder of a bundle.

    Raises:
        InputError: There is no such version, or it was not registered by Darkroom.
        DataError: The bundle is damaged.
        TransientError: The registry is away.
    """
    if (Path(ref) / RECORD).is_file():
        verify(Path(ref))
        return Path(ref)
    with open_registry(home) as client:
        return bundle_of(home, resolve(client, ref))


def bundle_of(home: Path, version: Version) -> Path:
    """Return the folder of a version's bundle, as `fetch_bundle` does."""
    if not version.digest:
        raise InputError(f"{version.ref} was not registered by Darkroom: it has no tag {DIGEST_TAG}")
    folder = home / "bundles" / version.digest
    if not folder.exists():
        _download(version, folder)
    verify(folder)
    return folder


def _download(version: Version, folder: Path) -> None:
    from mlflow.artifacts import download_artifacts

    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.partial")
    partial.mkdir(parents=True)
    try:
        with explaining_full_disk(folder):
            downloaded = download_artifacts(f"models:/{version.name}/{version.number}/artifacts/{version.digest}", dst_path=str(partial))
        shutil.move(downloaded, partial / "whole")
        verify(partial / "whole")
        (partial / "whole").replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_start(home: Path, ref: str, out: Path) -> Version:
    """Write a registered version's weights to `out`, where `train.init: registered` looks for them, and the list of the images that they know.

    Args:
        home: The `.darkroom` folder.
        ref: NAME/V or NAME@ALIAS; the alias is resolved now, so that the stage depends on a version.
        out: models/start; left alone if it holds this version already.
    """
    with open_registry(home) as client:
        version = resolve(client, ref)
        bundle = bundle_of(home, version)
    start, told = out / "start.json", json.dumps({"source": f"models:/{version.ref}"}) + "\n"
    files = [*(bundle / "source" / name for name in SOURCE_FILES), bundle / TRAINING_IMAGES]
    if all((out / file.name).is_file() for file in files) and start.is_file() and start.read_text(encoding="utf-8") == told:
        return version
    with replacing(out) as partial:
        partial.mkdir()
        for file in files:
            shutil.copyfile(file, partial / file.name)
        (partial / start.name).write_text(told, encoding="utf-8")
    return version
