from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from components.datasets.importing import import_dataset
from components.datasets.locks import writing
from components.datasets.manifest import DatasetInfo, read_manifest
from components.datasets.versions.compact import compact
from components.datasets.versions.relabel import relabel
from components.datasets.writing import write_dataset
from components.errors import TransientError
from components.protocols import ImportedImage
from tests.components.datasets.versions.conftest import labelled, picture

ROOT = Path(__file__).parents[3]
INFO = DatasetInfo(name="pets", version="1.0.0", task="classification", classes=["cat", "dog"])
#: An import of a folder that stops after its first image until a line comes.
IMPORT = """
import sys
from pathlib import Path
from components.datasets.importing import import_dataset
from components.datasets.sources.folder import FolderSource
read = FolderSource._read
def slow(self, name):
    print("reading", flush=True)
    sys.stdin.readline()
    return read(self, name)
FolderSource._read = slow
print(import_dataset(sys.argv[1], "pets", Path(sys.argv[2]), mode=sys.argv[3]).num_images)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(picture(name))
    return tmp_path / "photos"


def start(source: Path, root: Path, mode: str) -> subprocess.Popen[str]:
    """Begin an import in another process; it has read nothing yet, and holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(source), str(root), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    return process


def test_of_two_imports_at_once_the_second_is_refused_and_the_first_is_whole(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_dataset([labelled("0.png", "cat")], INFO, root)
    (tmp_path / "labels.csv").write_text("image_id,label\n0.png,dog\n")
    first = start(source, root, "append")
    attempts: list[Callable[[], object]] = [
        lambda: import_dataset(str(source), "pets", root, mode="replace"),
        lambda: write_dataset([labelled("3.png", "dog")], INFO, root, "append"),
        lambda: relabel(root / "pets", tmp_path / "labels.csv"),
        lambda: compact(root / "pets"),
    ]
    for attempt in attempts:
        with pytest.raises(TransientError, match=re.escape(f"{root}/pets is being written by process {first.pid}, since 20")) as caught:
            attempt()
        assert caught.value.exit_code == 75
    write_dataset([ImportedImage("1.png", picture("1"), {"label": "cat"})], INFO.model_copy(update={"name": "others"}), root)  # another dataset
    assert first.communicate("\n\n")[0].split()[-1] == "3"
    assert read_manifest(root / "pets")["image_id"].tolist() == ["0.png", "cat/1.png", "dog/2.png"]
    assert relabel(root / "pets", tmp_path / "labels.csv").num_changed == 1
    assert sorted(path.name for path in root.iterdir()) == ["others", "pets"]


def test_the_lock_of_a_dead_owner_is_taken_over(source: Path, tmp_path: Path) -> None:
    owner = start(source, tmp_path / "data", "new")
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    assert (tmp_path / "data/.pets.lock").exists()
    assert import_dataset(str(source), "pets", tmp_path / "data").num_images == 2
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"]


def test_a_thread_may_ask_again_and_another_thread_waits_for_nothing(tmp_path: Path) -> None:
    refused = []

    def other() -> None:
        with pytest.raises(TransientError) as caught, writing(tmp_path / "pets"):
            pass
        refused.append(caught.value)

    with writing(tmp_path / "pets"):
        with writing(tmp_path / "pets"):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert len(refused) == 1
    with writing(tmp_path / "pets"):
        pass
    assert not any(tmp_path.iterdir())
