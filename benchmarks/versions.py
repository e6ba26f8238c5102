"""Versions: CIFAR-10's training images to a local S3 server, against DVC with the same loose files; two versions of a million rows compared."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.rows import Row
from components.datasets.manifest import ANNOTATIONS, COLUMNS, read_table, write_table
from components.datasets.versions.diff import diff

CIFAR10 = Path(__file__).parents[2] / "shared" / "data" / "cifar10.tar.gz"
#: DVC with 50,000 loose files takes minutes: measured once, then kept; delete the file to measure it again.
LOOSE = Path(".darkroom/benchmarks/versions-loose.json")
NUM_ROWS = 1_000_000
NUM_NEW = 500
ROOT = Path(__file__).parents[1]
IN_ONE_PROCESS = """
import json, os, sys, time
from pathlib import Path
from components.datasets.importing import import_dataset
from components.datasets.versions.commit import commit
times = []
for source, mode in zip(sys.argv[1:], ("new", "append")):
    started, used = time.perf_counter(), sum(os.times()[:4])
    import_dataset(source, "cifar", Path("data"), mode=mode)
    commit(Path(), "cifar", mode)
    times += [time.perf_counter() - started, sum(os.times()[:4]) - used]
print(json.dumps(times))
"""


@contextmanager
def s3_server() -> Iterator[str]:
    """Run an S3 server on the loopback in a process of its own, with the bucket `data`; the environment leads to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"import time; from moto.server import ThreadedMotoServer as S; S('127.0.0.1', {port}, verbose=False).start(); time.sleep(1e6)"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "DVC_NO_ANALYTICS": "1"}
    try:
        import boto3
        from botocore.exceptions import EndpointConnectionError

        for _ in range(100):
            try:
                boto3.client("s3").create_bucket(Bucket="bench")
                break
            except EndpointConnectionError:  # it is still starting
                time.sleep(0.2)
        else:
            raise RuntimeError("the S3 server of this measure does not answer")
        yield "s3://bench"
    finally:
        server.terminate()
        server.wait()


