"""Every reader, fed samples that were damaged: it answers with a dataset or a clear error, never another exception."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.datasets.importing import FORMATS, ImportConfig, import_dataset
from components.datasets.sources import open_source
from components.errors import DarkroomError
from components.protocols import plugin
from tests.components.datasets.formats.conftest import SAMPLES, put

CASES = [(name, variant) for name, variants in SAMPLES.items() for variant in variants]

#: What may stand in the place of any value.
values: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([-1, 2**31, 2**63, 2**64, -(2**70), 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf")]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["", "../a.png", "/etc/passwd", "a.png", "\0", "é" * 300, "nan", "1e999", "9" * 5000, "{}", "images", "\ud800"]),
    st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=2)), max_size=7),
    st.sampled_from([{}, [], [[]], {"counts": "x", "size": [1, 1]}, {"counts": [10**9], "size": [40_000, 40_000]}, [[0, 0, 1e9, 0, 1, 1]], [[1, 2]]]),
    st.integers(5, 250).map(lambda depth: json.loads("[" * depth + "]" * depth)),
)


INSERTS = [b"<a>" * 3000, b"[" * 3000, b"&amp;", b"\xff\xfe", b"-", b"e9", b"\n\n"]


def places(content: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value."""
    below = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [here, *(place for key, value in below for place in places(value, (*here, key)))]


@st.composite
def damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    found = copy.deepcopy(json.loads(content))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(found)))
        value = copy.deepcopy(draw(values))
        if not place:
            found = value
            continue
        inside = found
        for key in place[:-1]:
            inside = inside[key]
        if draw(st.integers(0, 3)) == 0:
            del inside[place[-1]]
        else:
            inside[place[-1]] = value
        if not isinstance(found, (dict, list)):
            break
    text = json.dumps(found)
    if draw(st.integers(0, 9)) == 0:
        text = text.replace("1", draw(st.sampled_from(["1e999", "9" * 400, "-", "0x1"])), 1)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(out)))
        kind = draw(st.sampled_from(["cut", "flip", "insert", "repeat", "number", "drop"]))
        if kind == "cut":
            del out[place:]
        elif kind == "flip" and place < len(out):
            out[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            out[place:place] = draw(st.one_of(st.binary(max_size=8), st.sampled_from(INSERTS)))
        elif kind == "repeat":
            out[place:place] = out[place : place + draw(st.integers(1, 200))]
        elif kind == "number":
            digits = [index for index, byte in enumerate(out) if 48 <= byte <= 57]
            if digits:
                index = draw(st.sampled_from(digits))
                out[index : index + 1] = draw(st.sampled_from([b"-1", b"nan", b"inf", b"1e308", b"999999999999", b"", b"x", b"0", b"9" * 50]))
        elif kind == "drop":
            del out[place : place + draw(st.integers(1, 40))]
    return bytes(out)


@st.composite
def damaged(draw: st.DrawFn, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a source, one of them damaged, now and then one missing or one too many."""
    out = dict(files)
    said = [name for name in files if not name.startswith(("images/", "JPEGImages/"))] or list(files)
    name = draw(st.sampled_from(said if draw(st.integers(0, 9)) else list(files)))
    kind = damaged_json if name.endswith(".json") and draw(st.integers(0, 3)) else damaged_bytes
    out[name] = draw(kind(out[name]))
    if draw(st.integers(0, 9)) == 0:
        del out[draw(st.sampled_from(sorted(out)))]
    if draw(st.integers(0, 9)) == 0:
        out["more/" + name] = draw(st.binary(max_size=30))
    return out


def check(name: str, files: dict[str, bytes], task: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = put(Path(folder) / "source", files)
        try:
            import_dataset(source, "x", Path(folder), format=name, task=task, config=ImportConfig(max_bad=1.0))
        except DarkroomError as error:
            assert str(error)
            assert "\n" not in str(error)


@pytest.mark.parametrize(("name", "variant"), CASES, ids=["-".join(case) for case in CASES])
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_damaged_source_is_a_dataset_or_a_clear_error(name: str, variant: str, data: st.DataObject) -> None:
    task = data.draw(st.sampled_from([None, *plugin(FORMATS, "dataset format", name).tasks]))
    check(name, data.draw(damaged(SAMPLES[name][variant])), task)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_to_recognise_a_damaged_source_is_never_an_error(data: st.DataObject) -> None:
    name, variant = data.draw(st.sampled_from(CASES))
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(put(Path(folder), data.draw(damaged(SAMPLES[name][variant]))))
        for known in SAMPLES:
            assert plugin(FORMATS, "dataset format", known).matches(source) in (True, False)
