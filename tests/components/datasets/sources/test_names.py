import pytest

from components.datasets.sources.names import is_hidden, leads_outside


@pytest.mark.parametrize("name", ["/a", "../a", "a/../b", "a/..", "..", "C:/a", "a\0b"])
def test_names_that_lead_outside(name: str) -> None:
    assert leads_outside(name)


@pytest.mark.parametrize("name", ["a", "a/b.png", "a..b/c", "...", "12:30.png", "ä:b.png"[1:]])
def test_names_that_do_not(name: str) -> None:
    assert not leads_outside(name)


def test_hidden_files_and_folders() -> None:
    assert [name for name in (".a", "a/.b", "a/.b/c", "a.b", "a/b.c") if is_hidden(name)] == [".a", "a/.b", "a/.b/c"]