def project(folder: Path, remote: str) -> Path:
    """Make a git and DVC repository with a remote."""
    folder.mkdir(parents=True)
    commands = (["git", "init", "-q"], ["git", "config", "user.name", "b"], ["git", "config", "user.email", "b@example.org"])
    for command in (*commands, [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True)
    (folder / ".dvc" / "config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {remote}\n")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    subprocess.run("git add -A && git commit -qm start", cwd=folder, check=True, shell=True)
    return folder


def seconds(folder: Path, *arguments: str) -> float:
    """Run a command in a folder as a person does, and return how long it took."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr}")
    return time.perf_counter() - started


def stored(prefix: str) -> int:
    """Return the bytes that lie under a prefix of the bucket."""
    import boto3

    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket="bench", Prefix=prefix)
    return sum(entry["Size"] for page in pages for entry in page.get("Contents", []))


def loose_files(train: Path, folder: Path, remote: str) -> dict[str, float]:
    """Measure `dvc add` and `dvc push` of the images as loose files; kept once it is known."""
    if LOOSE.exists():
        kept: dict[str, float] = json.loads(LOOSE.read_text())
        return kept
    place = project(folder, remote)
    shutil.copytree(train, place / "data" / "cifar")
    measured = {"add": seconds(place, "dvc", "add", "-q", "data/cifar"), "push": seconds(place, "dvc", "push", "-q")}
    LOOSE.parent.mkdir(parents=True, exist_ok=True)
    LOOSE.write_text(json.dumps(measured))
    return measured


def cifar10(scratch: Path) -> list[Row]:
    """Measure import, commit and push, the first time and after 1% more images."""
    with tarfile.open(CIFAR10) as tar:
        tar.extractall(scratch)
    train, new = scratch / "train", scratch / "new"
    for image in sorted((scratch / "test").rglob("*.jpg"))[:: 10_000 // NUM_NEW]:
        target = new / image.parent.name / f"new-{image.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, target)
    with s3_server() as remote:
        place = project(scratch / "shards", f"{remote}/shards")
        first = seconds(place, "flows.cli", "data", "import", str(train), "--name", "cifar")
        first += seconds(place, "flows.cli", "data", "commit", "cifar", "-m", "first")
        bytes_first = stored("shards")
        second = seconds(place, "flows.cli", "data", "import", str(new), "--name", "cifar", "--append")
        second += seconds(place, "flows.cli", "data", "commit", "cifar", "-m", "second")
        bytes_second = stored("shards") - bytes_first
        inside = project(scratch / "inside", f"{remote}/inside")
        command = [sys.executable, "-c", IN_ONE_PROCESS, str(train), str(new)]
        done = subprocess.run(command, cwd=inside, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
        one, one_cpu, two, two_cpu = json.loads(done.stdout.splitlines()[-1])
        loose = loose_files(train, scratch / "loose", f"{remote}/loose")
    total = loose["add"] + loose["push"]
    share, moved = two / one, bytes_second / bytes_first
    return [
        Row(
            "CIFAR-10 train, 50,000 images: import + commit + push to an S3 server here, against `dvc add` + `dvc push` of the loose files",
            f"{total / first:.1f}× ({total:.0f} → {first:.1f} s)",
            "10×",
            total / first,
            total >= 10 * first,
            f"as commands; loose: add {loose['add']:.0f} s, push {loose['push']:.0f} s",
        ),
        Row(
            "the same after adding 1% new images: time and bytes, of the first time's",
            f"{share:.1%} of the time, {moved:.1%} of the bytes",
            "5%",
            0.05 / max(share, moved),
            max(share, moved) <= 0.05,
            f"in one process: {one:.1f} s, then {two:.2f} s, {two_cpu / one_cpu:.1%} of the processor time; "
            f"as two commands {first:.1f} s, then {second:.1f} s: Python, DVC and boto3 start twice",
        ),
    ]


def million_rows(scratch: Path) -> Row:
    """Measure `data diff` of two manifests, reading included."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, NUM_ROWS)
    for name, first in (("a", 0), ("b", 10_000)):
        numbers = np.arange(first, first + NUM_ROWS)
        own = {
            "image_id": pa.array([f"train/class_{number % 10}/{number:07d}.jpg" for number in numbers]),
            "sha256": pa.array([f"{number * 2654435761 % 2**256:064x}" for number in map(int, numbers)]),
            "shard": pa.array([f"{number // 200_000:06d}.tar" for number in numbers]),
            "offset": pa.array(numbers * 1536),
            "length": pa.array(np.full(NUM_ROWS, 1000)),
            "label": pa.array([f"class_{label}" for label in (labels if name == "a" else np.roll(labels, -first))]),
        }
        if name == "b":  # 10,000 images are gone, 10,000 are new, and every fiftieth of the others has another label
            texts = np.array(own["label"].to_pylist(), dtype=object)
            texts[::50] = [f"class_{(int(text[-1]) + 1) % 10}" for text in texts[::50]]
            own["label"] = pa.array(texts)
        kinds = {**COLUMNS, **ANNOTATIONS}
        (scratch / name).mkdir()
        table = pa.table({column: own[column].cast(kind) if column in own else pa.nulls(NUM_ROWS, kind) for column, kind in kinds.items()})
        write_table(table, scratch / name / "manifest.parquet")
    started = time.perf_counter()
    found = diff(read_table(scratch / "a"), read_table(scratch / "b"))
    listed, counted = found.listing().num_rows, found.counts().num_rows
    took = time.perf_counter() - started
    told = ", ".join(f"{count:,} {kind}" for kind, count in found.num.items() if count) + f"; {listed:,} listed, {counted} classes"
    return Row("`data diff` of two versions of 1,000,000 rows", f"{took:.1f} s", "10 s", 10 / took, took <= 10, told)


def rows() -> list[Row]:
    """Measure."""
    with tempfile.TemporaryDirectory() as scratch:
        found = cifar10(Path(scratch)) if CIFAR10.exists() else []
        (Path(scratch) / "rows").mkdir()
        return [*found, million_rows(Path(scratch) / "rows")]
