"""Two model versions on the same pinned test images, from original bytes, each through its own bundle."""

from __future__ import annotations

from pathlib import Path

from components.errors import InputError
from components.evaluation.comparison import PairedComparison, compare_paired
from components.protocols import plugin
from components.records import BundleRecord, DatasetRef, Record
from components.registry.bundle import RECORD, training_images
from components.registry.config import PromoteConfig
from components.registry.testset import TestImages, open_test_images, statistics_of
from components.registry.versions import fetch_bundle


class Comparison(Record):
    """What came of it."""

    champion: str
    challenger: str
    dataset: DatasetRef
    paired: PairedComparison
    support: dict[str, int]


def compare(project: Path, home: Path, ref_a: str, ref_b: str, config: PromoteConfig, data_name: str) -> Comparison:
    """Compare version a (as if it were the champion) with version b (as if it were the challenger).

    Args:
        project: The folder with data/NAME and data/splits.parquet.
        home: The `.darkroom` folder.
        ref_a: NAME/V or NAME@ALIAS.
        ref_b: NAME/V or NAME@ALIAS.
        config: The section `promote`, for the bootstrap.
        data_name: The dataset whose test images judge.

    Raises:
        InputError: A test image was among the training images of either, or their classes differ.
    """
    a, b = ((ref, fetch_bundle(home, ref)) for ref in (ref_a, ref_b))
    return compare_bundles(a, b, open_test_images(project, data_name), config)


def compare_bundles(a: tuple[str, Path], b: tuple[str, Path], images: TestImages, config: PromoteConfig) -> Comparison:
    """Compare two bundles, each given with its name; see `compare`."""
    records = [BundleRecord.load(folder / RECORD) for _, folder in (a, b)]
    _same_classes((a[0], b[0]), records)
    for name, folder in (a, b):
        refuse_overlap(name, folder, images)
    evaluator = plugin("components.evaluation.metrics", "task", records[0].task)(records[0].classes)
    of_a, of_b = (statistics_of(folder, evaluator, images, f"compare {name}") for name, folder in (a, b))
    paired = compare_paired(evaluator, of_a, of_b, config.num_resamples, config.seed, images.groups)
    table = evaluator.per_class(of_a)
    support = {str(name): int(count) for name, count in zip(table["class"], table["support"], strict=True)}
    return Comparison(champion=a[0], challenger=b[0], dataset=images.dataset, paired=paired, support=support)


def refuse_overlap(name: str, folder: Path, images: TestImages) -> None:
    """Refuse to judge a model on images that it has seen.

    Raises:
        InputError: A test image is among those that the model was trained on or chosen by.
    """
    known = training_images(folder)
    seen = images.rows[images.rows["sha256"].isin(list(known))]
    if len(seen):
        first = seen.head(3)
        examples = ", ".join(f"{image_id} ({known[sha256]})" for image_id, sha256 in zip(first["image_id"], first["sha256"], strict=True))
        raise InputError(
            f"{len(seen)} of the {len(images.rows)} test images were among the training or validation images of {name}: {examples}. "
            "A comparison on them would say nothing; keep the split as it was (split.seed, split.shares, the split column)"
        )


def _same_classes(names: tuple[str, str], records: list[BundleRecord]) -> None:
    a, b = records
    if a.task != b.task:
        raise InputError(f"{names[0]} does {a.task}, {names[1]} does {b.task}: they cannot be compared")
    if a.classes == b.classes:
        return
    gone, new = sorted(set(a.classes) - set(b.classes)), sorted(set(b.classes) - set(a.classes))
    what = "; ".join(text for text in (gone and f"only {names[0]}: {', '.join(gone)}", new and f"only {names[1]}: {', '.join(new)}") if text)
    raise InputError(
        f"{names[0]} and {names[1]} know different classes ({what or 'the same ones in another order'}) and cannot be compared. "
        f"A person can promote it: darkroom models promote {names[1]} --override --reason '…'"
    )
