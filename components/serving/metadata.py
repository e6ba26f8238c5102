"""What an artifact says about itself: one text inside the file, under one key, in every format."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from pydantic import ValidationError

from components.errors import DataError
from components.records import ModelSpec, Record

KEY = "darkroom"
_LIBRARIES = ("darkroom", "onnx", "onnxruntime", "torch")


class ArtifactMetadata(Record):
    """Preprocessing, class names and normalisation (`spec`), and the versions of what wrote the artifact."""

    spec: ModelSpec
    versions: dict[str, str]


def pack(spec: ModelSpec) -> dict[str, str]:
    """Return the texts to store inside an artifact; equal specs and library versions give equal texts."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {KEY: ArtifactMetadata(spec=spec, versions=versions).model_dump_json()}


def unpack(texts: Mapping[str, str], source: str = "the artifact") -> ArtifactMetadata:
    """Return what `pack` stored.

    Args:
        texts: All texts that the artifact holds.
        source: What an error calls the artifact.

    Raises:
        DataError: Darkroom's text is missing or not what `pack` writes.
    """
    if KEY not in texts:
        raise DataError(f"{source} has no metadata under '{KEY}': it was not exported by Darkroom. Export it again")
    try:
        return ArtifactMetadata.model_validate_json(texts[KEY])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{source}: its metadata is damaged: {where}: {first['msg']}. Export it again") from None
