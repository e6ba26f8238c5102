from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.datasets.locks import writing
from components.datasets.manifest import dataset_ref, read_dataset
from components.datasets.versions import commit as commits
from components.datasets.versions.tags import versions
from components.errors import ConfigError, InputError, TransientError
from components.git import git
from components.records import Expectation, Verdict
from tests.components.datasets.versions.conftest import files_of, labelled, run, write

Commit = Callable[..., str]


def test_a_version_is_a_tag_that_says_what_is_in_it_and_its_bytes_are_on_the_remote(pets: Path, commit: Commit, tmp_path: Path) -> None:
    (pets / "half_done.py").write_text("x")
    run("git", "add", "half_done.py", cwd=pets)
    assert commit(pets, "first delivery") == "1.0.0"
    (version,) = versions(pets, "pets")
    assert (version.ref, version.who, version.message) == ("pets@v1.0.0", "Tess", "first delivery")
    assert version.record is not None
    assert (version.record.num_images, version.record.class_counts) == (12, {"cat": 6, "dog": 6})
    assert git(pets, "diff", "--cached", "--name-only") == "half_done.py"  # what else is staged stays staged
    assert set(str(git(pets, "show", "--name-only", "--format=", version.commit)).split()) == {"data/pets.dvc", "data/.gitignore"}
    assert len(files_of(tmp_path / "remote")) == 4  # dataset.yaml, manifest, one shard, and their list
    shown = run(str(Path(sys.executable).parent / "gto"), "show", cwd=pets)
    assert "pets" in shown
    assert "v1.0.0" in shown


def test_the_next_version_is_the_next_minor_and_moves_only_what_is_new(pets: Path, commit: Commit, tmp_path: Path) -> None:
    commit(pets)
    before = files_of(tmp_path / "remote")
    write(pets, [labelled("new.png", "dog")], "append")
    assert commit(pets) == "1.1.0"
    assert read_dataset(pets / "data" / "pets").version == "1.1.0"
    assert len(files_of(tmp_path / "remote") - before) == 4  # dataset.yaml, manifest, the new shard, and their list
    write(pets, [labelled("other.png", "dog")], "append")
    assert commit(pets, version="v2.0.0") == "2.0.0"
    write(pets, [labelled("third.png", "dog")], "append")
    assert commit(pets) == "2.1.0"


def test_refusals(pets: Path, commit: Commit) -> None:
    commit(pets)
    with pytest.raises(InputError, match=r"nothing changed since pets@v1\.0\.0"):
        commit(pets)
    assert commit(pets, version="1.0.0") == "1.0.0"  # the same again is no error: a killed command is typed again
    write(pets, [labelled("new.png", "dog")], "append")
    with pytest.raises(InputError, match=r"pets@v1\.0\.0 exists and holds other data"):
        commit(pets, version="1.0.0")
    with pytest.raises(InputError, match=r"expected three numbers"):
        commit(pets, version="1.1")
    with pytest.raises(InputError, match="message is empty"):
        commit(pets, " ")
    with pytest.raises(InputError, match="cannot have versions"):
        commit(pets, name="a.b")
    assert len(versions(pets, "pets")) == 1


def test_nobody_cannot_commit(pets: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    run("git", "config", "--unset", "user.name", cwd=pets)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    for variable in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match=r"git does not know who you are.*git config user\.name"):
        commit(pets)


def test_no_git_is_told(pets: Path, commit: Commit) -> None:
    subprocess.run(["rm", "-rf", ".git"], check=True)
    with pytest.raises(ConfigError, match="in no git repository"):
        commit(pets)


@pytest.mark.parametrize("killed_in", ["store", "_git_commit", "tags.create"])
def test_killed_anywhere_and_typed_again_it_goes_on(pets: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, killed_in: str) -> None:
    commit(pets)
    write(pets, [labelled("new.png", "dog")], "append")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"{commits.__name__}.{killed_in}", killed)
        with pytest.raises(KeyboardInterrupt):
            commit(pets)
    assert [version.version for version in versions(pets, "pets")] == ["1.0.0"]  # nothing visible is half done
    assert commit(pets) == "1.1.0"
    assert git(pets, "status", "--porcelain") == ""


def test_what_the_last_check_said_goes_along_if_it_is_about_these_images(pets: Path, commit: Commit) -> None:
    bad = Expectation(name="sharp", level="warn", success=False, num_unexpected=1, observed="1", expected="0")
    verdict = Verdict(passed=True, dataset=dataset_ref(pets / "data" / "pets"), expectations=[bad], class_counts={})
    verdict.save(pets / "reports" / "validation" / "verdict.json")
    commit(pets)
    write(pets, [labelled("new.png", "dog")], "append")
    commit(pets)
    newer, older = versions(pets, "pets")
    assert older.record and older.record.checks
    assert (older.record.checks.passed, older.record.checks.warned) == (True, ["sharp"])
    assert newer.record and newer.record.checks is None


def test_off_the_branch_the_tag_alone_holds_it(pets: Path) -> None:
    head = git(pets, "rev-parse", "HEAD")
    made = commits.commit(pets, "pets", "for a demo", on_branch=False)
    assert git(pets, "rev-parse", "HEAD") == head
    assert "md5" in str(git(pets, "show", "pets@v1.0.0:data/pets.dvc"))
    assert made.created


def test_a_missing_shard_is_told_before_anything_is_done(pets: Path, commit: Commit) -> None:
    (pets / "data" / "pets" / "shards" / "000000.tar").unlink()
    with pytest.raises(InputError, match=r"000000\.tar not found, though the manifest names it"):
        commit(pets)


COMMIT = """
import sys
from pathlib import Path
from components.datasets.versions.commit import commit
from components.errors import TransientError
print("ready", flush=True)
sys.stdin.readline()
try:
    print(commit(Path(), "pets", sys.argv[1], sys.argv[1]).version.ref)
except TransientError as error:
    print(error)
"""


def test_two_commits_at_once_make_whole_versions_or_one_is_refused(pets: Path, commit: Commit) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", COMMIT, version], cwd=pets, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for version in ("1.0.0", "1.0.0")
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    with writing(pets / "data" / "pets"), ThreadPoolExecutor() as pool, pytest.raises(TransientError, match="is being written by process"):
        pool.submit(commit, pets).result()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0].strip() for process in processes]
    assert "pets@v1.0.0" in said
    refused = r"data/pets is being written by (process \d+, since|a process that is just starting or ending)"
    assert all(text == "pets@v1.0.0" or re.search(refused, text) for text in said), said
    assert [version.ref for version in versions(pets, "pets")] == ["pets@v1.0.0"]
    assert git(pets, "status", "--porcelain") == ""
