"""The seams of Darkroom, all in this one file, which is the one to read first. One file elsewhere that fits a seam adds one thing.

| seam            | one file gives                                 | found by                               |
| --------------- | ---------------------------------------------- | -------------------------------------- |
| `Task`          | what is learnt (torch)                         | tasks/NAME.py, `task.name`             |
| `Evaluator`     | a task's targets and metrics, torch-free       | evaluation/metrics/NAME.py, `task.name`|
| `Figures`       | a task's figures of an evaluation              | evaluation/figures/NAME.py, `task.name`|
| `Answers`       | what of a prediction can be explained (torch)  | explanation/answers/NAME.py, `task.name`|
| `Postprocess`   | an artifact's outputs → predictions, torch-free| serving/postprocess/NAME.py, `task.name`|
| `DatasetFormat` | a foreign layout, read; written by some        | datasets/formats/NAME.py, `--format`   |
| `Exporter`      | a graph written in a deployable form           | exporters/NAME.py, `export.formats`    |
| `Compressor`    | a trained model → a smaller trained model      | compression/NAME.py, `compress.variants`|
| `ObjectStore`   | a place for released artifacts                 | storage/NAME.py, the URI's scheme      |
| `Tracker`       | where a step reports what it does              | given by who calls the step            |

The module of a plugin has one object that fits the seam, named `plugin` (for `Evaluator` and `ObjectStore` the class, to be
called with the class names, or the URI). Legend of shapes: N images, C channels or
classes, H height, W width in pixels.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from components.errors import DataError, unknown_name

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import torch
    from torch import nn

    from components.datasets.dataset import Dataset
    from components.records import ModelSpec, Preprocess, TrainRecord

    Array = npt.NDArray[Any]


class Evaluator(Protocol):
    """Metrics as sums over images, so that bootstrap, slices and paired comparison work alike for every task.

    Torch-free. Predictions and targets are sequences with one item an image.
    """

    metric: str
    """The primary metric's key in `score`; higher is better."""

    def targets(self, rows: pd.DataFrame) -> Sequence[Any]:
        """Return one target an image from the manifest's annotation columns; of any length and type.

        Raises:
            DataError: An annotation is missing or names no class.
        """
        ...

    def statistics(self, predictions: Sequence[Any], targets: Sequence[Any]) -> Array:
        """Return what each image adds to the metrics, float64 (N, K)."""
        ...

    def score(self, statistics: Array, weights: Array | None = None) -> dict[str, float]:
        """Return the metrics over the images, image n counted `weights[n]` times (N,); all once if None.

        With weights it may return fewer, for speed, the primary one among them. One that is not defined is NaN.
        Where there is a key `nll` (lower is better), it is the validation loss and breaks ties of the primary metric.
        """
        ...

    def per_class(self, statistics: Array) -> pd.DataFrame:
        """Return one row a class: class, support, and the metrics of that class (first metric column: the one budgets judge)."""
        ...

    def baseline(self, targets: Sequence[Any]) -> Any:
        """Return the best prediction that ignores the image, from the training targets (classification: the class frequencies)."""
        ...

    def mistakes(self, statistics: Array) -> list[tuple[int, str]]:
        """Return the images that went wrong, worst first: their number and a caption."""
        ...

    def confusion(self, statistics: Array) -> pd.DataFrame:
        """Return what was taken for what, columns label and predicted; no rows where a task knows no such thing."""
        ...


class Figures(Protocol):
    """The figures of a task's evaluation; apart from `Evaluator`, so that a changed figure never re-trains."""

    legend: str
    """What `judged` draws where, for people; empty where it draws the image alone."""

    def __call__(self, evaluator: Any, statistics: Array, folder: Path) -> None:
        """Draw PNG files into `folder` from what the task's own evaluator says of each image, float64 (N, K)."""
        ...

    def marked(self, image: Array, annotation: Any, classes: Sequence[str]) -> Array:
        """Draw a target or a prediction, in the image's pixels, over an image, uint8 (H, W, 1 or 3); return uint8 (H, W, 1 or 3)."""
        ...

    def judged(self, image: Array, target: Any, prediction: Any, classes: Sequence[str]) -> Array:
        """Draw truth beside prediction, both in the image's pixels, as one picture, uint8 (H, W', 1 or 3)."""
        ...


