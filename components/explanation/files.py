"""Image files → pictures of what speaks for a model's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import DataError
from components.evaluation.pictures import draw_images
from components.explanation.pictures import explained
from components.explanation.subject import Subject
from components.files import explaining_full_disk
from components.progress import bar
from components.protocols import Task, plugin
from components.serving.image import PreparedImage, prepare
from components.serving.predict import find_images
from components.serving.restoring import restored
from components.training.inference import predict

#: Answers of one image that are explained (boxes, the classes of a mask), the most important first.
MAX_ANSWERS = 6


@dataclass(frozen=True)
class ExplainedFile:
    """One image: what the model says of it, and the picture that explains it; or why there is none."""

    path: Path
    told: tuple[str, str] = ("", "")
    picture: Path | None = None
    error: str | None = None


def explain_files(subject: Subject, paths: Sequence[Path], out: Path) -> Iterator[ExplainedFile]:
    """Explain every image in files and folders, in the order of `serving.predict.find_images`; a bad file is an item that says why.

    Args:
        subject: Who is explained.
        paths: Files and folders.
        out: The folder of the pictures; each has its image's name, and a number where names meet.

    Raises:
        DataError: A path does not exist, or there is no image at all.
    """
    files = find_images(paths)
    names: dict[str, int] = {}
    with bar("explain", len(files)) as progress:
        for path in files:
            try:
                image = prepare(path.read_bytes(), subject.spec.preprocess)
            except DataError as error:
                yield ExplainedFile(path, error=str(error))
            except OSError as error:
                yield ExplainedFile(path, error=f"cannot be read: {error.strerror}")
            else:
                names[path.stem] = names.get(path.stem, 0) + 1
                number = f"-{names[path.stem]}" if names[path.stem] > 1 else ""
                yield _explain(subject, path, image, out / f"{path.stem}{number}.png")
            progress.update()


def _explain(subject: Subject, path: Path, image: PreparedImage, picture: Path) -> ExplainedFile:
    spec = subject.spec
    task: Task = plugin("components.tasks", "task", spec.task)
    predictions = predict(task, subject.model, image.pixels[None])
    answers = subject.answers.of(predictions[0], spec.classes)[:MAX_ANSWERS]
    scores = [subject.scores(subject.image(image.pixels), answer)[0] for answer in answers]
    captions = [f"why {spec.classes[answer.label]}? ({score:.0%})" for answer, score in zip(answers, scores, strict=True)]
    pictures = [explained(subject, image.pixels, answer) for answer in answers]
    with explaining_full_disk(picture):
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw_images(pictures, captions, picture, empty="nothing was found")
    [prediction] = restored(task.postprocess, predictions, [image.size_hw], spec.preprocess)
    return ExplainedFile(path, task.postprocess.told(prediction, spec.classes), picture)
