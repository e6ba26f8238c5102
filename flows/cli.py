"""`darkroom`: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from components.errors import DarkroomError
from flows.cli_data import data
from flows.cli_models import models
from flows.terminal import only_answers, say, set_up

app = typer.Typer(
    name="darkroom",
    help="Retrains vision models when their data changes, and lets no worse model into production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data, name="data")
app.add_typer(models, name="models")

Home = Path(".darkroom")
Until = Annotated[str | None, typer.Option(help="The last stage to run; what follows is left alone.", metavar="STAGE")]
Set = Annotated[list[str] | None, typer.Option("--set", "-S", help="Write a value into params.yaml first. Repeatable.", metavar="SECTION.KEY=VALUE")]
Latest = Annotated[bool, typer.Option("--latest", help="Fetch and pull the newest version of the data first.")]
Isolated = Annotated[bool, typer.Option("--isolated", help="Work in a git worktree of its own, on the last commit.")]


@app.command("init")
def init_project(
    folder: Annotated[Path, typer.Argument(help="An empty folder, or a new one.", metavar="DIR")],
    task: Annotated[
        str | None, typer.Option(help="classification, detection or segmentation. [default: classification, or what SOURCE is labelled for]")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="Your images, as darkroom data import takes them. [default: handwritten digits]", metavar="SOURCE")
    ] = None,
) -> None:
    """Make a project that runs at once, in a folder of its own.

    Then: cd DIR; darkroom run.
    """
    from flows.init import init_text

    only_answers()
    print(init_text(folder, task, source))


@app.command()
def run(
    until: Until = None,
    set_: Set = None,
    latest: Latest = False,
    no_promote: Annotated[bool, typer.Option("--no-promote", help="Register the challenger, and leave the champion alone.")] = False,
    isolated: Isolated = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a run that is at work in this checkout.")] = False,
) -> None:
    """Run what is out of date, from data to a judged model.

    Then register it, compare it with the champion, promote and publish it if it is better.
    """
    from flows.parameters import parse_overrides
    from flows.start import Options, start

    options = Options(
        "latest" if latest else "checked-out", parse_overrides(set_ or []), until, "never" if no_promote else "auto", isolated, wait, _debug()
    )
    raise typer.Exit(start(options))


@app.command()
def status(until: Until = None) -> None:
    """Say which stages would run, and why."""
    from flows.status import status_text

    print(status_text(Path.cwd(), until))


@app.command()
def demo() -> None:
    """Show all of it on digits, in three acts.

    Data changes, a model earns its place, bad data does not.
    """
    from flows.demo import demo as show

    raise typer.Exit(show(Path.cwd(), _debug()))


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's page.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's page.")] = 5000,
) -> None:
    """Start local Prefect and MLflow servers, for their pages."""
    from flows import servers
    from flows.parameters import require_project

    require_project(Path.cwd())
    for name, server in sorted(servers.up(Home.absolute(), prefect_port, mlflow_port).items()):
        print(f"{name:<9}{server.url}")
    print("They go on until: darkroom down")


@app.command()
def down() -> None:
    """Stop these servers."""
    from flows import servers
    from flows.parameters import require_project

    if not Home.is_dir():  # the servers of a project that lies elsewhere go on
        require_project(Path.cwd())
    stopped = servers.down(Home.absolute())
    print(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def serve(
    cron: Annotated[str, typer.Option(help="When to retrain.", metavar="'M H D M W'")] = "0 3 * * 1",
    latest: Annotated[bool, typer.Option("--latest/--checked-out", help="The newest data, fetched and pulled, or what the last commit says.")] = True,
) -> None:
    """Serve `retrain` on a schedule; its runs are isolated. Goes on until Ctrl-C."""
    from flows.start import serve as serve_flow

    serve_flow(cron, latest)


@app.command()
def report(show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False) -> None:
    """Print where the last run's report is, or open it."""
    page = Path("reports/index.html").absolute()
    if not page.exists():
        from flows.parameters import require_project

        require_project(Path.cwd())
        from components.errors import InputError

        raise InputError(f"{page} not found; it is made at the end of: darkroom run")
    print(page)
    if show:
        typer.launch(page.as_uri())


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", metavar="IMAGE")],
    model: Annotated[str | None, typer.Option(help="NAME@champion, NAME/7, or a bundle's folder. [default: the champion]")] = None,
    artifact: Annotated[str | None, typer.Option(help="VARIANT-FORMAT in the bundle. [default: the one that serves]")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to a .csv or .json file.", metavar="FILE")] = None,
) -> None:
    """Print labels and scores of images, with a bundle alone."""
    from flows.commands import predict as predict_images

    raise typer.Exit(predict_images(Home.absolute(), images, model, artifact, out))


@app.command()
def explain(
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.", metavar="IMAGE")],
    model: Annotated[str | None, typer.Option(help="NAME@champion, NAME/7, or a model's folder. [default: models/tuned]")] = None,
    out: Annotated[Path, typer.Option(help="The folder of the pictures.", metavar="DIR")] = Path("explained"),
) -> None:
    """Draw where in images is what speaks for the answers."""
    from flows.explaining import explain as explain_images

    raise typer.Exit(explain_images(Home.absolute(), images, model, out))


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001 (main takes it: it may stand anywhere)
) -> None:
    """Retrains vision models when their data changes, and lets no worse model into production."""
    if version:
        from importlib.metadata import version as installed

        print(f"darkroom {installed('darkroom')}")
        raise typer.Exit


def _debug() -> bool:
    return "debug" in _asked


_asked: set[str] = set()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `components.errors`."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = [argument for argument in given if argument != "--debug"]
    debug = arguments != given
    _asked.clear()
    if debug:
        _asked.add("debug")
    set_up()
    try:
        code = app(arguments, prog_name="darkroom", standalone_mode=False)
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _explain(error, arguments)
    except KeyboardInterrupt:
        say("darkroom: interrupted")
        return 130
    return int(code or 0)


def _explain(error: Exception, arguments: Sequence[str]) -> int:
    """Tell an error in one line and return its exit code."""
    if isinstance(error, DarkroomError):
        say(f"darkroom: {error}")
        return error.exit_code
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return 130
    if isinstance(error, TyperException):
        text = str(getattr(error, "format_message", error.__str__)()).rstrip(".")  # it alone names the option that has a wrong value
        if text.startswith("Usage:"):  # nothing was asked: the help is the answer
            say(text)
        else:
            say(f"darkroom: {text}{'' if text.endswith('?') else '.'} How it goes: {_command_path(error, arguments)} --help")
        return 2
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
        say(f"darkroom: {error.filename} may not be written or read ({error.strerror}). Give yourself the right to, or work in another folder")
        return 2
    say(f"darkroom: a bug: {type(error).__name__}: {error}. The whole story: the same command with --debug")
    return 1


def _command_path(error: TyperException, arguments: Sequence[str]) -> str:
    """Return the command that was asked for; the error of an option without its value does not know it."""
    if context := getattr(error, "ctx", None):
        return str(context.command_path)
    path, commands = ["darkroom"], getattr(typer.main.get_command(app), "commands", {})
    for argument in arguments:
        if argument not in commands:
            break
        path.append(argument)
        commands = getattr(commands[argument], "commands", {})
    return " ".join(path)


if __name__ == "__main__":
    sys.exit(main())
