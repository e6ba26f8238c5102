from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from components.dvc_repo import opened
from components.errors import ConfigError
from components.git import git
from flows.isolation import Unfinished, save_experiment, worktree
from flows.lock import checkout_lock
from tests.flows.conftest import commit
from tests.flows.test_pipeline import run_all


def test_it_works_on_the_commit_and_leaves_the_checkout_alone(project: Path) -> None:
    run_all(project)
    commit(project)
    head = git(project, "rev-parse", "HEAD")
    (project / "params.yaml").write_text("broken: [")  # a person is in the middle of an edit
    with worktree(project, "one") as place:
        assert Path.cwd() == place
        assert (place / ".darkroom").resolve() == project / ".darkroom"
        assert (place / "second.txt").exists()
        params = place / "params.yaml"
        params.write_text(params.read_text().replace("times: 2", "times: 3"))
        assert run_all(place) == {"first": "skipped", "second": "ran"}
        saved = save_experiment(place, "one")
        assert "times: 3" in str(git(place, "show", f"{saved}:params.yaml"))
    assert Path.cwd() == project
    assert not place.exists()
    assert (project / "params.yaml").read_text() == "broken: ["
    assert git(project, "rev-parse", "HEAD") == head
    assert git(project, "cat-file", "-t", saved) == "commit"
    assert "one" in str(git(project, "for-each-ref", "refs/exps"))
    (project / "params.yaml").write_text(str(git(project, "show", f"{saved}:params.yaml")) + "\n")
    assert run_all(project)["second"] == "restored"  # the cache is shared


def test_the_worktrees_of_failed_runs_stay_but_not_for_ever(project: Path) -> None:
    for number in range(5):
        with pytest.raises(Unfinished), worktree(project, f"run-{number}"):
            raise Unfinished
    assert sorted(path.name for path in (project / ".darkroom" / "runs").iterdir()) == ["run-1", "run-2", "run-3", "run-4"]


def test_a_worktree_in_which_a_run_is_at_work_stays_however_many_failed_since(project: Path) -> None:
    with worktree(project, "long") as place, checkout_lock(place, wait=False):
        for number in range(4):
            with pytest.raises(Unfinished), worktree(project, f"run-{number}"):
                raise Unfinished
        assert (place / "dvc.yaml").exists()


def test_a_run_reaches_the_remotes_of_the_checkouts_own_configuration(project: Path) -> None:
    config = project / ".dvc" / "config"
    config.write_text("['remote \"beside\"']\n    url = ../../store\n")
    commit(project)
    store = "url = s3://bucket/store\n    endpointurl = http://127.0.0.1:9\n    access_key_id = abc\n    secret_access_key = def"
    (project / ".dvc" / "config.local").write_text(f"[core]\n    remote = far\n['remote \"far\"']\n    {store}\n")
    with worktree(project, "one") as place, opened(project) as own, opened(place) as its:
        assert its.config["core"]["remote"] == "far"
        assert its.config["remote"]["far"] == own.config["remote"]["far"]
        assert its.config["remote"]["beside"]["url"] == str(project.parent / "store")
        assert its.cache.local.path == own.cache.local.path
        assert (place / ".dvc" / "config.local").stat().st_mode & 0o077 == 0  # credentials stand in it


def test_no_commit_is_told(project: Path) -> None:
    subprocess.run(["rm", "-rf", ".git"], check=True)
    subprocess.run(["git", "init", "-q"], check=True)
    with pytest.raises(ConfigError, match="works on the last commit"), worktree(project, "one"):
        pass
