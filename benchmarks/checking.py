"""Checking a dataset: its images against decoding them alone, and the suite over a manifest of a million rows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.rows import Row
from components.datasets.checks import check as checking
from components.datasets.checks.config import ValidateConfig
from components.datasets.checks.files import COLUMNS as MEASURED
from components.datasets.checks.files import measure_images
from components.datasets.checks.suite import Subject
from components.datasets.dataset import Dataset
from components.datasets.decoding import decode
from components.datasets.manifest import ANNOTATIONS, COLUMNS, MANIFEST, DatasetInfo, read_dataset, read_table, write_dataset_info, write_table
from components.datasets.parallel import map_batches, num_threads_for
from components.datasets.shards import ShardReader
from components.datasets.writing import write_dataset
from components.progress import bar
from components.protocols import ImportedImage

NUM_IMAGES, NUM_ROWS = 10_000, 1_000_000
TARGET_RATIO, TARGET_S, TARGET_GB = 0.5, 20.0, 2.0
PHOTOS = Path(__file__).parents[2] / "shared/data/coco128.tar"
CLASSES = [f"class_{number:03d}" for number in range(100)]
_SIDES = (640, 480)


def rows() -> list[Row]:
    """Measure both."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return [*images(root), suite(root, "classification"), suite(root, "detection")]


def images(root: Path) -> list[Row]:
    """Check 10,000 photographs, and decode them alone, in turn."""
    if not PHOTOS.is_file():
        return []
    info = DatasetInfo(name="photos", version="1.0.0", task="classification", classes=["even", "odd"])
    with bar("make photographs", NUM_IMAGES) as progress:

        def counted() -> Iterator[ImportedImage]:
            for image in photographs():
                yield image
                progress.update()

        write_dataset(counted(), info, root)
    data = root / "photos"
    seconds: dict[str, list[float]] = {"decode": [], "measure": [], "check": []}
    processor: dict[str, list[float]] = {name: [] for name in seconds}
    work = {"decode": decode_alone, "measure": measure_alone, "check": lambda data: checking.check(ValidateConfig(), data, root / "report")}
    for trial in range(3):
        for name in list(work)[:: 1 if trial % 2 else -1]:
            started, used = time.perf_counter(), time.process_time()
            work[name](data)
            seconds[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - used)
    alone, measured, whole = (float(np.median(seconds[name])) for name in work)
    ratio = alone / whole
    by_processor = float(np.median(processor["decode"]) / np.median(processor["check"]))
    note = (
        f"{by_processor:.2f}× by processor time, which what else runs here does not change; decoding {NUM_IMAGES / alone:.0f}/s; "
        f"measuring alone {alone / measured:.2f}×; near-duplicate search, suite, Data Docs and page included"
    )
    name = f"checking {NUM_IMAGES:,} photographs of 0.3 megapixel, against decoding alone"
    return [Row(name, f"{ratio:.2f}× ({NUM_IMAGES / whole:.0f} images/s)", f"{TARGET_RATIO}×", ratio, ratio >= TARGET_RATIO, note)]


def photographs() -> Iterator[ImportedImage]:
    """Yield pictures of 640×480 as JPEG, no two alike: two of COCO's 128 photographs, one over the other."""
    with tarfile.open(PHOTOS) as tar:
        files = [tar.extractfile(member) for member in tar if member.name.endswith(".jpg")]
        known = [Image.open(io.BytesIO(file.read())).convert("RGB").resize(_SIDES, Image.Resampling.BICUBIC) for file in files if file]
    generator = np.random.default_rng(0)
    for number in range(NUM_IMAGES):
        below, above = (known[index] for index in generator.choice(len(known), 2, replace=False))
        buffer = io.BytesIO()
        Image.blend(below, above, generator.uniform(0.35, 0.65)).save(buffer, "JPEG", quality=90)
        yield ImportedImage(f"{number}.jpg", buffer.getvalue(), {"label": ("even", "odd")[number % 2]})


def decode_alone(data: Path) -> None:
    """Decode every image of a dataset to pixels, with the threads that the check has."""
    table = read_table(data, ["shard", "offset", "length", "height", "width"])
    places = list(zip(*(table.column(name).to_pylist() for name in ("shard", "offset", "length")), strict=True))
    with ShardReader(data) as shards:
        for _ in map_batches(partial(_decode, shards), places, 64, num_threads_for(table.to_pandas())):
            pass


def _decode(shards: ShardReader, batch: list[tuple[str, int, int]]) -> int:
    return sum(decode(shards.read(*place)).shape[0] for place in batch)


def measure_alone(data: Path) -> None:
    """Measure every image as the check does, and judge nothing."""
    with Dataset.of_folder(data) as dataset:
        measure_images(data, dataset.info, dataset.table, ("fingerprint",))


