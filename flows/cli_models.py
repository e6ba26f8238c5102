"""`darkroom models …`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import only_answers

models = typer.Typer(help="Model versions: list, show, compare, promote, roll back.", no_args_is_help=True, rich_markup_mode=None)


def _home() -> Path:
    """Return the project's `.darkroom`.

    Raises:
        ConfigError: This folder is no project, and the environment names no MLflow server either.
    """
    from flows.parameters import require_registry

    require_registry(Path.cwd())
    return Path.cwd() / ".darkroom"


@models.callback()
def models_answers() -> None:
    """Model versions: list, show, compare, promote, roll back."""
    only_answers()


@models.command("list")
def list_() -> None:
    """List all versions."""
    from components.registry import models_view

    print(models_view.list_text(_home()))


@models.command()
def show(ref: Annotated[str, typer.Argument(metavar="NAME/V|NAME@ALIAS")]) -> None:
    """Show a version: its lineage, proofs and decision."""
    from components.registry import models_view

    print(models_view.show_text(_home(), ref))


@models.command()
def compare(champion: Annotated[str, typer.Argument(metavar="A")], challenger: Annotated[str, typer.Argument(metavar="B")]) -> None:
    """Compare two versions on the pinned test images."""
    from flows.commands import compare_models

    print(compare_models(Path.cwd(), champion, challenger))


Reason = Annotated[str, typer.Option(help="Why; it stays in the history.")]


@models.command()
def promote(
    ref: Annotated[str, typer.Argument(metavar="NAME/V")],
    reason: Reason = "by hand",
    override: Annotated[bool, typer.Option("--override", help="Promote it though it is judged worse.")] = False,
) -> None:
    """Judge a version, and make it the champion if it is better.

    It is judged against the champion; what becomes the champion is published.
    """
    from flows.commands import promote_model

    print(promote_model(Path.cwd(), ref, reason, override))


@models.command()
def rollback(
    name: Annotated[str | None, typer.Argument(help="[default: the dataset's model]")] = None,
    to: Annotated[int | None, typer.Option(help="The version to go back to. [default: the champion before]", metavar="V")] = None,
    reason: Reason = "by hand",
) -> None:
    """Make an earlier champion the champion again.

    In MLflow and in the object store.
    """
    from flows.commands import rollback_model

    print(rollback_model(Path.cwd(), name, to, reason))


@models.command()
def history(name: Annotated[str | None, typer.Argument(help="[default: the dataset's model]")] = None) -> None:
    """Print who became champion when, and why."""
    from components.registry import models_view
    from components.registry.config import model_name_of

    print(models_view.history_text(_home(), name or model_name_of(Path.cwd())))
