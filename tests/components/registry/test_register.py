import errno
import subprocess
from pathlib import Path
from typing import Any

import pytest

import components
from components.errors import ConfigError, DataError, GateRefused, InputError, TransientError
from components.git import git
from components.records import BundleRecord, ExportRecord
from components.registry import history
from components.registry import register as registering
from components.registry.bundle import TRAINING_IMAGES, training_images
from components.registry.config import RegisterConfig
from components.registry.lineage import Lineage
from components.registry.versions import fetch_bundle, resolve, versions, write_start
from components.tracking import runs
from components.tracking.positions import mlflow_run_id
from components.tracking.shipping import ship_pending
from components.tracking.store import connect
from tests.components.registry.conftest import Project


def test_a_bundle_becomes_one_version_however_often_it_is_registered(project: Project) -> None:
    project.train(accuracy=0.9)
    first, again = project.register(), project.register()
    assert (first.version, first.created) == (1, True)
    assert (again.version, again.created) == (1, False)
    project.train(accuracy=0.8)
    assert project.register().version == 2
    client = connect(project.home)
    assert [version.number for version in versions(client, "toy")] == [1, 2]
    assert {resolve(client, ref).ref for ref in ("toy@challenger", "models:/toy@challenger", "models:/toy/2")} == {"toy/2"}
    assert project.register(name="other").name == "other"


def test_two_machines_that_register_the_same_bundle_at_once_make_one_version(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.home}/mlflow.db")  # what they share; their locks they do not
    project.train(accuracy=0.9)
    create, registered = registering._create, []

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(registering, "_create", create)
        registered.append(registering.register(project.root, project.root / "elsewhere", "toy", RegisterConfig(), ["dense-onnx"], None))
        return create(*arguments)

    monkeypatch.setattr(registering, "_create", overtaken)
    registered.append(project.register())
    assert [(one.version, one.created) for one in registered] == [(1, True), (1, False)]
    client = connect(project.home)
    assert [version.number for version in versions(client, "toy")] == [1]
    assert resolve(client, "toy@challenger").number == 1
    assert [(event.kind, event.version) for event in project.history()] == [("registered", 1)]


@pytest.mark.parametrize("cut_off_at", ["mlflow.MlflowClient.set_registered_model_alias", "components.registry.history.append"])
def test_a_registration_that_was_cut_off_is_completed_by_the_next(project: Project, monkeypatch: pytest.MonkeyPatch, cut_off_at: str) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    project.train(accuracy=0.9)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cut_off_at, cut_off)
        project.register()
    client = connect(project.home)
    assert project.history() == []
    for _ in range(2):
        assert (project.register().version, project.register().created) == (1, False)
        assert [(event.kind, event.version, event.reason) for event in project.history()] == [("registered", 1, "trained on toy 1.0")]
        assert resolve(client, "toy@challenger").number == 1


def test_completing_an_older_registration_takes_no_alias_from_a_newer(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    project.train(accuracy=0.9)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(history, "append", cut_off)
        project.register()
    project.train(accuracy=0.8)
    assert project.register().version == 2
    project.train(accuracy=0.9)
    assert project.register().version == 1
    assert [event.version for event in project.history()] == [2, 1]
    assert resolve(connect(project.home), "toy@challenger").number == 2


def test_the_lineage_goes_with_the_version(project: Project) -> None:
    for command in (["init", "-q"], ["add", "params.yaml", "data/toy.dvc"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "data"]):
        subprocess.run(["git", *command], cwd=project.root, check=True)
    runs.start_run(project.home, "r1", "toy", "retrain")
    ship_pending(project.home)
    run_id = mlflow_run_id(project.home, "r1")
    project.train(accuracy=0.9)
    project.register(run_id=run_id)
    bundle = fetch_bundle(project.home, "toy@challenger")
    lineage = Lineage.load(bundle / "lineage" / "lineage.json")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project.root, capture_output=True, text=True, check=True).stdout.strip()
    assert (lineage.git_commit, lineage.git_dirty, lineage.run_id) == (commit, True, run_id)
    assert lineage.package_commit == git(Path(components.__file__).parent, "rev-parse", "HEAD")
    assert len(lineage.package_sha256 or "") == 64
    assert lineage.dvc_hash == "0123456789abcdef0123456789abcdef.dir"
    assert (lineage.dataset.name, lineage.dataset.version) == ("toy", "1.0")
    assert lineage.params["train"] == {"lr": 0.1}
    assert lineage.settings["device"] == "cpu"
    assert lineage.training_digest == project.spec().training_digest
    assert (bundle / "lineage" / "params.yaml").read_bytes() == (project.root / "params.yaml").read_bytes()
    found = connect(project.home).get_model_version("toy", "1")
    assert found.run_id == run_id
    assert found.tags["darkroom.git_commit"] == commit
    assert found.tags["darkroom.dvc_hash"] == lineage.dvc_hash
    assert "| dense-onnx **(serves)** |" in found.description
    assert found.description == (bundle / "card.md").read_text()


