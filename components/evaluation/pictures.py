"""Pictures of how a model errs: PNG files, the same bytes for the same input."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _BLUE, _RED = "#1d2530", "#6b7785", "#2f6fde", "#d1495b"
_NAMED_CLASSES = 30
_NAMED_LINES = 12
_COLUMNS = 6
_CELL, _CAPTION = 1.75, 0.4  # inches: a side of a picture's place, and what is below it
_WIDE = 1.6  # width to height from which a picture takes the place of two


def draw_confusion(matrix: npt.NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix: colour is the share of the true class, numbers are how many; 12k stands for 12 thousand.

    Args:
        matrix: int64 (C, C), rows are true classes, columns predicted ones.
        classes: Their names; with more than 30 only the colours are drawn.
        path: The file to write.
    """
    count = len(classes)
    side = 3.2 + 0.2 * min(count, _NAMED_CLASSES)
    figure = _figure(side, side * 0.96)
    axes = _axes(figure)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=_colours(), vmin=0, vmax=1)
    if count <= _NAMED_CLASSES:
        short = max(map(len, classes)) < 4
        axes.set_xticks(range(count), classes, rotation=0 if short else 45, ha="center" if short else "right")
        axes.set_yticks(range(count), classes)
        for row, column in np.argwhere(matrix > 0):
            colour = "white" if shares[row, column] > 0.5 else _RED if row != column else _INK
            axes.text(column, row, _short(int(matrix[row, column])), ha="center", va="center", fontsize=9, color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    _save(figure, path)


def draw_reliability(
    counts: npt.NDArray[np.int64], confidence: npt.NDArray[np.float64], accuracy: npt.NDArray[np.float64], error: float, path: Path
) -> None:
    """Draw how often the model is right against how sure it says it is, and how many images stand behind each bar.

    Args:
        counts: Images in each bin of confidence (B,).
        confidence: Their mean probability of the predicted class.
        accuracy: The share of them that is right.
        error: The expected calibration error, for the title.
        path: The file to write.
    """
    figure = _figure(5.2, 4.8)
    axes = _axes(figure)
    num_bins = len(counts)
    centres = (np.arange(num_bins) + 0.5) / num_bins
    filled = counts > 0
    colours = [(*_rgb(_BLUE), 0.25 + 0.75 * share) for share in counts[filled] / counts.max()]
    axes.bar(centres[filled], accuracy[filled], width=0.92 / num_bins, color=colours)
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle="--", zorder=0)
    axes.scatter(confidence[filled], accuracy[filled], s=18, color=_INK, zorder=3)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="how sure it was", ylabel="how often it was right")
    axes.set_title(f"calibration error {error:.3f}; darker: more images", fontsize=10, color=_MUTED)
    _save(figure, path)


def draw_curves(x: npt.NDArray[np.float64], curves: Mapping[str, npt.NDArray[np.float64]], axis_names: tuple[str, str], path: Path) -> None:
    """Draw one line a class from 0 to 1, the best twelve named.

    Args:
        x: (P,), 0..1.
        curves: By class (P,), 0..1.
        axis_names: Of x and y.
        path: The file to write.
    """
    figure = _figure(6.4, 4.8)
    axes = _axes(figure)
    palette = _line_colours()
    order = sorted(curves, key=lambda name: -float(curves[name].mean()))
    for place, name in enumerate(order):
        axes.plot(x, curves[name], color=palette(place % 10), linewidth=1.4, label=name if place < _NAMED_LINES else None)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=axis_names[0], ylabel=axis_names[1])
    if order:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8.5)
    _save(figure, path)


def draw_bars(counts: Mapping[str, int], what: str, path: Path) -> None:
    """Draw a bar for each count.

    Args:
        counts: By name.
        what: What is counted.
        path: The file to write.
    """
    figure = _figure(5.2, 0.7 + 0.42 * len(counts))
    axes = _axes(figure)
    names = list(counts)
    axes.barh(range(len(names)), [counts[name] for name in names], color=_BLUE, height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    for place, name in enumerate(names):
        axes.text(counts[name], place, f" {counts[name]}", va="center", fontsize=9, color=_INK)
    axes.set_xlabel(what)
    _save(figure, path)


def draw_images(images: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], path: Path, empty: str, title: str = "") -> None:
    """Draw a sheet of images, each with its caption below.

    Args:
        images: uint8 (H, W, C) each, C 1 or 3.
        captions: One an image.
        path: The file to write.
        empty: What the sheet says where there are no images.
        title: What all of them show, above them.
    """
    if not images:
        figure = _figure(5.0, 1.2)
        axes = _axes(figure)
        axes.axis("off")
        axes.text(0.5, 0.5, empty, ha="center", va="center", color=_MUTED, fontsize=12)
        _save(figure, path)
        return
    wide = max(image.shape[1] / image.shape[0] for image in images) > _WIDE
    columns = min(_COLUMNS // 2 if wide else _COLUMNS, len(images))
    rows, width = -(-len(images) // columns), 2 * _CELL if wide else _CELL
    height = min(_CELL, width * max(image.shape[0] / image.shape[1] for image in images))
    figure = _figure(width * columns, (height + _CAPTION) * rows)
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_xlabel(textwrap.fill(caption, 44 if wide else 22), fontsize=8.5, color=_INK)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=9.5, color=_MUTED)
    _save(figure, path)


def _short(number: int) -> str:
    """A number in at most four characters, up to a billion: what has a place in a cell."""
    if number < 10_000:
        return str(number)
    thousands = number / 1e3
    return f"{thousands:.0f}k" if thousands < 999.5 else f"{number / 1e6:.0f}M" if number >= 9.95e6 else f"{number / 1e6:.1f}M"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, facecolor="white", layout="constrained")


def _axes(figure: Figure) -> Axes:
    axes = figure.add_subplot()
    axes.tick_params(colors=_MUTED, labelsize=9)
    axes.xaxis.label.set_color(_MUTED)
    axes.yaxis.label.set_color(_MUTED)
    for spine in axes.spines.values():
        spine.set_color("#d5dbe3")
    return axes


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)


def _colours() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("darkroom", ["#ffffff", "#cfdffa", _BLUE, "#173a7a"])


def _line_colours() -> Any:
    from matplotlib import colormaps

    return colormaps["tab10"]


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Software": None})
