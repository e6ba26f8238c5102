from __future__ import annotations

from pathlib import Path

import pytest

from components.datasets.importing import import_dataset
from components.errors import InputError
from flows.data_commands import export_data
from tests.components.datasets.formats.conftest import SAMPLES, put


def test_an_export_says_what_was_written_and_what_is_not_in_it(tmp_path: Path) -> None:
    import_dataset(put(tmp_path / "source", SAMPLES["coco"]["instances"]), "pets", tmp_path / "data")
    text = export_data(tmp_path, "pets", "voc", tmp_path / "out", ["polygons"])
    assert text.splitlines()[0].endswith("2 images as voc, 0.0 MB; read again, and the same")
    assert text.splitlines()[1] == "not in it: polygons"
    assert (tmp_path / "out/Annotations/images/a.xml").is_file()
    with pytest.raises(InputError, match="exists"):
        export_data(tmp_path, "pets", "voc", tmp_path / "out", [])
