import json

from components.explanation.record import ExplanationRecord, Sanity
from components.records import Interval
from components.registry.card import MAX_DESCRIPTION, description
from tests.components.registry.conftest import Project


def test_the_card_tells_metrics_with_intervals_classes_slices_and_origin(project: Project) -> None:
    project.train(0.9)
    evaluation = project.root / "reports" / "evaluation"
    evaluation.mkdir(parents=True)
    (evaluation / "metrics.json").write_text(
        json.dumps({"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.94, "baseline_accuracy": 0.35, "num_images": 200})
    )
    (evaluation / "per_class.csv").write_text("class,support,recall\n007,70,0.987654\n1_0,0,\n")
    (evaluation / "slices.csv").write_text("column,value,images,metric,low,high\nsite,a|b,20,0.5,0,1\nlens,1.50,9,1,1,1\n")
    found = Sanity(score=0.98, highlighted=0.41, random=0.85, gain=Interval(value=0.44, low=0.4, high=0.5), untrained=0.1)
    ExplanationRecord(num_images=50, blanked=0.2, methods={"Grad-CAM": found}).save(project.root / "reports/explain/explain.json")
    card = (project.register().bundle / "card.md").read_text()
    for line in (
        "Classification in images, 3 classes: ant, bee, cat.",
        "| accuracy | 0.9000 | 0.8500 – 0.9400 |",
        "| accuracy of the best answer that is the same for all images | 0.35 | |",
        "| test images | 200 | |",
        "| 007 | 70 | 0.9877 |",
        "| 1_0 | 0 | – |",
        "| column | value | images | accuracy | low | high |",
        "| site | a\\|b | 20 | 0.5000 | 0.0000 | 1.0000 |",
        "| lens | 1.50 | 9 | 1.0000 | 1.0000 | 1.0000 |",
        "- Grad-CAM says more than chance: the score of the answer falls from 0.9800 to 0.4100 where the map highlights, to 0.8500 at random "
        "(95% interval of the difference: 0.4000 to 0.5000)",
        "| dense-onnx **(serves)** |",
        "| DVC hash | 0123456789abcdef0123456789abcdef.dir |",
        "| git commit | none |",
    ):
        assert line in card


def test_a_long_card_is_cut_to_what_mlflow_keeps_and_says_so() -> None:
    assert description("short") == "short"
    cut = description("x" * 6000)
    assert len(cut) == MAX_DESCRIPTION
    assert "card.md" in cut
