"""git, started by name: what lineage and versions of data are told by."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from components.errors import ConfigError, TransientError


def git(project: Path, *arguments: str, check: bool = True, text: str | None = None, env: Mapping[str, str] | None = None) -> str | None:
    """Run git in a folder and return what it prints; None if it fails and `check` is false.

    Args:
        project: The folder.
        arguments: The command and what follows it.
        check: Whether a failure is an error.
        text: What it reads from standard input.
        env: Added to the environment.

    Raises:
        ConfigError: It fails, or git is not installed.
        TransientError: Another git command holds the repository.
    """
    environment = {**os.environ, "LC_ALL": "C", **(env or {})}  # what it says is looked into below, and by callers
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=project, capture_output=True, encoding="utf-8", errors="replace", check=False, input=text, env=environment
        )
    except FileNotFoundError:
        raise ConfigError("git is not installed, and lineage needs it") from None
    if done.returncode == 0:
        return done.stdout.strip()
    if not check:
        return None
    said = " ".join(done.stderr.split())
    if ".lock': File exists" in said:
        raise TransientError(f"another git command is at work in {project}, or one was killed: {said}")
    raise ConfigError(f"git {arguments[0]} failed: {said or ' '.join(done.stdout.split())}")


def stand_in(project: Path) -> dict[str, str]:
    """Return the environment in which a commit has an author, also on a machine where git knows none; empty where it does."""
    if git(project, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT", check=False) is not None:
        return {}
    return {
        f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Darkroom"), ("EMAIL", "darkroom@localhost"))
    }
