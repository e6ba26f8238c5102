import shutil
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from components.datasets.manifest import MANIFEST, DatasetInfo, read_manifest, read_table, write_table
from components.errors import GateRefused, InputError, TransientError
from components.evaluation.comparison import compare_paired
from components.evaluation.metrics.classification import Classification
from components.records import DatasetRef
from components.registry import history
from components.registry.compare import Comparison, compare
from components.registry.config import PromoteConfig
from components.registry.decision import Decision, Event
from components.registry.judge import superiority
from components.registry.promote import judge_and_promote, promote, rollback
from components.registry.reconcile import reconcile
from components.registry.versions import resolve
from components.tracking.store import connect
from tests.components.registry.conftest import CLASSES, Project, side_of

CONFIG = PromoteConfig()


def challenge(project: Project, accuracy: float, config: PromoteConfig = CONFIG, classes: Sequence[str] = CLASSES) -> Decision:
    project.train(accuracy, classes)
    return judge_and_promote(project.root, project.home, "toy", project.register().version, config)


def project_version(project: Project, accuracy: float) -> int:
    project.train(accuracy)
    return project.register().version


def champion(project: Project) -> int:
    return resolve(connect(project.home), "toy@champion").number


def noticed(project: Project) -> Event | None:
    """What the next command enters of what was done in MLflow."""
    client = connect(project.home)
    return reconcile(client, project.root, project.home, history.registered_model(client, "toy"), CONFIG)


def kinds(project: Project) -> list[str]:
    return [event.kind for event in project.history()]


def test_the_first_model_is_judged_by_the_floors(project: Project) -> None:
    refused = challenge(project, accuracy=0.3)
    assert refused.verdict == "refused"
    assert [check.passed for check in refused.checks] == [False, False]
    low = challenge(project, accuracy=0.48)
    assert [check.passed for check in low.checks] == [False, True]
    good = challenge(project, accuracy=0.8)
    assert good.verdict == "promoted"
    assert champion(project) == 3
    assert kinds(project) == ["registered", "refused", "registered", "refused", "registered", "promoted"]


def test_a_better_challenger_is_promoted_and_a_worse_or_equal_one_refused(project: Project) -> None:
    challenge(project, accuracy=0.7)
    better = challenge(project, accuracy=0.95)
    assert (better.verdict, champion(project)) == ("promoted", 2)
    assert better.comparison is not None
    assert better.comparison.gain.low > 0
    for accuracy in (0.8, 0.951):
        worse = challenge(project, accuracy=accuracy)
        assert (worse.verdict, champion(project)) == ("refused", 2)
        assert "gain in accuracy" in worse.reason


def test_images_of_a_group_are_judged_together(project: Project) -> None:
    challenge(project, accuracy=0.7)
    challenge(project, accuracy=0.95)
    alone = compare(project.root, project.home, "toy/1", "toy/2", CONFIG, "toy").paired
    table = read_table(project.data)
    groups = pa.array([f"camera {number % 5}" for number in range(table.num_rows)])
    write_table(table.set_column(table.column_names.index("group"), "group", groups), project.data / MANIFEST)
    together = compare(project.root, project.home, "toy/1", "toy/2", CONFIG, "toy").paired
    assert together.gain.value == alone.gain.value
    assert together.gain.low < alone.gain.low < alone.gain.high < together.gain.high


def test_numbers_who_when_and_why_stay_with_the_version_and_in_the_history(project: Project) -> None:
    challenge(project, accuracy=0.7)
    challenge(project, accuracy=0.95)
    tags = resolve(connect(project.home), "toy/2").tags
    assert "promoted by ada" in tags["darkroom.decision"]
    kept = Decision.model_validate_json(tags["darkroom.decision_json"])
    assert kept.comparison is not None
    assert (kept.champion, kept.challenger) == ("toy/1", "toy/2")
    event = project.history()[-1]
    assert (event.kind, event.version, event.previous, event.who) == ("promoted", 2, 1, "ada")
    assert event.numbers["gain_low"] == pytest.approx(kept.comparison.gain.low)


