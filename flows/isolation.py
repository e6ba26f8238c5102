"""A run in a git worktree of its own under `.darkroom/runs/`, so that nothing it does meets what a person does in the checkout.

It works on the last commit, not on uncommitted edits. DVC's cache and `.darkroom` are shared with the checkout. Its stages are
saved as a DVC experiment: a git commit, on no branch, that holds its parameters and its dvc.lock, for the lineage to name.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.dvc_repo import opened
from components.errors import ConfigError
from components.git import git
from flows.lock import is_locked

log = logging.getLogger(__name__)

_KEPT_FAILED = 3


class Unfinished(Exception):
    """Raised through `worktree` by a run that did not end well: its worktree is to stay."""


@contextmanager
def worktree(project: Path, name: str) -> Iterator[Path]:
    """Make a worktree of the last commit, work in it, and take it away; the newest few that failed stay to be looked at.

    Args:
        project: The checkout.
        name: The run's name.

    Raises:
        ConfigError: There is no git repository, or no commit in it.
    """
    if git(project, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", check=False) is None:
        raise ConfigError("an isolated run works on the last commit, and there is none here: git init, git add, git commit")
    root = project / ".darkroom" / "runs"
    prune(project)
    place = root / name
    root.mkdir(parents=True, exist_ok=True)
    git(project, "worktree", "add", "--detach", "--force", str(place), "HEAD")
    here = Path.cwd()
    complete = False
    try:
        (place / ".darkroom").symlink_to(project / ".darkroom", target_is_directory=True)
        _share_settings(project, place)
        _check_out(place)
        os.chdir(place)
        yield place
        complete = True
    finally:
        os.chdir(here)
        if complete:
            remove(project, place)


def remove(project: Path, place: Path) -> None:
    """Take a worktree away; what its stages made is in DVC's cache."""
    (place / ".darkroom").unlink(missing_ok=True)  # a link: the folder itself is the checkout's
    git(project, "worktree", "remove", "--force", str(place), check=False)
    shutil.rmtree(place, ignore_errors=True)
    git(project, "worktree", "prune", check=False)


def prune(project: Path) -> None:
    """Take away the worktrees of runs that failed or died, the newest few excepted; those in which a run is at work stay."""
    root = project / ".darkroom" / "runs"
    places = sorted((path for path in root.glob("*") if (path / ".git").exists()), key=lambda path: path.stat().st_mtime)
    for place in places[:-_KEPT_FAILED]:
        if not is_locked(place):
            remove(project, place)


def save_experiment(place: Path, name: str) -> str:
    """Save what the run made as a DVC experiment of that name and return its git commit."""
    with opened(place) as repo:
        return str(repo.experiments.save(name=name, force=True))


def _check_out(place: Path) -> None:
    """Bring data and outputs of the commit into the worktree, as far as the cache has them; a run makes or fetches the rest."""
    with opened(place) as repo:
        repo.checkout(force=True, allow_missing=True)


def _share_settings(project: Path, place: Path) -> None:
    """Give the worktree's DVC what the checkout's has beside git: its own settings (config.local), its cache, and remotes named relative to it."""
    from dvc.config import Config

    (place / ".dvc" / "config.local").touch(mode=0o600)  # a remote's credentials may stand in it
    with opened(project) as repo, Config(str(place / ".dvc")).edit("local") as settings:
        settings.update(repo.config.load_one("local"))
        for name, remote in repo.config["remote"].items():
            settings["remote"].setdefault(name, {})["url"] = remote["url"]
        settings["cache"].update(dir=str(Path(repo.cache.local.path).parents[1]), type="reflink,hardlink,copy")
