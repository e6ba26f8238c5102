"""`train.init: registered`: the champion's weights are put where `train` reads them."""

from __future__ import annotations

import logging
from pathlib import Path

from components.config import read_params
from components.errors import ConfigError, InputError

log = logging.getLogger(__name__)

START = Path("models") / "start"


def wants_champion(project: Path) -> bool:
    """Tell whether params.yaml says that training starts from the champion."""
    return bool((read_params(project / "params.yaml").get("train") or {}).get("init") == "registered")


def start_from_champion(project: Path, home: Path, name: str) -> None:
    """Put the champion's weights into models/start, with the version that they are of and the images that they know.

    An alias is no dependency: this is done when training is out of date anyway, so that a promotion alone sets nothing off.

    Args:
        project: The checkout.
        home: The `.darkroom` folder.
        name: The registered model.

    Raises:
        ConfigError: There is no champion.
    """
    from components.registry.versions import write_start

    try:
        version = write_start(home, f"{name}@champion", project / START)
    except InputError as error:
        raise ConfigError(f"train.init is 'registered', but {error}. Train a first model with init: random") from error
    log.info("training starts from %s", version.ref)
