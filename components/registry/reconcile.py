"""An alias that was moved in MLflow's own page is noticed by the next command, judged, and entered in the history."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from components.config import DataConfig, read_params, section_of
from components.errors import DarkroomError
from components.registry import history
from components.registry.config import PromoteConfig, model_name_of
from components.registry.decision import Event
from components.registry.judge import judge
from components.registry.testset import open_test_images
from components.registry.versions import Version, resolve

log = logging.getLogger(__name__)

DECISION = "darkroom.decision"


def reconcile(client: Any, project: Path, home: Path, model: Any, config: PromoteConfig | None) -> Event | None:
    """Notice that the alias `champion` was moved outside of Darkroom, judge the move, and enter it. The move itself stands: a person made it.

    Args:
        client: MLflow's.
        project: The folder with data/NAME and data/splits.parquet.
        home: The `.darkroom` folder.
        model: MLflow's registered model; None: there is none, and nothing to do.
        config: The section `promote`; None: as params.yaml in `project` says.
    """
    if model is None:
        return None
    if history.finish_pending(client, model.name, model):
        model = history.registered_model(client, model.name)
    before = history.champion_by_history(history.events_of(model))
    now = history.champion_of(model)
    if now == before:
        return None
    verdict, numbers = _verdict_on_move(client, project, home, model.name, now, before, config)
    event = history.new_event("moved by hand", now, before, f"the alias was moved in MLflow; {verdict}", numbers)
    event = event.model_copy(update={"who": "someone in MLflow"})
    history.append(client, model.name, event)
    if now is not None:
        client.set_model_version_tag(model.name, str(now), DECISION, f"{event.minute} moved by hand: {verdict}")
    publish = f". What is published stays as it was until: darkroom models promote {model.name}/{now}" if now is not None else ""
    log.warning("the champion of %s was moved by hand from %s to %s: %s%s", model.name, before or "none", now or "none", verdict, publish)
    return event


def _verdict_on_move(
    client: Any, project: Path, home: Path, name: str, now: int | None, before: int | None, config: PromoteConfig | None
) -> tuple[str, dict[str, float]]:
    if now is None:
        return "there is no champion now", {}
    try:
        if name != (own := model_name_of(project)):
            return f"not judged: params.yaml is about {own}", {}
        config = config or section_of(read_params(project / "params.yaml"), PromoteConfig)
        images = open_test_images(project, data_name_of(project))
        champion = resolve(client, f"{name}/{before}") if before is not None else None
        decision, numbers = judge(home, resolve(client, f"{name}/{now}"), champion, images, config)
    except DarkroomError as error:
        return f"not judged: {error}", {}
    return ("the gate agrees: " if decision.verdict == "promoted" else "the gate would have refused: ") + decision.reason, numbers


def state(client: Any, project: Path, home: Path, name: str, config: PromoteConfig | None) -> tuple[Version | None, list[Event]]:
    """Return the champion and the history, after a move that was cut off is finished and one by hand is entered."""
    reconcile(client, project, home, history.registered_model(client, name), config)
    model = history.registered_model(client, name)
    number = history.champion_of(model)
    return (resolve(client, f"{name}/{number}") if number is not None else None), history.events_of(model)


def data_name_of(project: Path) -> str:
    """Return the dataset that params.yaml names."""
    return section_of(read_params(project / "params.yaml"), DataConfig).name
