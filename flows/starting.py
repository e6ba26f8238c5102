"""`train.init: registered`: the alias is resolved to a version, and that version's weights are put where `train` reads them."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from components.config import read_params
from components.errors import ConfigError, InputError
from components.files import replacing

log = logging.getLogger(__name__)

START = Path("models") / "start"


def wants_champion(project: Path) -> bool:
    """Tell whether params.yaml says that training starts from the champion."""
    return bool(read_params(project / "params.yaml").get("train", {}).get("init") == "registered")


def write_start(project: Path, home: Path, name: str) -> None:
    """Put the champion's weights and spec into models/start, with the version they are of.

    An alias is no dependency: this is done when training is out of date anyway, so that a promotion alone sets nothing off.

    Args:
        project: The checkout.
        home: The `.darkroom` folder.
        name: The registered model.

    Raises:
        ConfigError: There is no champion.
    """
    from components.registry.session import open_registry
    from components.registry.versions import bundle_of, resolve

    try:
        with open_registry(home) as client:
            champion = resolve(client, f"{name}@champion")
            bundle = bundle_of(home, champion)
    except InputError as error:
        raise ConfigError(f"train.init is 'registered', but {error}. Train a first model with init: random") from error
    source = f"models:/{name}/{champion.number}"
    start = project / START
    if (start / "weights.safetensors").exists() and json.loads((start / "start.json").read_text(encoding="utf-8")).get("source") == source:
        return
    with replacing(start) as partial:
        partial.mkdir()
        for file in ("weights.safetensors", "spec.json"):
            shutil.copyfile(bundle / "source" / file, partial / file)
        (partial / "start.json").write_text(json.dumps({"source": source}) + "\n", encoding="utf-8")
    log.info("training starts from %s/%d", name, champion.number)
