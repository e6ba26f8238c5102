from __future__ import annotations

import numpy as np
import pytest

from components.datasets.class_table import indexed_mask, parse_labelmap, parse_table, parse_yaml
from components.errors import DataError
from tests.components.datasets.formats.conftest import half_mask, png


def test_labelmap_names_the_border_apart() -> None:
    table = parse_labelmap(b"# a comment\nbackground:0,0,0::\ncat:1,2,3:head:\nignored:224,224,192::\n", "labelmap.txt")
    assert table.classes == ["background", "cat"]
    assert table.colours[(224, 224, 192)] == ""


def test_a_table_may_name_255_a_class_of_its_own() -> None:
    table = parse_table(b"name,index\nroad,0\nsky,255\n", "classes.csv")
    np.testing.assert_array_equal(indexed_mask(png(half_mask(0, 255)), "a.png", table, table.classes, (6, 8)), half_mask(0, 1))


def test_a_line_s_place_is_its_index() -> None:
    assert parse_table(b"name\nroad\ncat\n", "classes.csv").indices == parse_table(b'["road", "cat"]', "classes.json").indices == {0: 0, 1: 1}


@pytest.mark.parametrize("content", [b"a: &a [1]\nb: [*a, *a]\n", b"x: 2024-01-01\n"])
def test_plain_yaml_is_read(content: bytes) -> None:
    assert isinstance(parse_yaml(content, "x.yaml"), dict)


@pytest.mark.parametrize("content", [b"[" * 5000, b"!!python/object/apply:os.system ['true']", b"x: 2024-99-99", b"\xff", b"x" * 2**21])
def test_yaml_that_bites_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.yaml"):
        parse_yaml(content, "x.yaml")
