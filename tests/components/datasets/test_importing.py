from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.datasets.headers import FORMATS
from components.datasets.importing import ImportConfig, import_dataset
from components.datasets.manifest import DatasetInfo, read_dataset, read_manifest
from components.datasets.shards import ShardReader, ShardWriter
from components.datasets.writing import write_dataset
from components.errors import ConfigError, DataError, InputError
from components.protocols import ImportedImage

INFO = DatasetInfo(name="pets", version="1.0.0", task="classification", classes=["cat", "dog"])


def _png(value: int, size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0]), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for index, label in enumerate(("cat", "dog", "cat")):
        path = tmp_path / "photos" / label / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(index * 40))
    return tmp_path / "photos"


def test_images_come_in_byte_for_byte_with_what_their_headers_say(source: Path, tmp_path: Path) -> None:
    summary = import_dataset(str(source), "pets", tmp_path / "data")
    frame = read_manifest(tmp_path / "data" / "pets")
    assert frame["image_id"].tolist() == ["cat/0.png", "cat/2.png", "dog/1.png"]
    assert read_dataset(tmp_path / "data" / "pets").classes == ["cat", "dog"]
    with ShardReader(tmp_path / "data" / "pets") as shards:
        for row in frame.itertuples():
            content = shards.read(row.shard, row.offset, row.length)
            assert content == (source / row.image_id).read_bytes()
            assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert (int(frame["height"][0]), int(frame["width"][0])) == (4, 6)
    assert summary.class_counts == {"cat": 2, "dog": 1}
    assert summary.num_images == 3


def test_sizes_are_those_after_orientation(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (10, 4)).save(buffer, "JPEG", exif=exif)
    write_dataset([ImportedImage("a.jpg", buffer.getvalue(), {"label": "cat"})], INFO, tmp_path)
    row = read_manifest(tmp_path / "pets").iloc[0]
    assert (row["height"], row["width"], row["orientation"]) == (10, 4, 6)


def test_what_cannot_be_taken_is_told_with_the_reason(source: Path, tmp_path: Path) -> None:
    (source / "dog" / "broken.png").write_bytes(b"no image")
    (source / "dog" / "empty.png").write_bytes(b"")
    (source / "dog" / "gone.png").symlink_to("nowhere")
    quarantine = tmp_path / "reports/quarantine.csv"
    summary = import_dataset(str(source), "pets", tmp_path / "data", config=ImportConfig(max_bad=0.5), quarantine=quarantine)
    assert summary.num_images == 3
    rows = list(csv.DictReader(quarantine.open()))
    assert [(row["image_id"], row["reason"]) for row in rows] == [
        ("dog/broken.png", f"no image that can be read (it is text: 'no image …'); expected one of {', '.join(FORMATS)}"),
        ("dog/empty.png", "the file is empty"),
        ("dog/gone.png", "dog/gone.png cannot be read: No such file or directory"),
    ]


def test_too_much_that_cannot_be_taken_refuses_the_import_and_changes_nothing(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), "pets", tmp_path / "data")
    before = (tmp_path / "data/pets/manifest.parquet").read_bytes()
    (source / "dog" / "broken.png").write_bytes(b"no image")
    quarantine = tmp_path / "reports/quarantine.csv"
    with pytest.raises(DataError, match=r"1 of 4 images cannot be taken, more than import\.max_bad = 0\.01 .*dog/broken\.png.*quarantine\.csv"):
        import_dataset(str(source), "pets", tmp_path / "data", mode="replace", quarantine=quarantine)
    assert "dog/broken.png" in quarantine.read_text()
    assert (tmp_path / "data/pets/manifest.parquet").read_bytes() == before
    with pytest.raises(DataError, match=r"lists 4 images; expected at most import\.max_images = 3"):
        import_dataset(str(source), "pets", tmp_path / "data", mode="replace", config=ImportConfig(max_images=3))


