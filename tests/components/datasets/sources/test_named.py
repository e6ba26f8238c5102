import pytest

from components.datasets.sources import open_source
from components.errors import DataError


def test_a_name_has_no_files() -> None:
    source = open_source("sklearn:digits")
    assert source.files() == ()
    with pytest.raises(DataError, match="has no file"):
        source.read("a")
    assert [str(answer) for answer in source.read_many(["a"])] == ["sklearn:digits has no file a"]
