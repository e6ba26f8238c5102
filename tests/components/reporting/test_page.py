import json
import re
from html.parser import HTMLParser

import pytest

from components.errors import DataError
from components.evaluation.comparison import PairedComparison
from components.evaluation.pictures import draw_images
from components.explanation.record import ExplanationRecord, Sanity
from components.records import Expectation, Interval, Refusal, Verdict
from components.registry.decision import Check, Decision
from components.reporting.page import render, write_page
from components.reporting.records import Command, RunReport, StageLine
from components.reporting.sources import read_evaluation
from tests.components.reporting.conftest import DATASET, write_artifact

STAGES = ["validate", "augment", "train", "evaluate", "explain", "export@dense-onnx", "export@dense-onnx_int8"]


class Page(HTMLParser):
    """Collects sections, text, and what would be loaded; complains about tags that are not closed."""

    def __init__(self, html):
        super().__init__()
        self.sections, self.loaded, self.text, self._open = [], [], "", []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.loaded += [value for name, value in found.items() if name in ("src", "href")]
        if tag == "section":
            self.sections.append(found["id"])
        if tag not in ("meta", "img", "br", "line", "circle", "polyline"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data if self._open[-1:] != ["style"] else ""


@pytest.fixture
def root(tmp_path):
    """What a whole run leaves in its folders."""
    validation, evaluation = tmp_path / "reports/validation", tmp_path / "reports/evaluation"
    write_verdict(tmp_path, passed=True)
    (evaluation / "pictures").mkdir(parents=True)
    numbers = {"num_images": 360, "baseline_accuracy": 0.1, "voc_ap": 0.4321}
    for name, value in (("accuracy", 0.9722), ("nll", 0.081), ("top3_accuracy", 0.99)):
        numbers |= {name: value, f"{name}_low": value - 0.02, f"{name}_high": value + 0.01}
    (evaluation / "metrics.json").write_text(json.dumps(numbers, sort_keys=True))
    (evaluation / "per_class.csv").write_text("class,support,recall,precision,f1\n<i>,180,0.99,0.98,0.985\n7,0,,0,\n")
    (evaluation / "slices.csv").write_text("column,value,images,metric,low,high\ncamera,north,40,0.81,0.7,0.9\n")
    draw_images([], [], evaluation / "pictures/mistakes.png", empty="no mistakes")
    write_explanation(tmp_path, {"Grad-CAM": 0.02, "Occlusion": 0.12})
    (tmp_path / "models/base").mkdir(parents=True)
    (tmp_path / "models/base/history.csv").write_text("epoch,train_loss,val_loss,val_accuracy,lr\n1,2.0,1.9,0.3,0.1\n2,1.0,0.9,0.8,0.05\n")
    write_artifact(tmp_path, "onnx", [])
    write_artifact(
        tmp_path, "onnx_int8", [Refusal(budget="max_accuracy_drop", found=0.09, limit=0.02, text="9.00 points lost, at most 2.00 are allowed")]
    )
    assert validation.exists()
    return tmp_path


def write_verdict(root, passed):
    folder = root / "reports/validation"
    folder.mkdir(parents=True, exist_ok=True)
    broken = Expectation(
        name="images decode", level="fail", success=passed, num_unexpected=0 if passed else 2, observed="2 of 1797", expected="a whole image"
    )
    held = Expectation(name="ids are unique", level="fail", success=True, num_unexpected=0, observed="all", expected="unique")
    Verdict(passed=passed, dataset=DATASET, expectations=[held, broken], class_counts={"<i>": 900, "7": 897}).save(folder / "verdict.json")
    rows = "" if passed else "bad/<script>.png,images decode,truncated,a whole image,fail\n"
    (folder / "failures.csv").write_text("image_id,expectation,found,expected,level\n" + rows)


def write_explanation(root, untrained):
    gain = Interval(value=0.36, low=0.31, high=0.41)
    methods = {name: Sanity(score=0.9871, highlighted=0.4912, random=0.8512, gain=gain, untrained=likeness) for name, likeness in untrained.items()}
    folder = root / "reports/explain"
    ExplanationRecord(num_images=50, blanked=0.2, methods=methods).save(folder / "explain.json")
    for name in ("mistakes", "right"):
        (folder / "pictures").mkdir(exist_ok=True)
        draw_images([], [], folder / f"pictures/{name}.png", empty="none")


def report(stages=None, **fields):
    lines = [StageLine(name=name, state=state, seconds=1.5) for name, state in (stages or dict.fromkeys(STAGES, "ran")).items()]
    values = {
        "name": "digits",
        "run_id": "r1",
        "started": "2026-11-21 04:31",
        "seconds": 61.2,
        "outcome": "promoted",
        "headline": "digits/2 is the champion now",
    }
    return RunReport(**values | {"stages": lines, "dataset": DATASET} | fields)


def decision():
    interval = Interval(value=0.97, low=0.95, high=0.99)
    comparison = PairedComparison(
        metric="accuracy", num_images=360, num_different=9, a=interval, b=interval, gain=Interval(value=0.072, low=0.045, high=0.104),
        class_drops={"7": 0.0}, worst_class="7", worst_class_drop=0.0,
    )  # fmt: skip
    checks = [Check(name="gain, lower bound", found="+4.50", limit="above 0", passed=True)]
    return Decision(
        verdict="promoted", reason="better beyond chance", challenger="digits/2", champion="digits/1", checks=checks, comparison=comparison
    )


def test_a_whole_run_is_told(root):
    page = Page(
        render(report(decision=decision(), lineage={"git commit": "4f3a2b1c"}, commands=[Command(what="pages", command="darkroom up")]), root)
    )
    assert page.sections == ["decision", "stages", "evaluation", "explanation", "artifacts", "training", "data", "next", "lineage"]
    for said in (
        "digits/2 is the champion now",
        "97.22%",
        "+7.20",
        "better beyond chance",
        "north",
        "1.66 MB",
        "0.12 ms",
        "4f3a2b1c",
        "darkroom up",
        "1 min 1 s",
    ):
        assert said in page.text


def test_the_page_needs_nothing_from_anywhere(root):
    html = render(report(decision=decision()), root)
    page = Page(html)
    assert page.loaded
    assert all(source.startswith("data:image/png;base64,") for source in page.loaded)
    assert not re.search(r"https?://|<script|@import|url\(", html)


def test_names_from_the_data_are_text_and_no_markup(root):
    write_verdict(root, passed=False)
    html = render(report(), root)
    assert "&lt;i&gt;" in html
    assert "<i>," not in html
    assert "<script>" not in html
    assert "bad/<script>.png" in Page(html).text


def test_refused_data_comes_first_and_older_reports_stay_out(root):
    write_verdict(root, passed=False)
    stages = {"validate": "refused"} | dict.fromkeys(STAGES[1:], "not reached")
    page = Page(render(report(stages, outcome="stopped", headline="digits 1.2 may not be trained on"), root))
    assert page.sections == ["data", "stages", "lineage"]
    assert "images decode" in page.text
    assert "97.22%" not in page.text


def test_skipped_stages_show_what_they_made_before(root):
    page = Page(render(report(dict.fromkeys(STAGES, "skipped"), outcome="unchanged"), root))
    assert {"evaluation", "explanation", "artifacts", "training", "data"} <= set(page.sections)


def test_heat_maps_are_shown_with_what_they_are_worth(root):
    html = render(report(), root)
    page = Page(html)
    for said in ("more than chance", "98.71%", "49.12%", "85.12%", "+36.00", "31.00 to 41.00"):
        assert said in page.text
    assert html.count('alt="heat maps') == 2
    assert "given by where the answer is" not in page.text


def test_maps_that_were_there_before_anything_was_learnt_are_told(root):
    write_explanation(root, {"Grad-CAM": 0.74, "Occlusion": 0.12})
    text = " ".join(Page(render(report(), root)).text.split())
    assert "Grad-CAM comes near it: such a map is given by where the answer is more than by what was learnt" in text
    assert "Occlusion comes near it" not in text


def test_a_run_that_explains_nothing_has_no_such_section(root):
    write_explanation(root, {})
    assert "explanation" not in Page(render(report(), root)).sections


def test_a_refused_artifact_says_why(root):
    page = Page(render(report({"export@dense-onnx": "ran", "export@dense-onnx_int8": "refused"}), root))
    assert "9.00 points lost, at most 2.00 are allowed" in page.text
    assert "dense-onnx beside the trained model, mean over 360 test images: matched IoU 0.9875" in page.text
    assert page.sections == ["stages", "artifacts", "lineage"]


def test_a_run_that_failed_at_once_has_a_page(tmp_path):
    page = Page(render(report({"validate": "failed"}, outcome="failed", headline="disk full", dataset=None), tmp_path))
    assert page.sections == ["stages", "lineage"]


def test_a_class_without_images_has_no_recall(root):
    row = re.search(r"<td class=\"name\">7</td>.*?</tr>", render(report(), root), re.DOTALL)
    assert "–" in row.group()


def test_a_damaged_record_is_named(root):
    (root / "models/exported/dense-onnx/artifact.json").write_text("{}")
    with pytest.raises(DataError, match=r"artifact\.json is not a ExportRecord"):
        write_page(report(), root, root / "reports/index.html")
    assert not (root / "reports/index.html").exists()


def test_the_file_is_written(root):
    write_page(report(), root, root / "reports/index.html")
    assert (root / "reports/index.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_metrics_without_an_interval_are_shown_too(root):
    evaluation = read_evaluation(root)
    assert [name for name, *_ in evaluation.metrics] == ["accuracy", "top3_accuracy", "nll", "voc_ap"]
    assert evaluation.metrics[-1] == ("voc_ap", 0.4321, None, None)


def test_a_key_names_the_curves_that_are_there(root):
    assert "training" in (text := key_of(render(report(), root)))
    assert "validation" in text
    (root / "models/base/history.csv").write_text("epoch,train_loss,val_loss,val_miou,lr\n1,2.0,,0.3,0.1\n2,1.0,,0.8,0.05\n")
    html = render(report(), root)
    assert "validation" not in key_of(html)
    assert "validation mIoU by epoch" in Page(html).text


def key_of(html):
    return re.search(r"<p class=\"key\">loss by epoch:.*?</p>", html, re.DOTALL).group()


def test_what_is_long_in_the_lineage_is_folded(root):
    html = render(report(lineage={"git_commit": "4f3a", "params": "train:\n  lr: 0.1"}), root)
    assert "<summary>2 lines</summary><pre>train:\n  lr: 0.1</pre>" in html
    assert "git commit" in Page(html).text


def test_metrics_are_spelt_as_the_field_spells_them(root):
    evaluation = root / "reports/evaluation"
    numbers = {"num_images": 9, "baseline_miou": 0.1, "miou": 0.7, "miou_low": 0.6, "miou_high": 0.8, "boundary_f": 0.6, "ap50": 0.5}
    (evaluation / "metrics.json").write_text(json.dumps(numbers))
    (evaluation / "per_class.csv").write_text("class,support,iou,dice,precision,recall,boundary_f\n7,9,0.5,0.6,0.7,0.8,0.9\n")
    html = render(report(), root)
    text = Page(html).text
    for said in ("test mIoU", "boundary F", "AP50"):
        assert said in text
    heads = re.findall(r"<th[^>]*>(.*?)</th>", html[html.index("Classes, worst first") :])[:7]
    assert heads == ["class", "support", "IoU", "dice", "precision", "recall", "boundary F"]


def test_where_there_is_no_champion_none_is_said_to_be_kept(root):
    first = decision().model_copy(update={"verdict": "refused", "champion": None, "comparison": None})
    text = Page(render(report(outcome="kept", decision=first), root)).text
    assert "not promoted" in text
    assert "champion kept" not in text
    assert "champion kept" in Page(render(report(outcome="kept", decision=decision()), root)).text
