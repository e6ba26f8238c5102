"""explain: where in the test images is what speaks for the tuned model's answers, and do such maps say more than chance."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from pydantic import Field

from components.config import Section
from components.datasets.annotations import classes_shown
from components.datasets.prepared import Prepared, PreparedSplit
from components.errors import DataError
from components.evaluation.pictures import draw_images
from components.explanation.record import ExplanationRecord
from components.files import replacing
from components.progress import bar
from components.protocols import Answer, Task, plugin

if TYPE_CHECKING:
    from components.explanation.subject import Subject

log = logging.getLogger(__name__)

RECORD, MISTAKES, RIGHT = "explain.json", "pictures/mistakes.png", "pictures/right.png"
#: Test images among which those of each class are looked for.
_NUM_LOOKED_AT = 500


class ExplainConfig(Section):
    """How much is explained."""

    section: ClassVar[str] = "explain"
    enabled: bool = Field(default=True, description="false: nothing is explained")
    num_pictures: int = Field(default=12, ge=0, le=100, description="of the worst mistakes, and as many of right answers")
    num_images: int = Field(default=24, ge=2, le=10_000, description="on which the maps are measured; the more, the narrower the interval")
    blanked: float = Field(default=0.2, gt=0, le=0.5, description="share of the image that is blanked to measure a map")
    seed: int = Field(default=0, ge=0, description="of the images that are measured, the random regions, the random weights")


def explain(config: ExplainConfig, data: Path, model: Path, mistakes: Path, out: Path) -> ExplanationRecord:
    """Draw heat maps of a model's answers to test images, and measure whether they say more than chance.

    Args:
        config: The section `explain`.
        data: The prepared data.
        model: The folder of a trained model.
        mistakes: What evaluate wrote of this model and data: mistakes.csv.
        out: The folder to write: explain.json, pictures/mistakes.png, pictures/right.png.

    Raises:
        DataError: A file is missing, or the model does not fit the data.
    """
    from components.explanation.subject import Subject, can_be_explained
    from components.training.model_files import load_model, load_spec
    from components.training.runtime import plain_runtime

    spec = load_spec(model)
    record = ExplanationRecord(num_images=0, blanked=config.blanked, methods={})
    with replacing(out) as folder:
        (folder / "pictures").mkdir(parents=True)
        if not can_be_explained(spec.task):
            log.info("nothing is explained: the task %s does not say what its answers are", spec.task)
        elif config.enabled:
            subject = Subject.of(*load_model(model), plain_runtime().device)
            test = Prepared.open(data).split("test", spec.preprocess.size_hw)
            record = _measured(config, subject, test)
            _draw(config, subject, test, _read_mistakes(mistakes, len(test.images)), folder)
        record.save(folder / RECORD)
    _tell(record)
    return record


def _measured(config: ExplainConfig, subject: Subject, test: PreparedSplit) -> ExplanationRecord:
    from components.explanation.methods import METHODS
    from components.explanation.sanity import Case, measure

    count = min(config.num_images, len(test.images))
    chosen = np.sort(np.random.default_rng(config.seed).choice(len(test.images), count, replace=False))
    cases = [Case(subject.image(test.images[image]), answers[0]) for image, answers in _answers(subject, test, chosen.tolist()) if answers]
    with bar("explain", len(METHODS) * len(cases), "maps") as progress:
        methods = {name: measure(subject, cases, method, config.blanked, config.seed, progress) for name, method in METHODS.items() if cases}
    return ExplanationRecord(num_images=len(cases), blanked=config.blanked, methods=methods)


def _answers(subject: Subject, test: PreparedSplit, images: Sequence[int]) -> list[tuple[int, Sequence[Answer]]]:
    """Return images with what the model says of them."""
    from components.training.inference import predict

    task: Task = plugin("components.tasks", "task", subject.spec.task)
    predictions = predict(task, subject.model, test.images[list(images)]) if len(images) else []
    return [(image, subject.answers.of(prediction, subject.spec.classes)) for image, prediction in zip(images, predictions, strict=True)]


def _read_mistakes(path: Path, num_images: int) -> dict[int, str]:
    """Return what was wrong by the number of the test image, the worst first."""
    try:
        table = pd.read_csv(path, keep_default_na=False)
        wrong = dict(zip(table["number"].astype(int).tolist(), table["mistake"].astype(str), strict=True))
    except FileNotFoundError:
        raise DataError(f"{path} not found; the step that writes it, evaluate, has not run") from None
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} is not what evaluate writes: {error}. Run evaluate again") from None
    if any(not 0 <= image < num_images for image in wrong):
        raise DataError(f"{path} speaks of other test images than there are ({num_images}). Run evaluate again")
    return wrong


def _draw(config: ExplainConfig, subject: Subject, test: PreparedSplit, wrong: dict[int, str], folder: Path) -> None:
    from components.explanation.pictures import explained

    classes = subject.spec.classes
    worst = [(image, answers[0]) for image, answers in _answers(subject, test, list(wrong)[: config.num_pictures]) if answers]
    right = _right(config, subject, test, wrong)
    with bar("explain", len(worst) + len(right), "pictures") as progress:
        for sheet, chosen, empty in ((MISTAKES, worst, "no mistake with an answer"), (RIGHT, right, "no right answer")):
            pictures, captions = [], []
            for image, answer in chosen:
                pictures.append(explained(subject, np.asarray(test.images[image]), answer))
                why = f"why {classes[answer.label]}? ({subject.scores(subject.image(test.images[image]), answer)[0]:.0%})"
                captions.append(f"{wrong[image]}; {why}" if sheet == MISTAKES else why)
                progress.update()
            draw_images(pictures, captions, folder / sheet, empty=empty)


def _right(config: ExplainConfig, subject: Subject, test: PreparedSplit, wrong: dict[int, str]) -> list[tuple[int, Answer]]:
    """Return images with an answer, of each class in turn: those without a mistake, or where each has some, with the least."""
    best = [image for image in range(len(test.images)) if image not in wrong] + list(wrong)[::-1]
    shown = classes_shown(test.rows.iloc[best[:_NUM_LOOKED_AT]], subject.spec.classes)
    of_class = [[image for image, names in zip(best, shown, strict=False) if name in names] for name in subject.spec.classes]
    chosen: dict[int, Answer] = {}
    for turn in itertools.zip_longest(*of_class):
        if len(chosen) >= config.num_pictures:
            break
        wanted = {image: label for label, image in enumerate(turn) if image is not None and image not in chosen}
        for image, answers in _answers(subject, test, list(wanted)):
            of_wanted = [answer for answer in answers if answer.label == wanted[image]]
            chosen.update([(image, of_wanted[0])] if of_wanted else [])
    return list(chosen.items())[: config.num_pictures]


def _tell(record: ExplanationRecord) -> None:
    for name, found in record.methods.items():
        log.info(
            "%s says %s: the score falls from %.2f to %.2f where it highlights, to %.2f at random",
            *(name, found.verdict, found.score, found.highlighted, found.random),
        )