def suite(root: Path, task: str) -> Row:
    """Judge a million rows of a manifest in a process of its own."""
    folder = root / task
    folder.mkdir()
    write_million(folder, task)
    code = f"import benchmarks.checking as m, pathlib; m.judge_million(pathlib.Path({str(folder)!r}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout.splitlines()[-1])
    measured = f"{found['seconds']:.1f} s; {found['gigabytes']:.2f} GB"
    met = found["seconds"] <= TARGET_S and found["gigabytes"] <= TARGET_GB
    counted = f"{found['rules']} rules, {found['broken']:,} rows break one"
    note = f"{counted}; with process start and Great Expectations' import; peak memory of the process"
    return Row(
        f"the suite over a manifest of {NUM_ROWS:,} rows, {task}",
        measured,
        f"{TARGET_S:.0f} s; {TARGET_GB:.0f} GB",
        TARGET_S / found["seconds"],
        met,
        note,
    )


def judge_million(folder: Path) -> None:
    """Read manifest and measurements, judge them, and print what it took."""
    import resource

    import psutil

    measurements = pq.read_table(folder / "measurements.parquet")
    subject = Subject(read_dataset(folder), read_table(folder), measurements, ValidateConfig(min_class_images=10))
    pairs = pd.DataFrame({"first": [], "second": [], "how": []}).astype({"first": "int64", "second": "int64"})
    findings = checking.judge_subject(subject, checking.Looked(measurements, pairs), folder / "docs")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    started = psutil.Process().create_time()
    broken = sum(outcome.num_broken for outcome in findings.outcomes)
    print(json.dumps({"seconds": time.time() - started, "gigabytes": peak, "rules": len(findings.outcomes), "broken": broken}))


def write_million(folder: Path, task: str) -> None:
    """Write a manifest of a million rows with what was measured of them; every thousandth row has something wrong."""
    generator, every = np.random.default_rng(0), np.arange(NUM_ROWS)
    digests = [f"{a:016x}{b:016x}{c:016x}{d:016x}" for a, b, c, d in generator.integers(0, 2**63, (NUM_ROWS, 4)).tolist()]
    digests[1::1000] = digests[2::1000]
    names = np.array(CLASSES, dtype=object)
    kinds = {**COLUMNS, **ANNOTATIONS}
    columns = {name: pa.nulls(NUM_ROWS, kind) for name, kind in kinds.items()}
    columns |= {
        "image_id": pa.array([f"train/{number % 100:03d}/image_{number:07d}.jpg" for number in range(NUM_ROWS)]),
        "sha256": pa.array(digests),
        "shard": pa.array(["000000.tar"] * NUM_ROWS),
        "offset": pa.array(every * 1024),
        "length": pa.array(np.full(NUM_ROWS, 1000)),
        "height": pa.array(np.full(NUM_ROWS, 480), pa.int32()),
        "width": pa.array(np.full(NUM_ROWS, 640), pa.int32()),
        "orientation": pa.array(np.ones(NUM_ROWS), pa.int8()),
        "split": pa.array(np.where(every % 10 == 0, "test", "train").astype(object)),
    }
    if task == "classification":
        labels = names[generator.integers(0, 100, NUM_ROWS)]
        labels[::1000] = "nowhere"
        columns["label"] = pa.array(labels)
    else:
        corners = generator.uniform(0, 400, (2 * NUM_ROWS, 2))
        flat = np.concatenate([corners, corners + generator.uniform(5, 80, (2 * NUM_ROWS, 2))], axis=1)
        flat[::2000, 2] = flat[::2000, 0]
        offsets = pa.array(np.arange(0, 2 * NUM_ROWS + 1, 2), pa.int32())
        boxes = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), 4)
        columns["boxes_xyxy"] = pa.ListArray.from_arrays(offsets, boxes)
        columns["box_labels"] = pa.ListArray.from_arrays(offsets, pa.array(names[generator.integers(0, 100, 2 * NUM_ROWS)]))
    write_dataset_info(DatasetInfo(name=task, version="1.0.0", task=task, classes=CLASSES), folder)
    write_table(pa.table(columns).cast(pa.schema(list(kinds.items()))), folder / MANIFEST)
    measured = {name: pa.nulls(NUM_ROWS, kind) for name, kind in MEASURED.items()}
    measured |= {name: columns[name] for name in ("image_id", "sha256", "height", "width", "orientation")}
    measured |= {name: pa.array(generator.uniform(0.2, 0.7, NUM_ROWS)) for name in ("brightness", "contrast", "sharpness")}
    measured |= {name: pa.array([text] * NUM_ROWS) for name, text in (("format", "JPEG"), ("mode", "RGB"))}
    measured |= {name: pa.array(np.full(NUM_ROWS, value), MEASURED[name]) for name, value in (("channels", 3), ("frames", 1), ("bits", 8))}
    measured |= {name: pa.array(np.full(NUM_ROWS, value)) for name, value in (("decodes", True), ("alpha", False), ("suffix_fits", True))}
    pq.write_table(pa.table(measured).cast(pa.schema(list(MEASURED.items()))), folder / "measurements.parquet")
