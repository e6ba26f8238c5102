"""Resume state on disk: atomic, verified, two kept, loaded without pickle."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from components.files import replacing

log = logging.getLogger(__name__)

_KEPT = 2


class Checkpoints:
    """The checkpoints of one training in a folder; file names hold a number, the training's fingerprint, and the checksum of the content.

    Args:
        folder: Made if it is missing; None: nothing is kept.
        fingerprint: Of everything that the training depends on; a checkpoint with another one is not taken.
    """

    def __init__(self, folder: Path | None, fingerprint: str) -> None:
        self._folder, self._fingerprint = folder, fingerprint

    def save(self, number: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, then delete all but the two latest of this training.

        Args:
            number: Grows with the training, for example batches done.
            state: Tensors, numbers, texts, in dicts and lists.

        Raises:
            InputError: The disk is full.
        """
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save({"fingerprint": self._fingerprint, "state": dict(state)}, buffer)
        with buffer.getbuffer() as content:  # let go of here: left to an error's traceback it crashes Python 3.12.1 (gh-111049)
            path = self._folder / f"{number:010d}-{self._fingerprint[:16]}-{hashlib.sha256(content).hexdigest()[:32]}.pt"
            with replacing(path) as temporary, temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        kept = [path for path in self._paths() if path.stem.split("-")[1] == self._fingerprint[:16]][:_KEPT]
        for path in self._paths():
            if path not in kept:
                path.unlink(missing_ok=True)

    def latest(self) -> dict[str, Any] | None:
        """Return the newest state that is whole and belongs to this training; None if there is none."""
        for path in self._paths():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:32] != path.stem.rpartition("-")[2]:
                log.warning("checkpoint %s is damaged (its checksum differs): taking the one before", path.name)
                continue
            try:
                loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
                log.warning("checkpoint %s cannot be read (%s): taking the one before", path.name, " ".join(str(error).split())[:120])
                continue
            if loaded["fingerprint"] != self._fingerprint:
                log.info("checkpoint %s belongs to other parameters, data or start weights: not taken", path.name)
                continue
            state: dict[str, Any] = loaded["state"]
            return state
        return None

    def _paths(self) -> list[Path]:
        """Return the checkpoints, newest first."""
        if self._folder is None or not self._folder.is_dir():
            return []
        return sorted(self._folder.glob("[0-9]*-*-*.pt"), reverse=True)


def folder_in(scratch: Path | None) -> Path | None:
    """Return where a step keeps its checkpoints under its scratch folder."""
    return None if scratch is None else scratch / "checkpoints"
