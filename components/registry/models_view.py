"""What `darkroom models …` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.errors import ConfigError
from components.registry import history
from components.registry.compare import Comparison
from components.registry.config import model_name_of
from components.registry.decision import Decision, Event
from components.registry.judge import points
from components.registry.reconcile import DECISION, reconcile
from components.registry.session import open_registry
from components.registry.versions import DIGEST_TAG, no_such_model, registered_models, resolve, version_of


def rows(home: Path) -> list[dict[str, str]]:
    """Return all versions of all models, the newest first: version, alias, dataset, registered, bundle, decision."""
    found = []
    with open_registry(home) as client:
        own = _own_model(home.parent)
        if own is not None:  # what others have in the same store is theirs to look after
            reconcile(client, home.parent, home, history.registered_model(client, own), None)
        for model in registered_models(client):
            for version in sorted(client.search_model_versions(f"name = '{model.name}'"), key=lambda version: -int(version.version)):
                aliases = sorted(alias for alias, number in model.aliases.items() if str(number) == str(version.version))
                found.append(_row(version_of(version), aliases))
    return found


def _own_model(project: Path) -> str | None:
    try:
        return model_name_of(project)
    except ConfigError:  # a list can be asked for anywhere
        return None


def _row(version: Any, aliases: Sequence[str]) -> dict[str, str]:
    return {
        "version": version.ref,
        "alias": ", ".join(aliases),
        "dataset": version.tags.get("darkroom.dataset", ""),
        "registered": datetime.fromtimestamp(version.created_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M"),
        "bundle": version.digest[:12],
        "decision": version.tags.get(DECISION, ""),
    }


def list_text(home: Path) -> str:
    """Return all versions as a table."""
    found = rows(home)
    if not found:
        return "no model is registered yet; `darkroom run` registers the first"
    return table([{**row, "decision": _cut(row["decision"], 90)} for row in found])


def show_text(home: Path, ref: str) -> str:
    """Return one version: where it comes from, what was decided, and its card.

    Args:
        home: The `.darkroom` folder.
        ref: NAME/V or NAME@ALIAS.
    """
    with open_registry(home) as client:
        reconcile(client, home.parent, home, history.registered_model(client, resolve(client, ref).name), None)
        version = resolve(client, ref)
        card = client.get_model_version(version.name, str(version.number)).description or ""
        aliases = client.get_registered_model(version.name).aliases
    facts = {
        "version": version.ref,
        "alias": ", ".join(sorted(alias for alias, number in aliases.items() if str(number) == str(version.number))) or "none",
        "bundle": version.tags.get(DIGEST_TAG, "not registered by Darkroom"),
        "decision": version.tags.get(DECISION, "not judged"),
    }
    width = max(map(len, facts))
    return "\n".join([*(f"{key:<{width}}  {value}" for key, value in facts.items()), "", card])


def history_text(home: Path, name: str) -> str:
    """Return who became champion when, and why, the oldest first.

    Raises:
        InputError: There is no such model.
    """
    with open_registry(home) as client:
        model = history.registered_model(client, name)
        if model is None:
            raise no_such_model(name, (model.name for model in registered_models(client)))
        reconcile(client, home.parent, home, model, None)
        events = history.events_of(history.registered_model(client, name))
    if not events:
        return f"{name} has no history: nothing of it was registered by Darkroom"
    return "\n".join(_line(name, event) for event in events)


def _line(name: str, event: Event) -> str:
    at = datetime.fromisoformat(event.at).astimezone().strftime("%Y-%m-%d %H:%M")
    version = f"{name}/{event.version}" if event.version is not None else "none"
    role = "champion" if event.kind == "refused" else "before"
    before = f" ({role}: {name}/{event.previous})" if event.previous not in (None, event.version) and event.kind != "registered" else ""
    return f"{at}  {event.kind:<13}  {version}{before}  by {event.who}: {event.reason}"


def compare_text(comparison: Comparison) -> str:
    """Return a comparison: both with intervals, the gain, and the classes that changed."""
    paired = comparison.paired
    dataset = comparison.dataset
    better = "better" if paired.gain.low > 0 else "worse" if paired.gain.high < 0 else "no difference beyond chance"
    interval = f"{points(paired.gain.low)} to {points(paired.gain.high)}"
    alike = "; both answer each of them exactly alike" if paired.num_different == 0 else ""
    lines = [
        f"{paired.num_images} test images of {dataset.name} {dataset.version}{alike}",
        table(
            [
                {"": name, paired.metric: f"{found.value:.2%}", "95% interval": f"{found.low:.2%} to {found.high:.2%}"}
                for name, found in ((comparison.champion, paired.a), (comparison.challenger, paired.b))
            ]
        ),
        f"gain of {comparison.challenger}: {points(paired.gain.value)} points (95% interval {interval}): {better}",
    ]
    changed = {name: drop for name, drop in sorted(paired.class_drops.items(), key=lambda item: -item[1]) if drop}
    if changed:
        lines += ["", "classes, the worst change first:"]
        lines.append(table([{"class": name, "points": points(-drop), "images": str(comparison.support[name])} for name, drop in changed.items()]))
    return "\n".join(lines)


def decision_text(decision: Decision) -> str:
    """Return a decision with its checks."""
    lines = [f"{decision.verdict}: {decision.reason}"]
    lines += [f"  {'passed' if check.passed else 'failed'}  {check.name}: {check.found} (wanted: {check.limit})" for check in decision.checks]
    return "\n".join(lines)


def table(found: Sequence[dict[str, str]]) -> str:
    """Return rows of equal keys as aligned text."""
    names = list(found[0])
    widths = {name: max(len(name), *(len(row[name]) for row in found)) for name in names}
    lines = [names, *([row[name] for name in names] for row in found)]
    return "\n".join("  ".join(f"{cell:<{widths[name]}}" for name, cell in zip(names, line, strict=True)).rstrip() for line in lines)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