def test_a_gain_has_to_be_above_the_least_gain_wanted(project: Project) -> None:
    challenge(project, accuracy=0.7)
    assert challenge(project, accuracy=0.9, config=PromoteConfig(min_gain=0.3)).verdict == "refused"
    assert judge_and_promote(project.root, project.home, "toy", 2, PromoteConfig(min_gain=0.05)).verdict == "promoted"


def test_the_same_question_is_not_judged_and_entered_twice(project: Project) -> None:
    challenge(project, accuracy=0.9)
    first = challenge(project, accuracy=0.7)
    before = kinds(project)
    assert challenge(project, accuracy=0.7) == first
    assert challenge(project, accuracy=0.9).verdict == "unchanged"
    assert kinds(project) == before


def statistics(correct: np.ndarray, labels: np.ndarray) -> np.ndarray:
    evaluator = Classification(CLASSES)
    predictions = np.full((len(labels), 3), 0.1)
    named = np.where(correct, labels, (labels + 1) % 3)
    predictions[np.arange(len(labels)), named] = 0.8
    return evaluator.statistics(predictions, labels)


def comparison_of(correct_a: np.ndarray, correct_b: np.ndarray, labels: np.ndarray) -> Comparison:
    evaluator = Classification(CLASSES)
    paired = compare_paired(evaluator, statistics(correct_a, labels), statistics(correct_b, labels), num_resamples=200)
    support = {name: int((labels == index).sum()) for index, name in enumerate(CLASSES)}
    dataset = DatasetRef(name="toy", version="1", manifest_digest="0" * 64, num_images=len(labels))
    return Comparison(champion="toy/1", challenger="toy/2", dataset=dataset, paired=paired, support=support)


def test_a_champion_compared_with_its_equal_is_promoted_in_at_most_5_of_100_tries() -> None:
    generator = np.random.default_rng(1)
    promoted = 0
    for _ in range(100):
        labels = generator.integers(0, 3, 300)
        correct_a, correct_b = generator.random((2, 300)) < 0.9  # equally good, wrong on other images
        promoted += all(check.passed for check in superiority(comparison_of(correct_a, correct_b, labels), PromoteConfig(max_class_drop=1.0)))
    assert promoted <= 5
    assert not superiority(comparison_of(correct_a, correct_a, labels), CONFIG)[0].passed


def test_a_class_may_not_fall_but_one_image_is_no_fall() -> None:
    labels = np.repeat([0, 1, 2], [100, 100, 10])
    before = np.ones(210, bool)
    before[:30] = False
    for lost, passed in ((1, True), (2, False)):
        after = np.ones(210, bool)
        after[200 : 200 + lost] = False
        gain, classes = superiority(comparison_of(before, after, labels), CONFIG)
        assert gain.passed
        assert classes.passed is passed
        assert "'cat'" in classes.found


