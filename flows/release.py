"""What follows the stages and is never cached: register, compare with the champion and promote, publish."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ruamel.yaml import YAML

from components.config import read_params, section_of
from components.errors import DarkroomError, GateRefused
from components.git import git
from flows.account import Account
from flows.isolation import save_experiment
from flows.stages import Outcome, run_task

if TYPE_CHECKING:
    from components.registry.config import PromoteConfig, PublishConfig, RegisterConfig
    from components.registry.decision import Decision
    from components.registry.lineage import Lineage
    from components.registry.register import Registered


@dataclass(frozen=True)
class Settings:
    """The sections of params.yaml that concern what follows the stages."""

    dataset: str
    required: list[str]
    register: RegisterConfig
    promote: PromoteConfig
    publish: PublishConfig


def release(project: Path, account: Account, promote: bool, isolated: bool) -> None:
    """Register the bundle and, if `promote`, judge it against the champion; publish it if it wins."""
    from components.registry.config import PromoteConfig, PublishConfig, RegisterConfig

    params = read_params(project / "params.yaml")
    settings = Settings(
        dataset=account.dataset,
        required=params.get("export", {}).get("required", []),
        register=section_of(params, RegisterConfig),
        promote=section_of(params, PromoteConfig),
        publish=section_of(params, PublishConfig),
    )
    account.track()
    registered = _step(account, "register", lambda: _register(project, account, settings, isolated))
    if registered is None or not promote:
        return
    decision = _step(account, "promote", lambda: _promote(project, account, settings, registered))
    if decision is not None and decision.verdict != "refused":
        _step(account, "publish", lambda: _publish(account, settings, registered.name))


T = TypeVar("T")
Done = Literal["ran", "skipped", "refused"]


def _step(account: Account, name: str, work: Callable[[], tuple[T, str, Done]]) -> T | None:
    """Run one of them as a Prefect task; `work` returns its result, a line about it, and what became of it."""
    results: list[T] = []

    def attempt() -> Outcome:
        started = time.monotonic()
        try:
            result, text, state = work()
        except DarkroomError as error:
            kind: Literal["refused", "failed"] = "refused" if isinstance(error, GateRefused) else "failed"
            return Outcome(name, kind, time.monotonic() - started, str(error), error.exit_code)
        except KeyboardInterrupt:
            return Outcome(name, "interrupted", time.monotonic() - started, "interrupted; the next run goes on from here", 130)
        results.append(result)
        return Outcome(name, state, time.monotonic() - started, text)

    account.add(run_task(name, attempt))
    return results[-1] if results and account.going else None


def _register(project: Path, account: Account, settings: Settings, isolated: bool) -> tuple[Registered, str, Done]:
    from components.registry.register import register

    if isolated:
        git(project, "checkout", "--force", "--detach", save_experiment(project, account.run))
    run_id = account.mlflow_run()
    registered = register(project, account.home, settings.dataset, settings.register, settings.required, run_id)
    account.model, account.version, account.registered_now = registered.name, registered.version, registered.created
    account.lineage = lineage_lines(registered.lineage)
    text = (
        f"{registered.name}/{registered.version} is new" if registered.created else f"registered already, as {registered.name}/{registered.version}"
    )
    return registered, text, "ran" if registered.created else "skipped"


def lineage_lines(lineage: Lineage) -> dict[str, str]:
    """Return a lineage as people read it: what is not known is left out, what has parts is YAML."""
    known = {name: value for name, value in lineage.model_dump(mode="json").items() if value not in (None, [], {})}
    known.pop("dataset")  # the page names it itself
    return {name: _as_text(value) for name, value in known.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, dict | list):
        return str(value)
    text = io.StringIO()
    YAML().dump(value, text)
    return text.getvalue().rstrip()


def _promote(project: Path, account: Account, settings: Settings, registered: Registered) -> tuple[Decision, str, Done]:
    """Judge; a challenger that is kept out is an ordinary ending of a run, not an error."""
    from components.registry.promote import judge_and_promote

    decision = judge_and_promote(project, account.home, registered.name, registered.version, settings.promote)
    account.decision = decision
    states: dict[str, Done] = {"promoted": "ran", "refused": "refused", "unchanged": "skipped"}
    return decision, decision.reason, states[decision.verdict]


def _publish(account: Account, settings: Settings, name: str) -> tuple[Any, str, Done]:
    from components.registry.publish import publish_champion

    published = publish_champion(account.home, name, settings.publish.uri)
    where = f"{published.uri}/{published.key}"
    return published, where, "ran" if published.uploaded or published.moved else "skipped"
