import json

import numpy as np
import pytest
from PIL import Image

from components.errors import DataError
from components.explanation.record import ExplanationRecord
from components.protocols import Context
from components.steps.evaluate import EvaluateConfig, evaluate
from components.steps.explain import ExplainConfig, explain

CONFIG = ExplainConfig(num_pictures=3, num_images=30)
FILES = ["explain.json", "pictures/mistakes.png", "pictures/right.png"]


@pytest.fixture(scope="module")
def mistakes(prepared_digits, trained_digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "evaluation"
    evaluate(EvaluateConfig(num_resamples=100), prepared_digits, trained_digits, out, Context())
    return out / "mistakes.csv"


@pytest.fixture(scope="module")
def explained(prepared_digits, trained_digits, mistakes, tmp_path_factory):
    out = tmp_path_factory.mktemp("explained") / "explain"
    return explain(CONFIG, prepared_digits, trained_digits, mistakes, out), out


def test_the_maps_of_digits_say_more_than_chance(explained):
    record, out = explained
    assert ExplanationRecord.load(out / "explain.json") == record
    assert record.num_images == 30
    assert list(record.methods) == ["Grad-CAM", "Occlusion"]
    for found in record.methods.values():
        assert found.verdict == "more than chance"
        assert found.highlighted < found.random < found.score


def test_there_are_pictures_of_mistakes_and_of_right_answers(explained):
    _, out = explained
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == FILES
    for name in FILES[1:]:
        with Image.open(out / name) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        assert (np.ptp(pixels, axis=2) > 100).mean() > 0.02  # the colours of a heat map


def test_right_answers_are_of_each_class_in_turn(prepared_digits, trained_digits, mistakes, tmp_path, monkeypatch):
    captions = []
    monkeypatch.setattr("components.steps.explain.draw_images", lambda pictures, texts, path, empty: captions.append(texts))
    explain(CONFIG.model_copy(update={"num_pictures": 12, "num_images": 2}), prepared_digits, trained_digits, mistakes, tmp_path / "explain")
    wrong, right = captions
    assert [caption[:5] for caption in right] == [f"why {digit % 10}" for digit in range(12)]
    assert [caption.partition(";")[0] for caption in wrong] == [line.split(",")[2] for line in mistakes.read_text().splitlines()[1:13]]


def test_the_same_inputs_give_the_same_bytes(explained, prepared_digits, trained_digits, mistakes, tmp_path):
    _, out = explained
    explain(CONFIG, prepared_digits, trained_digits, mistakes, tmp_path / "again")
    assert [(tmp_path / "again" / name).read_bytes() for name in FILES] == [(out / name).read_bytes() for name in FILES]


def test_nothing_is_explained_where_it_is_turned_off(prepared_digits, trained_digits, tmp_path):
    record = explain(ExplainConfig(enabled=False), prepared_digits, trained_digits, tmp_path / "not there", tmp_path / "explain")
    assert record.methods == {}
    assert [path.name for path in (tmp_path / "explain").iterdir() if path.is_file()] == ["explain.json"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "not found; the step that writes it, evaluate, has not run"),
        ("image,why\n1,x\n", "is not what evaluate writes"),
        ("number,image_id,mistake\n5000,a.png,x\n", "speaks of other test images than there are"),
    ],
)
def test_mistakes_of_another_evaluation_are_refused(prepared_digits, trained_digits, tmp_path, text, told):
    path = tmp_path / "mistakes.csv"
    if text:
        path.write_text(text)
    with pytest.raises(DataError, match=told):
        explain(ExplainConfig(num_images=2, num_pictures=1), prepared_digits, trained_digits, path, tmp_path / "explain")
    assert not (tmp_path / "explain").exists()


def test_a_task_that_names_no_answers_is_left_out(prepared_digits, trained_digits, tmp_path, monkeypatch):
    monkeypatch.setattr("components.explanation.subject.can_be_explained", lambda task: False)
    assert explain(CONFIG, prepared_digits, trained_digits, tmp_path / "none", tmp_path / "explain").num_images == 0
    assert json.loads((tmp_path / "explain/explain.json").read_text())["methods"] == {}