def test_an_appended_version_adds_relabels_and_keeps_the_bytes_there_are(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), "pets", tmp_path / "data")
    first = tmp_path / "data/pets/shards/000000.tar"
    before, inode = first.read_bytes(), first.stat().st_ino
    (source / "dog/1.png").rename(source / "cat/1.png")
    delivery = tmp_path / "delivery"
    (delivery / "cat").mkdir(parents=True)
    (delivery / "bird").mkdir()
    (delivery / "cat/0.png").write_bytes((source / "cat/0.png").read_bytes())
    (delivery / "cat/2.png").write_bytes(_png(7))
    (delivery / "bird/9.png").write_bytes(_png(99))
    summary = import_dataset(str(delivery), "pets", tmp_path / "data", mode="append", version="1.1.0")
    assert (summary.num_added, summary.num_changed, summary.num_unchanged, summary.num_relabelled) == (1, 1, 1, 0)
    assert (first.read_bytes(), first.stat().st_ino) == (before, inode)
    info, frame = read_dataset(tmp_path / "data/pets"), read_manifest(tmp_path / "data/pets")
    assert (info.version, info.classes) == ("1.1.0", ["cat", "dog", "bird"])
    assert frame[["image_id", "shard"]].to_numpy().tolist() == [
        ["cat/0.png", "000000.tar"],
        ["cat/2.png", "000001.tar"],
        ["dog/1.png", "000000.tar"],
        ["bird/9.png", "000001.tar"],
    ]
    with ShardReader(tmp_path / "data/pets") as shards:
        assert shards.read(*frame.loc[1, ["shard", "offset", "length"]]) == _png(7)


def test_another_annotation_of_a_known_image_is_a_relabelling(tmp_path: Path) -> None:
    boxes = {"boxes_xyxy": [[0.0, 0.0, 2.0, 3.0]], "box_labels": ["cat"]}
    one = ImportedImage("a.png", _png(1), boxes)
    same = ImportedImage("b.png", _png(2), {"label": "cat"}, mask=np.zeros((4, 6), np.uint8))
    write_dataset([one, same], INFO, tmp_path)
    moved = ImportedImage("a.png", _png(1), boxes | {"boxes_xyxy": [[0.0, 0.0, 2.0, 3.5]]})
    summary = write_dataset([moved, same], INFO, tmp_path, "append")
    assert (summary.num_relabelled, summary.num_unchanged, summary.num_added) == (1, 1, 0)
    assert [list(box) for box in read_manifest(tmp_path / "pets")["boxes_xyxy"][0]] == [[0.0, 0.0, 2.0, 3.5]]
    assert len(list((tmp_path / "pets/shards").iterdir())) == 1, "no image changed, so no shard was written"
    other = ImportedImage("b.png", _png(2), {"label": "cat"}, mask=np.ones((4, 6), np.uint8))
    assert write_dataset([other], INFO, tmp_path, "append").num_relabelled == 1


def test_metadata_of_known_images_is_taken_and_counted(tmp_path: Path) -> None:
    def image(name: str, **columns: object) -> ImportedImage:
        return ImportedImage(name, _png(1), {"label": "cat"} | columns)

    write_dataset([image(name, age=3, split="train") for name in "abcd"], INFO, tmp_path)
    again = [image("a", age=4, split="train"), image("b", split="test", site="north"), image("c", age=None, weight=float("nan")), image("d", age=3)]
    summary = write_dataset(again, INFO, tmp_path, "append")
    assert (summary.num_described, summary.num_unchanged, summary.num_relabelled, summary.num_added) == (2, 2, 0, 0)
    frame = read_manifest(tmp_path / "pets")
    assert frame["age"].tolist() == [4, 3, 3, 3], "what a source does not say stays"
    assert frame["split"].tolist() == ["train", "test", "train", "train"]
    assert frame["site"].tolist() == [None, "north", None, None]
    assert frame["label"].tolist() == ["cat"] * 4
    assert len(list((tmp_path / "pets/shards").iterdir())) == 1, "no byte moved"
    with pytest.raises(DataError, match="the column"):
        write_dataset([image("a", age="old")], INFO, tmp_path, "append")


def test_masks_that_do_not_fit_are_quarantined(tmp_path: Path) -> None:
    good = ImportedImage("a.png", _png(1), {}, mask=np.full((4, 6), 255, np.uint8))
    wrong = [
        ImportedImage("b.png", _png(1), {}, mask=np.zeros((6, 4), np.uint8)),
        ImportedImage("c.png", _png(1), {}, mask=np.full((4, 6), 2, np.uint8)),
    ]
    summary = write_dataset([good, *wrong], INFO, tmp_path)
    assert summary.quarantined == [
        ("b.png", "its mask is 4×6 pixels, the upright image 6×4"),
        ("c.png", "its mask holds 2, which are no classes; expected 0 to 1, or 255"),
    ]
    assert summary.num_masks == 1


