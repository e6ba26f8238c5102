import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import DataError, InputError
from components.registry.config import PromoteConfig
from components.registry.promote import judge_and_promote, rollback
from components.registry.publish import absolute, fetch_champion, publish, publish_champion
from components.registry.versions import fetch_bundle
from components.serving.bundle import Bundle
from components.storage import open_store
from tests.components.registry.conftest import Project, png


def promoted(project: Project, accuracy: float) -> None:
    project.train(accuracy)
    assert judge_and_promote(project.root, project.home, "toy", project.register().version, PromoteConfig()).verdict == "promoted"


@pytest.fixture(params=["file", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"s3://{request.getfixturevalue('s3_bucket')}/releases" if request.param == "s3" else f"file://{tmp_path}/releases"


def test_whoever_deploys_gets_the_champion_and_a_rollback_moves_it_back(project: Project, uri: str, tmp_path: Path) -> None:
    promoted(project, 0.7)
    first = publish_champion(project.home, "toy", uri)
    assert (first.uploaded, first.moved) == (True, True)
    promoted(project, 0.95)
    publish_champion(project.home, "toy", uri)
    folder = fetch_champion(uri, "toy", tmp_path / "deployed")
    bundle = Bundle.open(folder)
    assert bundle.columns(bundle.predict([png(1, 0, 1)])[0])["label"] == "bee"
    assert (folder / "bundle.json").read_bytes() == (fetch_bundle(project.home, "toy/2") / "bundle.json").read_bytes()
    rollback(project.home, "toy", "worse in the field")
    back = publish_champion(project.home, "toy", uri)
    assert (back.version, back.uploaded, back.moved) == (1, False, True)
    assert (
        Bundle.open(fetch_champion(uri, "toy", tmp_path / "deployed")).record.digest == Bundle.open(fetch_bundle(project.home, "toy/1")).record.digest
    )


def test_the_same_version_again_changes_nothing(project: Project, uri: str) -> None:
    promoted(project, 0.7)
    publish_champion(project.home, "toy", uri)
    store = open_store(uri)
    before = {key: store.get(key) for key in store.list("")}
    again = publish_champion(project.home, "toy", uri)
    assert (again.uploaded, again.moved) == (False, False)
    assert {key: store.get(key) for key in store.list("")} == before
    keys = sorted(before)
    assert keys[0].startswith("toy/1-")
    assert keys[-1] == "toy/champion.json"


#: Publishes, and is killed when it has written so many objects.
KILLED = """
import os, signal, sys
from pathlib import Path
from components.registry import publish as publishing
from components.storage import open_store

bundle, uri, puts = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = open_store(uri)

def dying(call):
    def write(key, content):
        global puts
        if not puts:
            os.kill(os.getpid(), signal.SIGKILL)
        puts -= 1
        return call(key, content)
    return write

store.put, store.put_if_absent = dying(store.put), dying(store.put_if_absent)
publishing.open_store = lambda _: store
publishing.publish(bundle, "toy", 2, uri)
"""


def publish_and_be_killed(bundle: Path, uri: str, puts: int) -> int:
    """Publish in a process that is killed when it has written `puts` objects; return how it ended."""
    command = [sys.executable, "-c", KILLED, str(bundle), uri, str(puts)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}, check=False).returncode


def test_a_publication_killed_at_any_moment_shows_no_half_release_and_goes_on(project: Project, uri: str, tmp_path: Path) -> None:
    project.train(0.7)
    old = project.register().bundle
    publish(old, "toy", 1, uri)
    project.train(0.9)
    new = project.register().bundle
    num_files = sum(1 for path in new.rglob("*") if path.is_file())
    half = num_files // 2
    for puts in (0, half, num_files - half, 1):  # killed before anything, after some parts, after all parts, after the manifest
        assert publish_and_be_killed(new, uri, puts) == -signal.SIGKILL
        assert Bundle.open(fetch_champion(uri, "toy", tmp_path / "deployed")).record.digest == old.name
    finished = publish(new, "toy", 2, uri)
    assert (finished.uploaded, finished.moved) == (False, True)
    assert Bundle.open(fetch_champion(uri, "toy", tmp_path / "deployed")).record.digest == new.name


def test_a_part_that_a_kill_left_damaged_is_sent_again(project: Project, uri: str, tmp_path: Path) -> None:
    project.train(0.7)
    bundle = project.register().bundle
    key = f"toy/1-{bundle.name[:12]}"
    open_store(uri).put(f"{key}/card.md", b"half a ca")
    publish(bundle, "toy", 1, uri)
    assert (fetch_champion(uri, "toy", tmp_path / "deployed") / "card.md").read_bytes() == (bundle / "card.md").read_bytes()


def test_damage_in_the_store_is_found_before_anything_is_deployed(project: Project, uri: str, tmp_path: Path) -> None:
    project.train(0.7)
    bundle = project.register().bundle
    release = publish(bundle, "toy", 1, uri)
    out = fetch_champion(uri, "toy", tmp_path / "deployed")
    open_store(uri).put(f"{release.key}/dense-onnx/model.onnx", b"something else")
    with pytest.raises(DataError, match=r"dense-onnx/model\.onnx is damaged"):
        fetch_champion(uri, "toy", out)
    Bundle.open(out)  # what was deployed before is untouched


def test_nothing_published_is_answered_clearly(project: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no release of 'toy' in production"):
        fetch_champion(f"file://{tmp_path}/releases", "toy", tmp_path / "out")
    project.train(0.7)
    project.register()
    with pytest.raises(InputError, match="toy has no champion"):
        publish_champion(project.home, "toy", f"file://{tmp_path}/releases")


def test_a_manifest_cannot_write_outside_of_the_release(project: Project, tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/releases"
    project.train(0.7)
    release = publish(project.register().bundle, "toy", 1, uri)
    manifest = json.loads(open_store(uri).get(f"{release.key}/manifest.json"))
    manifest["files"]["../../escaped"] = manifest["files"].pop("card.md")
    open_store(uri).put(f"{release.key}/manifest.json", json.dumps(manifest).encode())
    with pytest.raises((DataError, InputError)):
        fetch_champion(uri, "toy", tmp_path / "out" / "deployed")
    assert not list(tmp_path.rglob("escaped"))


def test_a_relative_store_lies_beside_the_projects_own_folder(tmp_path: Path) -> None:
    assert absolute("file://.darkroom/releases", tmp_path) == f"file://{tmp_path}/.darkroom/releases"
    assert absolute("file:///srv/releases", tmp_path) == "file:///srv/releases"
    assert absolute("s3://bucket/x", tmp_path) == "s3://bucket/x"
    assert open_store("file:///srv").uri == "file:///srv"
