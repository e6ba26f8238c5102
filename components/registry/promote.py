"""Which version is the champion: judged, moved, refused, rolled back, and every time entered in the history."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from components.errors import GateRefused, InputError, TransientError
from components.registry import history
from components.registry.config import PromoteConfig
from components.registry.decision import Decision, Event, Kind
from components.registry.judge import judge
from components.registry.reconcile import DECISION, data_name_of, state
from components.registry.session import open_registry
from components.registry.testset import TestImages, open_test_images
from components.registry.versions import Version, no_such_model, registered_models, resolve

log = logging.getLogger(__name__)

DECISION_JSON, DECISION_KEY = "darkroom.decision_json", "darkroom.decision_key"


def judge_and_promote(project: Path, home: Path, name: str, version: int, config: PromoteConfig) -> Decision:
    """Judge a version against the champion, or by the floors if there is none; move the alias or enter the refusal.

    The same question twice gets the same answer without being judged and entered twice. A version that a person put away (rolled back, or moved the
    alias from by hand) comes back only by `promote`.

    Args:
        project: The folder with data/NAME, data/splits.parquet and params.yaml.
        home: The `.darkroom` folder.
        name: The registered model.
        version: The challenger.
        config: The section `promote`.

    Raises:
        TransientError: MLflow is away, or another process moved the champion while this version was judged.
    """
    with open_registry(home) as client:
        champion, events = state(client, project, home, name, config)
        challenger = resolve(client, f"{name}/{version}")
        if champion is not None and champion.number == version:
            return Decision(
                verdict="unchanged", reason=f"{challenger.ref} is the champion already", challenger=challenger.ref, champion=challenger.ref
            )
        if put_away := _put_away(events, version):
            away = f"{put_away.who} put {challenger.ref} away ({put_away.kind}: {put_away.reason})"
            reason = f"{away}. `darkroom models promote {challenger.ref}` brings it back"
            return Decision(verdict="refused", reason=reason, challenger=challenger.ref, champion=champion.ref if champion else None)
        images = open_test_images(project, data_name_of(project))
        key = _key(champion, images, config)
        if challenger.tags.get(DECISION_KEY) == key and DECISION_JSON in challenger.tags:
            told = Decision.model_validate_json(challenger.tags[DECISION_JSON])
            if told.verdict == "refused":
                log.info("judged before, with the same champion, test images and limits: %s", told.reason)
                return told
        try:
            decision, numbers = judge(home, challenger, champion, images, config)
        except InputError as error:  # other classes, or test images that one of them knows
            decision, numbers = _not_judged(challenger, champion, error), {}
        _enter(client, challenger, champion, decision, numbers, key)
        return decision


def promote(project: Path, home: Path, ref: str, config: PromoteConfig, reason: str, override: bool = False) -> Decision:
    """Judge a version as `judge_and_promote` does because a person asks for it; with `override` it is promoted whatever comes of it.

    Args:
        project: The folder with data/NAME, data/splits.parquet and params.yaml.
        home: The `.darkroom` folder.
        ref: NAME/V or NAME@ALIAS.
        config: The section `promote`.
        reason: Why; it stays in the history.
        override: Promote it against the checks, or where it cannot be judged. What they found stays in the history.

    Raises:
        GateRefused: It was judged and refused.
        InputError: It cannot be judged (other classes, test images that it knows), and `override` is not set.
        TransientError: MLflow is away, or another process moved the champion while this version was judged.
    """
    with open_registry(home) as client:
        challenger = resolve(client, ref)
        champion, _ = state(client, project, home, challenger.name, config)
        if champion is not None and champion.number == challenger.number:
            return Decision(
                verdict="unchanged", reason=f"{challenger.ref} is the champion already", challenger=challenger.ref, champion=challenger.ref
            )
        key = ""
        try:
            images = open_test_images(project, data_name_of(project))
            key = _key(champion, images, config)
            decision, numbers = judge(home, challenger, champion, images, config)
        except InputError as error:
            if not override:
                raise
            decision, numbers = _not_judged(challenger, champion, error), {}
        found = decision.reason
        if override and decision.verdict == "refused":
            overridden = f"{reason}. Promoted by override, against: {decision.reason}"
            decision = decision.model_copy(update={"verdict": "promoted", "reason": overridden, "overridden": True})
        else:
            decision = decision.model_copy(update={"reason": f"{reason}. {decision.reason}"})
        _enter(client, challenger, champion, decision, numbers, key)
    if decision.verdict == "refused":
        raise GateRefused(f"{challenger.ref} was not promoted. {found}. --override promotes it all the same")
    return decision


def rollback(home: Path, name: str, reason: str, to: int | None = None) -> Event:
    """Make an earlier champion the champion again.

    Args:
        home: The `.darkroom` folder.
        name: The registered model.
        reason: Why; it stays in the history.
        to: The version; None: the champion before this one.

    Raises:
        InputError: There is no such model, no earlier champion, or no such version.
    """
    with open_registry(home) as client:
        if history.registered_model(client, name) is None:
            raise no_such_model(name, (model.name for model in registered_models(client)))
        champion, events = state(client, home.parent, home, name, None)
        if to is None:
            before = history.champions_before(events)
            if not before:
                raise InputError(
                    f"{name} has no champion before {champion.ref if champion else 'the first'}; name one: darkroom models rollback --to V"
                )
            to = before[-1]
        target = resolve(client, f"{name}/{to}")
        if champion is not None and champion.number == target.number:
            raise InputError(f"{target.ref} is the champion already")
        event = history.new_event("rolled back", target.number, champion.number if champion else None, reason)
        history.move_champion(client, name, event)
    log.info("%s is the champion again (was %s)", target.ref, champion.ref if champion else "none")
    return event


def _not_judged(challenger: Version, champion: Version | None, error: InputError) -> Decision:
    return Decision(verdict="refused", reason=f"not judged: {error}", challenger=challenger.ref, champion=champion.ref if champion else None)


def _enter(client: Any, challenger: Version, champion: Version | None, decision: Decision, numbers: dict[str, float], key: str) -> None:
    kind: Kind = "promoted" if decision.verdict == "promoted" else "refused"
    event = history.new_event(kind, challenger.number, champion.number if champion else None, decision.reason, numbers)
    texts = {DECISION: f"{event.minute} {kind} by {event.who}: {decision.reason}", DECISION_JSON: decision.model_dump_json(), DECISION_KEY: key}
    if kind == "refused":  # before the tags, by which it counts as judged: cut off in between, it is judged again
        history.append(client, challenger.name, event)
    for tag, text in texts.items():
        client.set_model_version_tag(challenger.name, str(challenger.number), tag, text)
    if kind == "promoted":
        try:
            history.move_champion(client, challenger.name, event)
        except TransientError:  # overtaken: it was judged against a champion that is none any more
            for tag in texts:
                client.delete_model_version_tag(challenger.name, str(challenger.number), tag)
            raise
    log.info("%s: %s", kind, decision.reason)


def _put_away(events: list[Event], version: int) -> Event | None:
    """Return the event by which a person last took the alias from a version, unless it was promoted since."""
    found = None
    for event in events:
        if event.kind in ("rolled back", "moved by hand") and event.previous == version:
            found = event
        if event.champion_after == version:
            found = None
    return found


def _key(champion: Version | None, images: TestImages, config: PromoteConfig) -> str:
    text = f"{champion.digest if champion else 'none'} {images.digest} {config.model_dump_json()}"
    return hashlib.sha256(text.encode()).hexdigest()