def test_importing_twice_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for root in ("one", "two"):
        import_dataset(str(source), "pets", tmp_path / root)
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_taken_name_is_refused_and_kept_unless_replace_is_said(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), "pets", tmp_path)
    (source / "cat" / "0.png").unlink()
    with pytest.raises(InputError, match="pets exists; say --append to add to it, --replace"):
        import_dataset(str(source), "pets", tmp_path)
    assert len(read_manifest(tmp_path / "pets")) == 3
    import_dataset(str(source), "pets", tmp_path, mode="replace", version="1.1.0")
    assert len(read_manifest(tmp_path / "pets")) == 2


def test_a_name_that_dvc_tracks_is_taken_even_where_its_data_is_not_pulled(source: Path, tmp_path: Path) -> None:
    (tmp_path / "pets.dvc").touch()
    with pytest.raises(InputError, match="--replace"):
        import_dataset(str(source), "pets", tmp_path)


def test_an_empty_version_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the version is empty"):
        import_dataset(str(source), "pets", tmp_path, version=" ")


@pytest.mark.parametrize("name", ["training", "Splits", "splits.parquet", "../pets", "", ".pets", "pets and cats"])
def test_reserved_and_impossible_names_are_refused(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"reserved|no name"):
        import_dataset(str(source), name, tmp_path)


def test_a_failed_import_leaves_nothing_and_loses_nothing(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), "pets", tmp_path / "data")
    twice = [ImportedImage("same.png", _png(1), {"label": "cat"})] * 2
    with pytest.raises(DataError, match=r"ids come twice: same\.png"):
        write_dataset(twice, INFO, tmp_path / "data", "replace")
    with pytest.raises(DataError, match="no images"):
        write_dataset([], INFO, tmp_path / "data", "replace")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"]
    assert len(read_manifest(tmp_path / "data" / "pets")) == 3


def test_what_is_no_layout_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere not found"):
        import_dataset(str(tmp_path / "nowhere"), "pets", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"not recognised; expected CLASS/image\.jpg"):
        import_dataset(str(tmp_path / "empty"), "pets", tmp_path)
    with pytest.raises(ConfigError, match=r"unknown dataset format 'folder'.*image_folder, "):
        import_dataset(str(tmp_path / "empty"), "pets", tmp_path, format="folder")


def test_a_source_may_not_set_the_manifests_own_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the column 'sha256' is the manifest's own"):
        write_dataset([ImportedImage("a.png", _png(1), {"label": "cat", "sha256": "0"})], INFO, tmp_path)
    mixed = [ImportedImage(str(value), _png(1), {"label": "cat", "age": value}) for value in (1, "old")]
    with pytest.raises(DataError, match="the column 'age' cannot be stored"):
        write_dataset(mixed, INFO, tmp_path)


def test_what_killed_imports_left_is_cleared_and_what_they_had_put_aside_comes_back(source: Path, tmp_path: Path) -> None:
    import_dataset(str(source), "pets", tmp_path / "data")
    aside = tmp_path / "data/.pets.0123abcd.replaced"
    (tmp_path / "data/pets").rename(aside)
    for name in (".pets.aaaaaaaa.partial", ".pets.bbbbbbbb.partial", ".pets.old.aaaaaaaa.partial", ".pets.notes"):
        (tmp_path / "data" / name).mkdir()
    alive = os.open(tmp_path / "data/.pets.bbbbbbbb.partial", os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_EX)
    assert import_dataset(str(source), "pets", tmp_path / "data", mode="append").num_unchanged == 3
    left = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert left == [".pets.bbbbbbbb.partial", ".pets.notes", ".pets.old.aaaaaaaa.partial", "pets"], "what another process writes stays"
    os.close(alive)
    import_dataset(str(source), "pets", tmp_path / "data", mode="append")
    assert not (tmp_path / "data/.pets.bbbbbbbb.partial").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_an_import_that_is_ended_halfway_leaves_the_version_before(source: Path, tmp_path: Path, number: signal.Signals) -> None:
    import_dataset(str(source), "pets", tmp_path / "data")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data/pets").rglob("*") if path.is_file()}
    code = (
        "import sys; from pathlib import Path; from components.datasets import writing, sources\n"
        "from components.datasets.sources.folder import FolderSource\n"
        "read = FolderSource._read\n"
        "FolderSource._read = lambda self, name: (print(name, flush=True), sys.stdin.readline(), read(self, name))[2]\n"
        "from components.datasets.importing import import_dataset\n"
        "import_dataset(sys.argv[1], 'pets', Path(sys.argv[2]), mode='replace')"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "data")]
    root = Path(__file__).parents[3]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(root)}) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "cat/0.png\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "cat/2.png\n"
        process.send_signal(number)
        process.wait()
    assert process.returncode != 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "data/pets").rglob("*") if path.is_file()} == before
    import_dataset(str(source), "pets", tmp_path / "data", mode="replace")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"]


