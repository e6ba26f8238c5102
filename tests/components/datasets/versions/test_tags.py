from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.datasets.versions import tags
from components.datasets.versions.approval import approve, revoke
from components.datasets.versions.tags import approved_version, find, parse_ref, versions
from components.errors import ConfigError, GateRefused, InputError
from components.git import git
from tests.components.datasets.versions.conftest import run

Commit = Callable[..., str]


def tagged(project: Path, *names: str) -> None:
    for name in names:
        git(project, "commit", "-q", "--allow-empty", "-m", name)
        git(project, "tag", name)


def test_versions_are_sorted_as_numbers_and_a_prerelease_comes_before_its_release(project: Path) -> None:
    tagged(
        project, "pets@v1.9.0", "pets@v1.10.0", "pets@v2.0.0-rc.2", "pets@v2.0.0-rc.10", "pets@v2.0.0", "pets@v1.1", "petshop@v9.0.0", "pets@latest"
    )
    assert [version.version for version in versions(project, "pets")] == ["2.0.0", "2.0.0-rc.10", "2.0.0-rc.2", "1.10.0", "1.9.0", "1.1"]
    assert find(project, "pets", "v1.10.0").ref == "pets@v1.10.0"
    assert [find(project, "pets", short).version for short in ("1.9", "v2", "2.0-rc.2", "1.1", "v1.1.0")] == [
        "1.9.0",
        "2.0.0",
        "2.0.0-rc.2",
        "1.1",
        "1.1",
    ]
    with pytest.raises(ConfigError, match="unknown version of pets '1'"):
        find(project, "pets", "v1")  # 1.0.0, which is not there; no guess among 1.1 to 1.10
    with pytest.raises(ConfigError, match="unknown version of pets 'newest'"):
        find(project, "pets", "newest")
    with pytest.raises(ConfigError, match=r"unknown version of pets '1\.11\.0'\. Did you mean"):
        find(project, "pets", "1.11.0")
    with pytest.raises(ConfigError, match="no versions yet"):
        find(project, "cars", "1.0.0")


def test_the_newest_approved_version_counts_and_gto_lists_it(project: Path) -> None:
    tagged(project, "pets@v1.0.0", "pets@v1.1.0", "pets@v1.2.0")
    assert approved_version(project, "pets") == "1.2.0"  # nobody ever approved one
    approve(project, "pets@v1.0.0")
    assert approved_version(project, "pets") == "1.0.0"
    assert approve(project, "pets@1.1.0", "looked at 200 of them")[1] == "pets#approved#2"
    assert approve(project, "pets@v1.1.0")[1] is None
    assert approved_version(project, "pets") == "1.1.0"
    shown = run(str(Path(sys.executable).parent / "gto"), "show", "pets", "--json", cwd=project)
    assert "approved" in shown
    assert "v1.1.0" in shown
    assert revoke(project, "pets@v1.1.0", "wrong scanner")[1] == "pets#approved!#3"
    assert approved_version(project, "pets") == "1.0.0"
    revoke(project, "pets@v1.0.0")
    assert approved_version(project, "pets") is None  # all taken back: none is used in their place
    approve(project, "pets@v1.1.0")
    assert approved_version(project, "pets") == "1.1.0"
    with pytest.raises(ConfigError, match="is not approved"):
        revoke(project, "pets@v1.2.0")


def test_what_did_not_pass_its_checks_is_not_approved(project: Path) -> None:
    record = tags.VersionRecord(
        task="classification",
        num_images=1,
        class_counts={},
        manifest_digest="0",
        content="0",
        checks=tags.Checks(passed=False, failed=["images decode"], source="reports/validation"),
    )
    tags.create(project, "pets@v1.0.0", "HEAD", "spoilt", record)
    with pytest.raises(GateRefused, match=r"pets@v1\.0\.0 did not pass its checks: images decode"):
        approve(project, "pets@v1.0.0")


def test_a_message_may_hold_anything(project: Path) -> None:
    record = tags.VersionRecord(task="detection", num_images=3, class_counts={"no": 1, "1": 2}, manifest_digest="0", content="0")
    tags.create(project, "pets@v1.0.0", "HEAD", "# not a comment\n\n---\nwäs: [x", record)
    git(project, "tag", "-a", "pets@v1.1.0", "-m", "by hand\n\n---\nnot: ours")
    by_hand, ours = versions(project, "pets")
    assert ours.message == "# not a comment\n\n---\nwäs: [x"
    assert ours.record == record
    assert (by_hand.message, by_hand.record) == ("by hand\n\n---\nnot: ours", None)


def test_outside_of_git_there_is_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert approved_version(tmp_path, "pets") is None


@pytest.mark.parametrize("text", ["@v1.0.0", "pets@", "pets@newest", ""])
def test_what_is_no_version_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME@v1"):
        parse_ref(text)


def test_versions_that_follow() -> None:
    assert [tags.next_minor(version) for version in ("1.0.0", "1.9.4", "2.0.0-rc.1", "1.1")] == ["1.1.0", "1.10.0", "2.1.0", "1.2.0"]
    with pytest.raises(InputError, match="expected three numbers"):
        tags.check_version("1.02.3")
