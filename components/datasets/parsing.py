"""Annotation files read and parsed so that anything may be in them: bounded in size and depth, wrong in one clear line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from components.errors import DataError
from components.progress import bar
from components.protocols import Source

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

T = TypeVar("T")

#: Larger annotation files are refused before they are parsed: JSON that is read takes 12 to 14 times its size (COCO's boxes and outlines),
#: 21 GiB at this one.
MAX_ANNOTATION_BYTES = 3 * 2**29


def read_annotations(source: Source, names: Sequence[str]) -> Iterator[tuple[str, bytes | DataError]]:
    """Yield annotation files with their names, in order; an error in the place of one that is too large or cannot be read."""
    with bar("read annotations", len(names), "files") as progress:
        for name, content in zip(names, source.read_many(names), strict=True):
            progress.update()
            if isinstance(content, bytes) and len(content) > MAX_ANNOTATION_BYTES:
                limit = f"expected at most {MAX_ANNOTATION_BYTES:,}, since reading it takes 14 times as much memory"
                yield name, DataError(f"{name} has {len(content):,} bytes; {limit}. Split it by images")
            else:
                yield name, content


def read_annotation(source: Source, name: str) -> bytes:
    """Return one annotation file.

    Raises:
        DataError: It is too large or cannot be read.
    """
    [(_, content)] = read_annotations(source, [name])
    if isinstance(content, DataError):
        raise content
    return content


def first_bytes(source: Source, names: Sequence[str], suffix: str) -> bytes | None:
    """Return how the first file of a suffix begins, to tell layouts apart; None where there is none, or it cannot be read."""
    name = next((name for name in names if name.lower().endswith(suffix)), None)
    try:
        return None if name is None else source.read(name)[:100_000]
    except DataError:
        return None


def parse_json(content: bytes, name: str, shape: TypeAdapter[T]) -> T:
    """Parse JSON of a given shape; nesting is bounded.

    Raises:
        DataError: It is no JSON, or of another shape; names the place, what was found and what was expected.
    """
    try:
        return shape.validate_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise DataError(f"{name} is no JSON that can be read: {first['msg'].removeprefix('Invalid JSON: ')}") from None
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{name}: {where or 'the whole'}: found {_short(first['input'])}; expected: {first['msg']}") from None
    except (ValueError, OverflowError, RecursionError) as error:  # numbers beyond what a float or an int of the parser holds
        raise DataError(f"{name} is no JSON that can be read: {error}") from None


def parse_xml(content: bytes, name: str, root: str) -> Element:
    """Parse XML; entities, DTDs and external references are refused.

    Raises:
        DataError: It is no XML, uses what is refused, or its root is not called `root`.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        found: Element = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DataError(f"{name} is refused: it declares a DTD or entities ({type(error).__name__}); expected plain XML") from None
    except (ParseError, ValueError, LookupError) as error:
        raise DataError(f"{name} is no XML that can be read: {error}") from None
    if found.tag != root:
        raise DataError(f"{name}: the root element is <{found.tag[:40]}>; expected <{root}>")
    return found


def parse_number(text: str | None, what: str) -> float:
    """Return a number of an annotation.

    Raises:
        DataError: It is none, or not finite.
    """
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{what} is {text!r}; expected a number")
    return value


def check_classes(names: Iterable[str], name: str) -> list[str]:
    """Return class names in order, each once.

    Raises:
        DataError: One is empty.
    """
    classes = list(dict.fromkeys(names))
    if any(not given.strip() for given in classes):
        raise DataError(f"{name}: a class without a name; expected one for each")
    return classes


def _short(found: Any) -> str:
    if isinstance(found, (dict, list)):
        return f"{'an object' if isinstance(found, dict) else 'a list'} of {len(found)}"
    if isinstance(found, int) and abs(found) > 10**20:
        return "a huge number"
    text = repr(found)
    return text if len(text) <= 60 else text[:60] + " …"