def test_a_refusal_that_was_cut_off_is_in_the_history_in_the_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    version = project_version(project, accuracy=0.3)
    for step in ("components.registry.history.append", "mlflow.MlflowClient.set_model_version_tag"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(step, cut_off)
            judge_and_promote(project.root, project.home, "toy", version, CONFIG)
    for _ in range(2):
        assert judge_and_promote(project.root, project.home, "toy", version, CONFIG).verdict == "refused"
    assert set(kinds(project)) == {"registered", "refused"}


def test_test_images_that_a_model_was_trained_on_are_refused(project: Project) -> None:
    challenge(project, accuracy=0.7)
    project.set_sides(lambda number: "test" if number < 50 else "train")
    decision = challenge(project, accuracy=0.95)
    assert decision.verdict == "refused"
    assert "33 of the 50 test images were among the training or validation images of toy/1" in decision.reason
    with pytest.raises(InputError, match="33 of the 50 test images"):
        compare(project.root, project.home, "toy/1", "toy/2", CONFIG, "toy")
    assert kinds(project)[-1] == "refused"


def with_another_class(project: Project) -> None:
    info = DatasetInfo(name="toy", version="2.0", task="classification", classes=[*CLASSES, "dog"])
    from components.datasets.manifest import write_dataset_info

    write_dataset_info(info, project.data)
    project.set_sides(side_of)


def test_models_of_other_classes_are_not_compared_but_a_person_may_promote_one(project: Project) -> None:
    challenge(project, accuracy=0.9)
    project.train(0.95, classes=["bee", "ant", "cat"])
    version = project.register().version
    decision = judge_and_promote(project.root, project.home, "toy", version, CONFIG)
    assert decision.verdict == "refused"
    assert "different classes" in decision.reason
    with pytest.raises(InputError, match="different classes"):
        promote(project.root, project.home, "toy/2", CONFIG, "new classes")
    told = promote(project.root, project.home, "toy/2", CONFIG, "new classes", override=True)
    assert (told.verdict, told.overridden, champion(project)) == ("promoted", True, 2)
    assert "new classes" in project.history()[-1].reason


def test_a_person_is_judged_alike_and_overrides_only_when_saying_so(project: Project) -> None:
    challenge(project, accuracy=0.9)
    challenge(project, accuracy=0.7)
    with pytest.raises(GateRefused, match=r"toy/2 was not promoted\. toy/2 on 200 test images"):
        promote(project.root, project.home, "toy/2", CONFIG, "I like it")
    assert champion(project) == 1
    promote(project.root, project.home, "toy/2", CONFIG, "I like it", override=True)
    event = project.history()[-1]
    assert champion(project) == 2
    assert "I like it. Promoted by override, against:" in event.reason
    assert event.numbers["gain"] < 0


def test_rollback_goes_back_step_by_step_and_the_flow_does_not_undo_it(project: Project) -> None:
    for accuracy in (0.6, 0.8, 0.97):
        challenge(project, accuracy)
    event = rollback(project.home, "toy", "wrong on the new camera")
    assert (champion(project), event.version, event.previous) == (2, 2, 3)
    again = challenge(project, accuracy=0.97)
    assert (again.verdict, champion(project)) == ("refused", 2)
    assert "wrong on the new camera" in again.reason
    assert rollback(project.home, "toy", "further").version == 1
    with pytest.raises(InputError, match="no champion before"):
        rollback(project.home, "toy", "too far")
    assert rollback(project.home, "toy", "it was the camera", to=3).version == 3
    assert champion(project) == 3
    with pytest.raises(InputError, match="There are: 1, 2, 3"):
        rollback(project.home, "toy", "", to=9)
    with pytest.raises(InputError, match=r"unknown model 'tyo'\. Did you mean 'toy'"):
        rollback(project.home, "tyo", "")


def test_an_alias_moved_by_hand_is_noticed_judged_and_entered(project: Project) -> None:
    challenge(project, accuracy=0.9)
    challenge(project, accuracy=0.6)
    connect(project.home).set_registered_model_alias("toy", "champion", "2")
    event = noticed(project)
    assert event is not None
    assert (event.kind, event.version, event.previous) == ("moved by hand", 2, 1)
    assert "the gate would have refused" in event.reason
    assert event.numbers["gain"] < 0
    assert champion(project) == 2
    assert noticed(project) is None
    assert project.history()[-1] == event
    assert challenge(project, accuracy=0.9).verdict == "refused"  # a person put version 1 away


def test_an_alias_taken_away_or_moved_where_nothing_can_be_judged_is_entered_all_the_same(project: Project) -> None:
    challenge(project, accuracy=0.9)
    challenge(project, accuracy=0.6)
    client = connect(project.home)
    client.delete_registered_model_alias("toy", "champion")
    with pytest.raises(InputError, match=r"toy has no champion\. Name a version"):
        resolve(client, "toy@champion")
    gone = noticed(project)
    assert gone is not None
    assert gone.version is None
    client.set_registered_model_alias("toy", "champion", "2")
    shutil.rmtree(project.root / "data")
    event = noticed(project)
    assert event is not None
    assert "not judged" in event.reason


def test_a_move_that_was_cut_off_is_finished_and_not_taken_for_one_by_hand(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    challenge(project, accuracy=0.7)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("set_registered_model_alias", "delete_registered_model_tag"):
        client = connect(project.home)
        monkeypatch.setattr(client, step, killed)
        event = history.new_event("rolled back", 1, 1, step)
        with pytest.raises(KeyboardInterrupt):
            history.move_champion(client, "toy", event)
        assert noticed(project) is None
        assert project.history()[-1] == event
        assert champion(project) == 1


def test_of_two_that_move_the_alias_at_once_one_withdraws(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine has no part in this checkout's lock: it moves the alias, or puts its own mark, between two requests of ours."""
    challenge(project, accuracy=0.6)
    number = project_version(project, 0.95)
    theirs = connect(project.home)
    for moment in ("before", "mark", "alias"):
        client = connect(project.home)
        set_tag, set_alias = client.set_registered_model_tag, client.set_registered_model_alias
        if moment == "before":
            theirs.set_registered_model_alias("toy", "champion", str(number))
        elif moment == "mark":
            monkeypatch.setattr(client, "set_registered_model_tag", lambda *a, f=set_tag: (f(*a), theirs.set_registered_model_tag(*a[:2], "theirs")))
        else:
            other = lambda *a, f=set_alias: (f(*a), theirs.set_registered_model_alias("toy", "champion", "1"))  # noqa: E731
            monkeypatch.setattr(client, "set_registered_model_alias", other)
        before = project.history()
        with pytest.raises(TransientError, match="another process moved the champion of toy"):
            history.move_champion(client, "toy", history.new_event("promoted", number, 1, "better"))
        assert project.history() == before
        theirs.set_registered_model_alias("toy", "champion", "1")
        if moment == "mark":
            theirs.delete_registered_model_tag("toy", "darkroom.pending")
    assert not any("pending" in tag for tag in theirs.get_registered_model("toy").tags)


def test_a_promotion_that_was_overtaken_leaves_no_decision_behind(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    challenge(project, accuracy=0.6)
    number = project_version(project, 0.95)

    def overtaken(*_: object) -> None:
        raise TransientError("another process")

    with monkeypatch.context() as patched:
        patched.setattr(history, "move_champion", overtaken)
        with pytest.raises(TransientError):
            judge_and_promote(project.root, project.home, "toy", number, CONFIG)
    assert not any("decision" in tag for tag in connect(project.home).get_model_version("toy", str(number)).tags)
    assert judge_and_promote(project.root, project.home, "toy", number, CONFIG).verdict == "promoted"


def test_a_move_that_was_cut_off_gives_way_to_one_by_hand_since(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    challenge(project, accuracy=0.6)
    second, third = project_version(project, 0.7), project_version(project, 0.8)
    client = connect(project.home)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "set_registered_model_alias", killed)
    with pytest.raises(KeyboardInterrupt):
        history.move_champion(client, "toy", history.new_event("promoted", second, 1, "better"))
    connect(project.home).set_registered_model_alias("toy", "champion", str(third))
    event = noticed(project)
    assert event is not None
    assert (event.kind, event.version) == ("moved by hand", third)
    assert champion(project) == third


def test_a_growing_dataset_keeps_old_champions_comparable(project: Project) -> None:
    challenge(project, accuracy=0.7)
    frame = read_manifest(project.data)
    assert len(frame) == 600
    with_another_class(project)  # the dataset knows one more class, the models do not: labels are all still known
    found = compare(project.root, project.home, "toy@champion", "toy/1", CONFIG, "toy")
    assert found.paired.gain.value == 0
    assert found.paired.num_different == 0
