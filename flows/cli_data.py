"""`darkroom data …`: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import only_answers

data = typer.Typer(help="Labelled datasets: import, check, version, compare.", no_args_is_help=True, rich_markup_mode=None)


@data.callback()
def data_answers() -> None:
    """Labelled datasets: import, check, version, compare."""
    only_answers()


@data.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="A folder, an archive, s3://BUCKET/PREFIX, sklearn:digits or torchvision:NAME.")],
    name: Annotated[str | None, typer.Option(help="The dataset's name. [default: from the source]")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="The source's layout. [default: found out]")] = None,
    task: Annotated[str | None, typer.Option(help="What it is labelled for. [default: what the annotations are best for]")] = None,
    version: Annotated[str | None, typer.Option(help="The version this is. [default: 1.0.0, or as it was]")] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add to the dataset of that name; known images may be relabelled.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of the dataset of that name.")] = False,
) -> None:
    """Bring a labelled dataset in, tracked by DVC.

    The images' bytes stay as they are; a manifest names them with their annotations.
    """
    from flows.data_commands import import_data

    print(import_data(Path.cwd(), source, name, format_, task, version, append, replace))