def test_without_a_git_repository_the_lineage_says_so(project: Project) -> None:
    project.train(accuracy=0.9)
    lineage = project.register().lineage
    assert (lineage.git_commit, lineage.git_dirty) == (None, None)


@pytest.mark.parametrize("required", [pytest.param(["dense-onnx"], id="refused"), pytest.param(["dense-onnx_int8"], id="not exported")])
def test_a_required_artifact_that_is_not_good_stops_the_registration(project: Project, required: list[str]) -> None:
    project.train(accuracy=0.9, refusals=["accuracy falls by 50.00%"] if required == ["dense-onnx"] else [])
    with pytest.raises(GateRefused, match=required[0]):
        project.register(required=required)
    assert versions(connect(project.home), "toy") == []
    assert not list((project.home / "bundles").glob("*"))


def test_what_is_to_serve_has_to_be_there_and_to_run_without_torch(project: Project) -> None:
    project.train(accuracy=0.9)
    with pytest.raises(ConfigError, match="There are: dense-onnx"):
        project.register(required=[], artifact="dense-onxx")
    exported = project.root / "models" / "exported"
    record = ExportRecord.load(exported / "dense-onnx" / "artifact.json")
    record.model_copy(update={"format": "torch_export", "file": "model.pt2"}).save(exported / "dense-torch_export" / "artifact.json")
    with pytest.raises(ConfigError, match="needs torch"):
        project.register(required=[], artifact="dense-torch_export")
    project.train(accuracy=0.9, refusals=["too slow"])
    with pytest.raises(GateRefused, match="too slow"):
        project.register(required=[])


def test_an_artifact_that_is_not_the_proven_file_is_refused(project: Project) -> None:
    project.train(accuracy=0.9)
    path = project.root / "models" / "exported" / "dense-onnx" / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="not the file that was proven"):
        project.register()


def test_an_artifact_of_another_model_is_refused(project: Project) -> None:
    project.train(accuracy=0.9, classes=["bee", "ant", "cat"])
    project.spec().save(project.root / "models" / "tuned" / "spec.json")
    with pytest.raises(DataError, match="classes"):
        project.register()


def test_a_downloaded_bundle_is_the_one_that_was_registered(project: Project) -> None:
    project.train(accuracy=0.9)
    registered = project.register()
    before = BundleRecord.load(registered.bundle / "bundle.json")
    registered.bundle.rename(project.root / "put-away")
    fetched = fetch_bundle(project.home, "toy/1")
    assert BundleRecord.load(fetched / "bundle.json") == before
    (fetched / "card.md").write_text("changed")
    with pytest.raises(DataError, match=r"card.md not as"):
        fetch_bundle(project.home, "toy/1")


def test_a_registry_that_is_away_is_transient_and_leaves_nothing_half_done(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.train(accuracy=0.9)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TransientError):
        project.register()
    assert not list((project.home / "bundles").glob("*"))


def test_names_that_do_not_exist_are_answered_with_those_that_do(project: Project) -> None:
    with pytest.raises(InputError, match="no model is registered yet"):
        fetch_bundle(project.home, "toy@champion")
    project.train(accuracy=0.9)
    project.register()
    for ref, answer in (("tow@champion", "There are: toy"), ("toy@champion", "toy has no champion"), ("toy/7", "There are: 1")):
        with pytest.raises(InputError, match=answer):
            fetch_bundle(project.home, ref)
    with pytest.raises(InputError, match="expected NAME/VERSION or NAME@ALIAS"):
        fetch_bundle(project.home, "toy")


def test_a_training_that_did_not_start_from_the_champion_does_not_know_its_images(project: Project) -> None:
    start = project.root / "models" / "start"
    project.train(accuracy=0.9)
    project.register()
    write_start(project.home, "toy@challenger", start)
    project.set_sides(lambda number: "train" if number % 3 == 0 else "test")
    project.train(accuracy=0.8)
    anew = training_images(project.register().bundle)
    assert set(anew.values()) == {"train"}
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("train: {", "train: {init: registered, "))
    (start / TRAINING_IMAGES).unlink()
    with pytest.raises(DataError, match="lists the images that the start weights know"):
        project.register()
    write_start(project.home, "toy/1", start)  # it puts back what is missing
    assert set(anew) < set(training_images(project.register().bundle))


def test_a_full_disk_is_explained_and_leaves_nothing_half_done(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    project.train(accuracy=0.9)
    monkeypatch.setattr("components.registry.card.Path.write_text", full)
    with pytest.raises(InputError, match="the disk is full"):
        project.register()
    monkeypatch.undo()
    assert not list((project.home / "bundles").glob("*"))
    assert versions(connect(project.home), "toy") == []
