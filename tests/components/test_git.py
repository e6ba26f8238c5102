from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.errors import ConfigError, TransientError
from components.git import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def test_it_returns_what_git_says_and_none_where_a_failure_is_expected(repository: Path) -> None:
    assert git(repository, "rev-parse", "--is-inside-work-tree") == "true"
    assert git(repository, "rev-parse", "--verify", "--quiet", "HEAD", check=False) is None
    assert git(repository, "hash-object", "--stdin", text="wäs") == git(repository, "hash-object", "--stdin", text="wäs")


def test_a_failure_is_one_line(repository: Path) -> None:
    with pytest.raises(ConfigError, match=r"git show failed: fatal: [^\n]*nowhere[^\n]*$"):
        git(repository, "show", "nowhere")


def test_a_held_lock_says_try_again(repository: Path) -> None:
    (repository / "a").write_text("a")
    (repository / ".git" / "index.lock").touch()
    with pytest.raises(TransientError, match="another git command is at work"):
        git(repository, "add", "a")


def test_no_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="git is not installed"):
        git(tmp_path, "status")
