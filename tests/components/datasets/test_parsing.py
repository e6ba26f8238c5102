from __future__ import annotations

from pathlib import Path

import pytest

from components.datasets import parsing
from components.datasets.parsing import parse_xml, read_annotation
from components.datasets.sources import open_source
from components.errors import DataError


def test_an_annotation_file_above_the_limit_is_refused_before_it_is_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_bytes(b"x" * 11)
    monkeypatch.setattr(parsing, "MAX_ANNOTATION_BYTES", 10)
    with pytest.raises(DataError, match=r"a\.json has 11 bytes; expected at most 10"):
        read_annotation(open_source(str(tmp_path)), "a.json")


def test_deep_xml_is_read_or_refused() -> None:
    deep = b"<a>" * 50_000 + b"</a>" * 50_000
    assert parse_xml(deep, "x.xml", "a").tag == "a"
    with pytest.raises(DataError, match="is refused"):
        parse_xml(b"<!DOCTYPE a SYSTEM 'http://host/a.dtd'><a/>", "x.xml", "a")