class Task(Protocol):
    """What is learnt. Images reach it as float NCHW in 0..1 on the training device; the network normalises them."""

    name: str
    postprocess: Postprocess
    """Its torch-free half."""

    def model_names(self) -> Sequence[str]:
        """Return the names of the networks there are for it, sorted."""
        ...

    def build_model(self, spec: ModelSpec) -> nn.Module:
        """Return the network with random weights: images_NCHW in 0..1 → raw outputs. A pruned `spec.structure` is applied."""
        ...

    def head_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters that have a row for each class, the last of the network."""
        ...

    def place(self, targets: Sequence[Any], sizes_hw: Sequence[tuple[int, int]], preprocess: Preprocess) -> Sequence[Any]:
        """Bring targets into the network's pixels, once, before training.

        Args:
            targets: As `Evaluator.targets` returns them, in pixels of the upright originals.
            sizes_hw: Height and width of each original.
            preprocess: How the originals become what the network sees.
        """
        ...

    def collate(self, targets: Sequence[Any], device: torch.device) -> Any:
        """Return the targets of one batch (items of `place`) in the form that `augment` and `loss` take."""
        ...

    def separate(self, targets: Any) -> Sequence[Any]:
        """Return one target an image, as `place` does, from what `augment` returned: for pictures."""
        ...

    def augment(self, images_NCHW: torch.Tensor, targets: Any, policy: Any, generator: torch.Generator) -> tuple[torch.Tensor, Any]:
        """Apply the random policy to a whole batch on its device; all randomness comes from `generator`.

        The one place where images are uint8 as they are stored: flips and crops move a quarter of the bytes. It may return
        uint8, or float in 0..1.

        Raises:
            ConfigError: The policy asks for what the targets cannot follow.
        """
        ...

    def loss_options(self, settings: Mapping[str, Any], targets: Sequence[Any], classes: Sequence[str]) -> dict[str, Any]:
        """Return what `loss` takes as `options`, from the step's settings and all training targets (class weights, label smoothing).

        Raises:
            ConfigError: A setting does not fit the classes or the task.
        """
        ...

    def loss(self, model: nn.Module, images_NCHW: torch.Tensor, targets: Any, options: Mapping[str, Any]) -> torch.Tensor:
        """Return the training loss of one batch, a scalar."""
        ...

    def predict(self, model: nn.Module, images_NCHW: torch.Tensor) -> list[Any]:
        """Return one torch-free prediction an image as `Postprocess.predictions` does, in the network's pixels."""
        ...

    def deploy_graph(self, model: nn.Module, spec: ModelSpec) -> nn.Module:
        """Return tensors in, tensors out: images_NHWC uint8 → the outputs that `serving/` post-processes."""
        ...