def test_a_full_disk_is_said_and_leaves_the_version_before(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_dataset(str(source), "pets", tmp_path / "data")

    def full(_self: ShardWriter, _name: str, _content: bytes) -> tuple[str, int, int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ShardWriter, "add", full)
    with pytest.raises(InputError, match=r"the disk is full: .* nothing was changed"):
        import_dataset(str(source), "pets", tmp_path / "data", mode="replace")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pets"]
    assert len(read_manifest(tmp_path / "data/pets")) == 3


def test_names_that_are_not_utf_8_or_lead_outside_are_quarantined(tmp_path: Path) -> None:
    (tmp_path / "photos/cat").mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(tmp_path / "photos/cat") + b"/\xe4.png")).write_bytes(_png(1))
    (tmp_path / "photos/cat/=1+1.png").write_bytes(_png(2))
    (tmp_path / "photos/cat/line\nbreak.png").write_bytes(_png(2))
    quarantine = tmp_path / "quarantine.csv"
    summary = import_dataset(str(tmp_path / "photos"), "pets", tmp_path / "data", config=ImportConfig(max_bad=1), quarantine=quarantine)
    assert summary.num_images == 1
    assert [row["image_id"] for row in csv.DictReader(quarantine.open())] == [r"'cat/line\nbreak.png'", r"'cat/\udce4.png'"]
    outside = [ImportedImage(name, _png(1), {}) for name in ("../a.png", "/a.png", "fine.png")]
    assert [name for name, _ in write_dataset(outside, INFO, tmp_path / "more").quarantined] == ["'../a.png'", "'/a.png'"]


def test_what_would_run_as_a_formula_in_a_spreadsheet_is_text(tmp_path: Path) -> None:
    quarantine = tmp_path / "quarantine.csv"
    (tmp_path / "photos/=SUM(A1)").mkdir(parents=True)
    (tmp_path / "photos/=SUM(A1)/good.png").write_bytes(_png(1))
    (tmp_path / "photos/=SUM(A1)/bad.png").write_bytes(b"")
    import_dataset(str(tmp_path / "photos"), "pets", tmp_path / "data", config=ImportConfig(max_bad=1), quarantine=quarantine)
    assert next(csv.DictReader(quarantine.open()))["image_id"] == "'=SUM(A1)/bad.png"


def test_metadata_of_an_appended_delivery_stands_beside_that_of_the_first(tmp_path: Path) -> None:
    write_dataset([ImportedImage(f"{index}.png", _png(index), {"label": "cat", "age": index}) for index in range(3)], INFO, tmp_path)
    more = [
        ImportedImage("0.png", _png(0), {"label": "dog", "site": "north"}),
        ImportedImage("9.png", _png(9), {"label": "cat", "age": 0.5, "site": "south"}),
    ]
    assert write_dataset(more, INFO, tmp_path, "append").num_relabelled == 1
    frame = read_manifest(tmp_path / "pets")
    assert frame["label"].tolist() == ["dog", "cat", "cat", "cat"]
    assert frame["age"].tolist() == [0, 1, 2, 0.5]
    assert frame["site"].tolist() == ["north", None, None, "south"]
    with pytest.raises(DataError, match="columns cannot be stored"):
        write_dataset([ImportedImage("8.png", _png(8), {"label": "cat", "site": 5})], INFO, tmp_path, "append")
