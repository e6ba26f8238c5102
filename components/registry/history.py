"""What happened to a model's versions, in order.

Each event is a tag of its own on MLflow's registered model. A tag outlives the deletion of versions and runs, is where every client of the
registry can read it, and writing one never rewrites another: two writers at once both stay. `pending` is written before the alias moves, so that a
move that was cut off is finished by the next command and is not taken for one by hand.
"""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import uuid
from datetime import UTC, datetime
from typing import Any

from components.errors import TransientError
from components.registry.decision import Event, Kind

CHAMPION, CHALLENGER = "champion", "challenger"
_EVENT, _PENDING = "darkroom.history.", "darkroom.pending"
#: A registered model's tag holds 5,000 characters in a database other than SQLite.
_MAX_REASON = 3000


def registered_model(client: Any, name: str) -> Any:
    """Return MLflow's registered model with tags and aliases; None if there is none of that name."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def events_of(model: Any) -> list[Event]:
    """Return the events that stand on a registered model, the oldest first."""
    if model is None:
        return []
    texts = [text for key, text in sorted(model.tags.items()) if key.startswith(_EVENT)]
    return [Event.model_validate_json(text) for text in texts]


def new_event(kind: Kind, version: int | None, previous: int | None, reason: str, numbers: dict[str, float] | None = None) -> Event:
    """Return an event of this moment by this person."""
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    return Event(at=at, kind=kind, version=version, previous=previous, who=who(), reason=reason[:_MAX_REASON], numbers=numbers or {})


def append(client: Any, name: str, event: Event) -> None:
    """Add one event to a model's history."""
    client.set_registered_model_tag(name, _key(event), event.model_dump_json())


def move_champion(client: Any, name: str, event: Event) -> None:
    """Move the alias to the event's version and enter the event; a kill in between is made good by `finish_pending`.

    MLflow's aliases know no compare-and-set, and the lock of a checkout does not reach another machine. So the alias is read before and after, and
    `pending` before: of two that move it at once, the one that finds the other's mark withdraws. What is left is the time between one answer of
    the server and the next request: both may then be entered, the alias says which came last, and where the history says otherwise the next command
    judges the move as one by hand.

    Raises:
        TransientError: The champion is no longer the one that `event` says, or another process is moving it; nothing was entered.
    """
    if (found := champion_of(registered_model(client, name))) != event.previous:
        raise _overtaken(name, found)
    text = json.dumps({"key": _key(event), "event": event.model_dump_json()})
    client.set_registered_model_tag(name, _PENDING, text)
    model = registered_model(client, name)
    if model.tags.get(_PENDING) != text:
        raise _overtaken(name, champion_of(model))
    finish_pending(client, name, model)


def finish_pending(client: Any, name: str, model: Any) -> bool:
    """Finish a move that was begun; False if there is none.

    A move that was cut off is dropped where the alias has been moved since: whoever did it came later.

    Raises:
        TransientError: Another process moved the alias in this moment; its move stands, and this one was not entered.
    """
    text = model.tags.get(_PENDING) if model is not None else None
    if not text:
        return False
    pending = json.loads(text)
    event = Event.model_validate_json(pending["event"])
    if champion_of(model) in (event.previous, event.version):
        client.set_registered_model_alias(name, CHAMPION, str(event.version))
        found = champion_of(registered_model(client, name))
        if found != event.version:
            client.delete_registered_model_tag(name, _PENDING)
            raise _overtaken(name, found)
        client.set_registered_model_tag(name, pending["key"], pending["event"])
    client.delete_registered_model_tag(name, _PENDING)
    return True


def champion_of(model: Any) -> int | None:
    """Return the version that bears the alias now."""
    alias = model.aliases.get(CHAMPION) if model is not None else None
    return int(alias) if alias is not None else None


def _overtaken(name: str, found: int | None) -> TransientError:
    now = f"{name}/{found}" if found is not None else "none"
    return TransientError(f"another process moved the champion of {name} in the meantime (now: {now}); this move was not entered. Run it again")


def champion_by_history(events: list[Event]) -> int | None:
    """Return the champion that the history ends with."""
    champion = None
    for event in events:
        champion = event.champion_after if event.kind != "registered" else champion
    return champion


def champions_before(events: list[Event]) -> list[int]:
    """Return the champions that a rollback can go back to, the nearest last: a rollback takes away the ones it went behind."""
    stack: list[int] = []
    for event in events:
        if event.kind == "rolled back" and event.version in stack:
            del stack[stack.index(event.version) :]
        if event.kind in ("promoted", "rolled back", "moved by hand") and event.version is not None:
            if event.version in stack:
                stack.remove(event.version)
            stack.append(event.version)
    return stack[:-1] if stack and stack[-1] == champion_by_history(events) else stack


def who() -> str:
    """Return who acts: DARKROOM_USER, else git's user, else the login name."""
    if given := os.environ.get("DARKROOM_USER"):
        return given
    try:
        name = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except OSError:
        name = ""
    return name or getpass.getuser()


def _key(event: Event) -> str:
    moment = event.at.replace(":", "").replace("+0000", "Z")
    return f"{_EVENT}{moment}-{uuid.uuid5(uuid.NAMESPACE_OID, event.model_dump_json()).hex[:8]}"
