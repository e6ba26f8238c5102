"""A journal's events as calls to MLflow, in batches; what MLflow will never take is put aside."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from components.tracking import store
from components.tracking.journal import Event
from components.tracking.positions import position_of, start_of
from components.tracking.runs import FLOW_RUN

log = logging.getLogger(__name__)

T = TypeVar("T")

#: What MLflow takes in one call.
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100


def run_of(client: Any, home: Path, path: Path, start: Event) -> str:
    """Return the MLflow run of a journal; made unless an earlier pass was killed right after it made it."""
    is_stage = path.stem != FLOW_RUN
    parent = start_of(path.with_name(f"{FLOW_RUN}.jsonl")) if is_stage else start
    experiment = experiment_id(client, home, parent.content["experiment"] if parent else "darkroom")
    found = client.search_runs([experiment], f"tags.`darkroom.journal` = '{start.content['journal']}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {
        **start.content["tags"],
        "darkroom.journal": start.content["journal"],
        "mlflow.user": start.content["user"],
        "mlflow.source.name": "darkroom",
    }
    parent_id = position_of(path.with_name(f"{FLOW_RUN}.jsonl")).run_id if is_stage else None
    if parent_id:
        tags["mlflow.parentRunId"] = parent_id
    run_id = str(client.create_run(experiment, start_time=start.at, tags=tags, run_name=start.content["name"]).info.run_id)
    if parent_id:
        client.set_tag(parent_id, f"darkroom.stage.{path.stem}", run_id)
    return run_id


def experiment_id(client: Any, home: Path, name: str) -> str:
    """Return the id of an experiment; made if it is not there."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    local = store.tracking_uri(home).startswith("sqlite:")
    return str(client.create_experiment(name, artifact_location=f"{store.artifact_root(home)}/{name}" if local else None))


def send(client: Any, path: Path, run_id: str, events: Sequence[Event]) -> bool:
    """Send events in batches; those that MLflow will never take are put aside. Return whether the run has ended with them."""
    from mlflow.exceptions import MlflowException

    try:
        _send_batches(client, run_id, events)
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
            raise
        if len(events) > 1:
            ended = [send(client, path, run_id, [event]) for event in events]
            return any(ended)
        log.warning("MLflow does not take an event of %s: %s", path, str(error).splitlines()[0][:300])
        with path.with_suffix(".rejected").open("a") as file:
            file.write(json.dumps(asdict(events[0])) + "\n")
    return any(event.kind == "end" for event in events)


def _send_batches(client: Any, run_id: str, events: Sequence[Event]) -> None:
    from mlflow.entities import Param, RunTag

    for metrics in _chunks(list(_metrics(events)), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics)
    params = [Param(key, value) for event in events if event.kind == "params" for key, value in event.content["params"].items()]
    for few_params in _chunks(params, MAX_PARAMS):
        client.log_batch(run_id, params=few_params)
    tags = [RunTag(key, value) for event in events if event.kind == "tags" for key, value in event.content["tags"].items()]
    tags += [_link(client, event) for event in events if event.kind == "link"]
    for few_tags in _chunks(tags, MAX_TAGS):
        client.log_batch(run_id, tags=few_tags)
    for event in events:
        if event.kind == "end":
            client.set_terminated(run_id, event.content["status"], end_time=event.at)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _metrics(events: Sequence[Event]) -> Iterator[Any]:
    from mlflow.entities import Metric

    for event in events:
        if event.kind == "metrics":
            for key, value in event.content["metrics"].items():
                yield Metric(key, value, event.at, event.content["step"])


def _link(client: Any, event: Event) -> Any:
    from mlflow.entities import RunTag

    stage, key = event.content["stage"], event.content["dvc_key"]
    run = find_stage_run(client, stage, key)
    return RunTag(f"darkroom.stage.{stage}", run or "skipped; the run that made its outputs is not in this store")


def find_stage_run(client: Any, stage: str, dvc_key: str) -> str | None:
    """Return the MLflow run in which a stage last ran to its end with these inputs, parameters and code."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"tags.`darkroom.stage` = '{stage}' and tags.`darkroom.dvc_key` = '{dvc_key}' and attributes.status = 'FINISHED'"
    found = client.search_runs(experiments, wanted, max_results=1, order_by=["attributes.start_time DESC"])
    return str(found[0].info.run_id) if found else None
