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
    source: Annotated[str, typer.Argument(help="A folder, an archive, s3://BUCKET/PREFIX, torchvision:NAME, sklearn:digits or composed:detection.")],
    name: Annotated[str | None, typer.Option(help="The dataset's name. [default: from the source]")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="The source's layout. [default: found out]")] = None,
    task: Annotated[str | None, typer.Option(help="What it is labelled for. [default: what the annotations are best for]")] = None,
    version: Annotated[str | None, typer.Option(help="The version this is. [default: 1.0.0, or as it was]")] = None,
    append: Annotated[bool, typer.Option("--append", help="Add to the dataset of that name; known images may be relabelled.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of the dataset of that name.")] = False,
    ray: Annotated[str | None, typer.Option(help="Read and write the images on a Ray cluster.", metavar="ADDRESS")] = None,
) -> None:
    """Bring a labelled dataset in, tracked by DVC.

    The images' bytes stay as they are; a manifest names them with their annotations.
    """
    from flows.data_commands import import_data

    print(import_data(Path.cwd(), source, name, format_, task, version, append, replace, ray_address=ray))


@data.command()
def export(
    name: Annotated[str, typer.Argument(help="The dataset, or NAME@v1.2.0.")],
    format_: Annotated[str, typer.Option("--format", help="coco, voc, yolo, image_folder or masks.")],
    out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")],
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out boxes, ignore, polygons, masks, labels or splits. Repeatable.", metavar="PART")
    ] = None,
) -> None:
    """Write a dataset in another layout, image bytes as they are.

    What was written is read again and compared before OUT appears; what the layout has no place for is refused.
    """
    from flows.data_commands import export_data

    print(export_data(Path.cwd(), name, format_, out, without or []))


@data.command()
def check(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    against: Annotated[
        str | None, typer.Option(help="Compare with NAME@v1.2.0, a dataset's folder, or none. [default: the version approved last]")
    ] = None,
    labels: Annotated[bool | None, typer.Option("--labels/--no-labels", help="Look for likely wrong labels. [default: as params.yaml says]")] = None,
    ray: Annotated[str | None, typer.Option(help="Look at the images on a Ray cluster.", metavar="ADDRESS")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
) -> None:
    """Say what is wrong with a dataset, as the stage validate does.

    Exit code 3: it may not be trained on. Rules, bounds and levels stand in params.yaml, section validate.
    """
    from flows.data_checks import check_data

    text, code = check_data(Path.cwd(), name, against, labels, ray, json_)
    print(text)
    raise typer.Exit(code)


@data.command()
def commit(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    message: Annotated[str, typer.Option("--message", "-m", help="What changed, for people.", metavar="TEXT")],
    version: Annotated[str | None, typer.Option(help="As in 1.3.0. [default: the next minor one]")] = None,
) -> None:
    """Make a version of data/NAME.

    Its bytes go to the remote, data/NAME.dvc into git, and the tag NAME@v1.3.0 comes last. A command that was killed is typed again and goes on.
    """
    from flows.data_versions import commit_text

    print(commit_text(Path.cwd(), name, message, version))


@data.command("log")
def log_(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    json_: Annotated[bool, typer.Option("--json", help="As JSON, with all counts.")] = False,
) -> None:
    """Show the versions of a dataset, the newest first."""
    from flows.data_versions import log_text

    print(log_text(Path.cwd(), name, json_))


@data.command()
def diff(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    a: Annotated[str, typer.Argument(help="A version, as in 1.2.0.")],
    b: Annotated[str | None, typer.Argument(help="Another. [default: the working copy]")] = None,
    out: Annotated[Path | None, typer.Option(help="Where page and list go. [default: reports/diff/NAME/A..B]")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Compare two versions.

    Counts by class, a list, a page with pictures.
    """
    from flows.data_versions import diff_text

    print(diff_text(Path.cwd(), name, a, b, out, json_))


@data.command()
def get(
    version: Annotated[str, typer.Argument(help="As in NAME@v1.2.0.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
) -> None:
    """Write a version as a plain folder."""
    from flows.data_versions import get_text

    print(get_text(Path.cwd(), version, out))


@data.command()
def pull(
    version: Annotated[str, typer.Argument(help="NAME, or NAME@v1.2.0.")],
    force: Annotated[bool, typer.Option("--force", help="Write over changes that no version holds.")] = False,
) -> None:
    """Bring data/NAME, or a version of it."""
    from flows.data_versions import pull_text

    print(pull_text(Path.cwd(), version, force))


@data.command()
def approve(
    version: Annotated[str, typer.Argument(help="As in NAME@v1.3.0.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, for people.", metavar="TEXT")] = "",
) -> None:
    """Let a version be trained on.

    Scheduled retraining uses the newest approved version, and drift is measured against it.
    """
    from flows.data_versions import approve_text

    print(approve_text(Path.cwd(), version, True, reason))


@data.command()
def revoke(
    version: Annotated[str, typer.Argument(help="As in NAME@v1.3.0.")],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, for people.", metavar="TEXT")] = "",
) -> None:
    """Take an approval back."""
    from flows.data_versions import approve_text

    print(approve_text(Path.cwd(), version, False, reason))


@data.command()
def relabel(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    from_: Annotated[Path, typer.Option("--from", help="A CSV or Parquet file with image_id and label.", metavar="TABLE")],
) -> None:
    """Put corrected labels in; no image byte moves."""
    from flows.data_versions import relabel_text

    print(relabel_text(Path.cwd(), name, from_))


@data.command()
def merge(
    a: Annotated[str, typer.Argument(help="A dataset.")],
    b: Annotated[str, typer.Argument(help="Another.")],
    name: Annotated[str, typer.Option(help="The new one.")],
    map_: Annotated[list[str] | None, typer.Option("--map", help="A class's new name; x=x keeps it. Repeatable.", metavar="OLD=NEW")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the classes that one of them alone has.")] = False,
) -> None:
    """Make a third dataset of two.

    Classes are mapped as they are told to be; image bytes stay as they are.
    """
    from flows.data_versions import merge_text

    print(merge_text(Path.cwd(), (a, b), name, map_ or [], keep))


@data.command()
def forget(
    name: Annotated[str, typer.Argument(help="The dataset.")],
    images: Annotated[list[str], typer.Argument(help="Ids as the manifest has them.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in git for good, so name no person.", metavar="TEXT")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take images out of every version, for good.

    They leave the cache and the remote, too, and so does what stages made of them.
    The versions stay and are marked; models trained on the images are listed.
    """
    from flows.data_versions import forget_plan, forget_text, plan_text

    project = Path.cwd()
    planned = forget_plan(project, name, images)
    print(plan_text(project, planned))
    if not yes:
        typer.confirm("This cannot be undone. Go on?", abort=True)
    print(forget_text(project, planned, reason))


@data.command()
def compact(name: Annotated[str, typer.Argument(help="The dataset.")]) -> None:
    """Write the shards anew, without what no row names."""
    from flows.data_versions import compact_text

    print(compact_text(Path.cwd(), name))