@runtime_checkable
class Distiller(Protocol):
    """A task whose network can learn from another network's outputs besides the targets (knowledge distillation); a task may have it."""

    def distillation_losses(
        self, model: nn.Module, teacher: nn.Module, images_NCHW: torch.Tensor, targets: Any, options: Mapping[str, Any], temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two scalars of one batch: `Task.loss`, and how far the model's outputs are from the teacher's.

        Args:
            model: It learns.
            teacher: Frozen, in evaluation mode; no gradient goes through it.
            images_NCHW: As in `Task.loss`.
            targets: As in `Task.loss`.
            options: As in `Task.loss`.
            temperature: Softens both networks' outputs; the distance keeps its scale whatever it is.
        """
        ...


class Answer(NamedTuple):
    """One thing that a prediction says and that can be explained: the class of an image, a box, the pixels of a class.

    Attributes:
        label: The class index that it names.
        part: The prediction with this in it, in the network's pixels, of the same form.
    """

    label: int
    part: Any


class Support(NamedTuple):
    """How far images bear an answer out.

    Attributes:
        logits: float (N,), what a gradient is taken of: it goes on rising where a score is all but 1.
        scores: float (N,), 0..1, for people.
    """

    logits: torch.Tensor
    scores: torch.Tensor


class Answers(Protocol):
    """What of a task's predictions can be explained; apart from `Task`, so that a changed explanation never re-trains. A task may do without."""

    have_places: bool
    """Whether an answer is about one place (a box): a heat map then has to tell it from other places that show the same."""

    def of(self, prediction: Any, classes: Sequence[str]) -> Sequence[Answer]:
        """Return what a prediction in the network's pixels says, the most important first; nothing where nothing was found."""
        ...

    def support(self, model: nn.Module, images_NCHW: torch.Tensor, answer: Answer) -> Support:
        """Return how far each image, float in 0..1, bears out the same answer; gradients go through to the network's features."""
        ...

    def feature_layers(self, model: nn.Module, images_NCHW: torch.Tensor) -> Sequence[str]:
        """Return the names of the modules whose outputs (N, channels, h, w) an answer is read from: the last feature map, or those of a pyramid."""
        ...


@runtime_checkable
class Rescaler(Protocol):
    """A task that can learn from images of several sizes (`multi_scale`); a task may have it."""

    size_step: int
    """Its networks take images whose sides are multiples of it."""

    def build_model(self, spec: ModelSpec) -> nn.Module:
        """As in `Task`."""
        ...

    def rescale(self, targets: Any, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> Any:
        """Return the targets of a batch, as `Task.augment` returns them, whose images were resized from one height and width to another."""
        ...


class Postprocess(Protocol):
    """The torch-free half of `Task.predict`: what stands behind an artifact's graph."""

    fields: Mapping[str, str]
    """The type of each of `columns`: string or double, with [] for each list around it; a mapping by class counts as a list in the classes' order."""

    def predictions(self, outputs: Mapping[str, Array]) -> list[Any]:
        """Return one prediction an image from the outputs of the artifact, equal in form to `Task.predict`'s: in the network's pixels."""
        ...

    def restore(self, prediction: Any, size_hw: tuple[int, int], preprocess: Preprocess) -> Any:
        """Return a prediction in the pixels of its upright original, of height and width `size_hw`: the form that evaluators and people know."""
        ...

    def columns(self, prediction: Any, classes: Sequence[str]) -> dict[str, Any]:
        """Return a prediction as a row for people and tables (classification: label, score, probabilities)."""
        ...

    def told(self, prediction: Any, classes: Sequence[str]) -> tuple[str, str]:
        """Return a prediction for a line at a terminal: the answer, and how sure it is, or nothing."""
        ...

    def difference(self, prediction: Any, classes: Sequence[str], other: Any, other_classes: Sequence[str]) -> tuple[float, bool]:
        """Compare two predictions of one image, class by class name (both lists hold the same names).

        Returns:
            The largest absolute difference of a score, and whether the decision is the same.
        """
        ...

    def likeness(self, prediction: Any, classes: Sequence[str], other: Any, other_classes: Sequence[str]) -> dict[str, float]:
        """Return by name what else tells how alike two predictions of one image are; nothing where `difference` says all."""
        ...


@dataclass(frozen=True)
class ImportedImage:
    """An image as a foreign layout names it.

    Attributes:
        image_id: Its path at the source.
        content: Its bytes, as they are there.
        row: The manifest's columns that the source gives: annotations, `split`, `group`, and any metadata columns.
        mask: uint8 (H, W), see `datasets.annotations`: a pixel holds the index of its class, or 255.
    """

    image_id: str
    content: bytes
    row: Mapping[str, Any]
    mask: Array | None = None


@dataclass(frozen=True)
class Quarantined:
    """Something of a source that cannot be taken: an image, or an annotation without an image. It is reported, not lost in silence."""

    image_id: str
    reason: str


@dataclass(frozen=True)
class Reading:
    """What a foreign layout holds.

    Attributes:
        task: What it is labelled for.
        classes: The class names in order.
        images: In a fixed order, read as they are asked for, once.
        total: How many there are, for the progress bar.
    """

    task: str
    classes: list[str]
    images: Iterable[ImportedImage | Quarantined]
    total: int


class Source(Protocol):
    """Where a foreign layout lies: a folder, an archive, a bucket. The one way to its bytes: nothing outside of it can be named."""

    uri: str
    """As the user gave it; also what formats without files (`sklearn:digits`) go by."""

    def files(self) -> Sequence[str]:
        """Return the names of all files below the source, with `/` in them, sorted, hidden ones left out."""
        ...

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            DataError: There is no such file, it cannot be read, or the name leads outside of the source.
        """
        ...

    def read_many(self, names: Iterable[str]) -> Iterator[bytes | DataError]:
        """Yield the files' bytes in the order asked for, read ahead where that helps; an error in the place of one that cannot be read."""
        ...

    def release(self) -> None:
        """Let go of what was kept so that a killed import can go on; called when one is complete."""
        ...


class DatasetFormat(Protocol):
    """A foreign layout of labelled images. One that can also be written has `write` (`DatasetWriter`)."""

    name: str
    tasks: tuple[str, ...]
    """What a source of this layout may be labelled for."""

    def matches(self, source: Source) -> bool:
        """Tell whether the layout of `source` is unmistakably this one; cheap, and never an error."""
        ...

    def read(self, source: Source, task: str | None) -> Reading:
        """Read the annotations; the images follow as they are asked for.

        Args:
            source: Untrusted: whatever is wrong in it is a DataError, or a `Quarantined` in the place of one image.
            task: One of `tasks`; None: what the annotations are best for.

        Raises:
            DataError: The layout is not what this format expects.
        """
        ...


@runtime_checkable
class DatasetWriter(Protocol):
    """A foreign layout that can be written."""

    name: str
    tasks: tuple[str, ...]

    def write(self, dataset: Dataset, out: Path) -> None:
        """Write a dataset as this layout, image bytes as they are; reading it back gives the same rows.

        Args:
            dataset: What to write.
            out: A folder that does not exist yet.

        Raises:
            DataError: The layout cannot say what the dataset says; names what.
        """
        ...


class Exporter(Protocol):
    """Writes a graph in one deployable form, and runs what it wrote."""

    format: str
    file_name: str
    needs_calibration: bool

    def export(self, graph: nn.Module, example_NHWC: torch.Tensor, calibration_NHWC: Array | None, metadata: Mapping[str, str], path: Path) -> None:
        """Write the artifact with `metadata` inside.

        Args:
            graph: images_NHWC uint8 → named outputs, batch size free.
            example_NHWC: uint8 (2, H, W, C).
            calibration_NHWC: uint8 (N, H, W, C) training images, where `needs_calibration`.
            metadata: Texts to store inside: preprocessing, class names, versions.
            path: The file to write.

        Raises:
            InputError: The graph cannot be written in this form.
        """
        ...

    def runner(self, path: Path, num_threads: int) -> Runner:
        """Load an artifact for running on the CPU.

        Raises:
            DataError: The file is missing, damaged or of another form.
        """
        ...


class Runner(Protocol):
    """A loaded artifact."""

    metadata: Mapping[str, str]
    """The texts that were stored inside."""

    def __call__(self, images_NHWC: Array) -> dict[str, Array]:
        """Run a batch, uint8 (N, H, W, C), to named outputs."""
        ...


class Compressor(Protocol):
    """Makes a variant of a trained model that is a model again: it can be loaded, trained on and exported."""

    def compress(self, model: Path, data: Path, options: Any, out: Path, context: Context) -> TrainRecord:
        """Write weights.safetensors, spec.json and summary.json under `out`, a folder that does not exist yet.

        Args:
            model: The trained model's folder.
            data: The prepared data.
            options: The section `compress` of params.yaml (`compression._options.CompressConfig`).
            out: The folder to make.
            context: The scratch folder holds what a killed run needs to go on.
        """
        ...


class ObjectInfo(NamedTuple):
    """What a store's listing says of an object."""

    key: str
    size: int
    """In bytes."""
    etag: str
    """Another one whenever the content is another."""


class ObjectStore(Protocol):
    """A place for bytes under keys with `/` in them. May be used by many threads at once."""

    uri: str

    def put(self, key: str, content: bytes | Path) -> None:
        """Store under `key`, whole or not at all, verified by checksum; replaces what was there."""
        ...

    def put_if_absent(self, key: str, content: bytes | Path) -> bool:
        """Store under `key` unless it exists; False if it does."""
        ...

    def get(self, key: str) -> bytes:
        """Return the content.

        Raises:
            InputError: There is no such key.
        """
        ...

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, without the rest.

        Raises:
            InputError: There is no such key, or it ends before these bytes do.
        """
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`, sorted."""
        ...

    def entries(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what lies under the keys that begin with `prefix`, sorted by key, as far as it is asked for."""
        ...


class Tracker(Protocol):
    """Where a step reports. Calls return at once and never raise: a tracker that is away loses no training run."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings, flat or nested."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record numbers at a step (an epoch, or an optimiser step)."""
        ...

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record texts: the dataset's version, the DVC key."""
        ...


class NullTracker:
    """Reports nowhere."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Forget."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Forget."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Forget."""


@dataclass(frozen=True)
class Context:
    """What surrounds a step: who listens, and where it may keep what it needs to resume.

    Attributes:
        tracker: Listens to metrics, parameters, tags.
        scratch: A folder that survives a kill, the same for the same code, parameters and inputs; None: cannot resume. Whoever gives it
            deletes it, once the step's outputs are safe: until then a step that is asked again is done at once.
    """

    tracker: Tracker = field(default_factory=NullTracker)
    scratch: Path | None = None


def plugin_names(package: str) -> list[str]:
    """Return the names of the plugins of a seam, for example of ``"components.tasks"``, without importing them."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def plugin(package: str, kind: str, name: str) -> Any:
    """Return the plugin `name` of a seam.

    Args:
        package: The seam's package, for example ``"components.exporters"``.
        kind: What the error calls it.
        name: The plugin's file name without `.py`.

    Raises:
        ConfigError: There is no such plugin; the error lists the names there are.
    """
    names = plugin_names(package)
    if name not in names:
        raise unknown_name(kind, name, names)
    return importlib.import_module(f"{package}.{name}").plugin
