import pytest

from components.errors import InputError
from components.registry import models_view
from components.registry.compare import compare
from components.registry.config import PromoteConfig
from components.registry.promote import judge_and_promote
from components.tracking.store import connect
from tests.components.registry.conftest import Project


def two_versions(project: Project) -> None:
    for accuracy in (0.7, 0.95):
        project.train(accuracy)
        judge_and_promote(project.root, project.home, "toy", project.register().version, PromoteConfig())


def test_before_the_first_model_it_says_what_makes_one(project: Project) -> None:
    assert "darkroom run" in models_view.list_text(project.home)
    with pytest.raises(InputError, match="darkroom run"):
        models_view.history_text(project.home, "toy")
    with pytest.raises(InputError, match="darkroom run"):
        models_view.show_text(project.home, "toy@champion")


def test_list_show_and_history_tell_what_is_in_production_and_why(project: Project) -> None:
    two_versions(project)
    lines = models_view.list_text(project.home).splitlines()
    assert lines[0].split()[:2] == ["version", "alias"]
    assert lines[1].startswith("toy/2    challenger, champion")
    assert lines[2].startswith("toy/1 ")
    shown = models_view.show_text(project.home, "toy@champion")
    assert "toy/2" in shown
    assert "## Artifacts" in shown
    told = models_view.history_text(project.home, "toy").splitlines()
    assert len(told) == 4
    assert "promoted" in told[-1]
    assert "toy/2 (before: toy/1)  by ada: toy/2" in told[-1]
    with pytest.raises(InputError, match=r"unknown model 'nope'.*toy"):
        models_view.history_text(project.home, "nope")


def test_comparison_and_decision_are_readable(project: Project) -> None:
    two_versions(project)
    text = models_view.compare_text(compare(project.root, project.home, "toy/1", "toy/2", PromoteConfig(), "toy"))
    assert text.startswith("200 test images of toy 1.0\n")
    same = models_view.compare_text(compare(project.root, project.home, "toy/1", "toy/1", PromoteConfig(), "toy"))
    assert same.startswith("200 test images of toy 1.0; both answer each of them exactly alike\n")
    assert "gain of toy/2: +" in text
    assert ": better" in text
    project.train(0.5)
    decision = judge_and_promote(project.root, project.home, "toy", project.register().version, PromoteConfig())
    assert models_view.decision_text(decision).startswith("refused: toy/3")
    assert "failed  gain in accuracy" in models_view.decision_text(decision)


def test_listing_notices_an_alias_moved_by_hand(project: Project) -> None:
    two_versions(project)
    connect(project.home).set_registered_model_alias("toy", "champion", "1")
    assert "moved by hand: the gate would have refused" in models_view.list_text(project.home)
    assert "moved by hand" in models_view.history_text(project.home, "toy").splitlines()[-1]


def test_models_of_others_in_the_same_store_are_listed_however_many_and_left_alone(project: Project) -> None:
    two_versions(project)
    client = connect(project.home)
    for number in range(100):  # as many as MLflow gives at once
        client.create_registered_model(f"other-{number:03}")
    client.create_model_version("other-000", "file:///elsewhere")
    client.set_registered_model_alias("other-000", "champion", "1")
    listed = models_view.list_text(project.home)
    assert [line.split()[0] for line in listed.splitlines()[1:]] == ["other-000/1", "toy/2", "toy/1"]
    assert client.get_registered_model("other-000").tags == {}
    assert "not judged: params.yaml is about toy" in models_view.history_text(project.home, "other-000")
    with pytest.raises(InputError, match=r"There are: .*toy"):
        models_view.show_text(project.home, "tox/1")
