"""The versions of a dataset as git knows them: tags in the form of GTO (github.com/iterative/gto), so that `gto show` lists them too.

NAME@v1.3.0                 version 1.3.0 (semver.org); an annotated tag whose message ends in a YAML document (`VersionRecord`)
NAME@v1.3.0+forgotten.1     the same version without images that had to be forgotten; the highest number counts
NAME#approved#4             the version that the tag's commit holds is approved; NAME#approved!#5: not any more. Counted on within NAME

A tag is never moved: a clone that has it keeps what it says, and `git fetch --tags` never has to overwrite one.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.errors import ConfigError, InputError, unknown_name
from components.git import git
from components.records import Record

log = logging.getLogger(__name__)

STAGE = "approved"
_DOCUMENT = "\n---\n"
_FORGOTTEN = "forgotten"
_VERSION = re.compile(r"^v(?P<version>(?P<numbers>\d+(\.\d+)*)(-(?P<pre>[0-9A-Za-z.-]+))?)(\+(?P<build>[0-9A-Za-z.-]+))?$")
_SEMVER = re.compile(r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$")
_GTO_NAME = re.compile(r"^[a-zA-Z0-9]([a-zA-Z0-9-/_]*[a-zA-Z0-9])?$")
_FIELDS = ("refname:strip=2", "objectname", "*objectname", "creatordate:iso-strict", "taggername", "authorname", "contents")


class Checks(Record):
    """What the last check said of exactly these images and annotations."""

    passed: bool
    failed: list[str] = Field(default_factory=list)
    warned: list[str] = Field(default_factory=list)
    source: str


class VersionRecord(Record):
    """What the tag of a version says of it."""

    task: str
    num_images: int
    class_counts: dict[str, int]
    manifest_digest: str
    content: str
    """SHA-256 over the manifest's bytes, the task and the classes: another one whenever there is something to commit."""
    checks: Checks | None = None
    forgotten: list[str] = Field(default_factory=list)
    """SHA-256 of the ids of the images that were taken out of this version afterwards."""


@dataclass(frozen=True)
class Version:
    """A version of a dataset.

    Attributes:
        name: The dataset.
        version: As in 1.3.0.
        tag: The git tag that holds its data now.
        commit: The tag's commit, with data/NAME.dvc in it.
        date: When it was made, ISO 8601.
        who: Who made it.
        said: What its first tag says.
        contents: What the tag says that holds its data now.
        state: Whether it is approved; a version may be approved and revoked any number of times.
        superseded: Tags of the same version whose data is no longer kept, since images in it were forgotten.
    """

    name: str
    version: str
    tag: str
    commit: str
    date: str
    who: str
    said: str = ""
    contents: str = ""
    state: Literal["approved", "revoked"] | None = None
    superseded: tuple[tuple[str, str], ...] = ()

    @property
    def ref(self) -> str:
        """NAME@v1.3.0."""
        return f"{self.name}@v{self.version}"

    @property
    def message(self) -> str:
        """What they said of it who made it."""
        return _parse(self.said)[0]

    @property
    def record(self) -> VersionRecord | None:
        """What else the tag says; None for a tag that was not made by `darkroom data commit`."""
        return _parse(self.contents)[1]


@dataclass(frozen=True)
class _Tag:
    name: str
    commit: str
    date: str
    who: str
    contents: str


def versions(project: Path, name: str) -> list[Version]:
    """Return all versions of a dataset, the newest first.

    Raises:
        ConfigError: There is no git repository.
    """
    found: dict[str, list[tuple[int, _Tag]]] = {}
    stages: list[tuple[int, bool, str]] = []
    for tag in _tags(project, name):
        rest = tag.name.removeprefix(name)
        if rest.startswith("@") and (match := _VERSION.match(rest[1:])):
            label, _, number = (match["build"] or "").partition(".")
            if label in ("", _FORGOTTEN):
                found.setdefault(match["version"], []).append((int(number) if number.isdigit() else 0, tag))
        elif match := re.match(rf"^#{STAGE}(!?)(?:#(\d+))?$", rest):
            stages.append((int(match[2] or 0), not match[1], tag.commit))
    states: dict[str, Literal["approved", "revoked"]] = {commit: "approved" if given else "revoked" for _, given, commit in sorted(stages)}
    return [_version(name, version, found[version], states) for version in sorted(found, key=order, reverse=True)]


def find(project: Path, name: str, version: str) -> Version:
    """Return one version; `version` with or without the v, numbers left out are zeros: 1.0 is 1.0.0.

    Raises:
        ConfigError: There is no such version; names those there are.
    """
    known = {entry.version: entry for entry in versions(project, name)}
    wanted = version.removeprefix("v").partition("+")[0]
    if not known:
        raise ConfigError(f"{name} has no versions yet; darkroom data commit {name} -m TEXT makes the first")
    if wanted not in known and _VERSION.match(f"v{wanted}"):
        wanted = next((entry for entry in known if order(entry) == order(wanted)), wanted)
    if wanted not in known:
        raise unknown_name(f"version of {name}", wanted, known)
    return known[wanted]


def parse_ref(text: str) -> tuple[str, str | None]:
    """Return name and version of NAME@v1.3.0, or NAME and None.

    Raises:
        ConfigError: It is neither.
    """
    name, separator, version = text.partition("@")
    if not name or (separator and not _VERSION.match(f"v{version.removeprefix('v')}")):
        raise ConfigError(f"found '{text}'; expected NAME@v1.3.0, or NAME for the working copy")
    return name, version.removeprefix("v") if separator else None


def released(known: Sequence[Version]) -> Version | None:
    """Return the newest approved version; where nobody has ever approved one, the newest."""
    if any(version.state for version in known):
        return next((version for version in known if version.state == "approved"), None)
    return known[0] if known else None


def approved_version(project: Path, name: str) -> str | None:
    """Return the version, as in 1.3.0, that retraining uses and drift is measured against; None if there is none, or no git.

    It is the newest approved one; where nobody has ever approved or revoked any, the newest, and the log says so.
    """
    try:
        known = versions(project, name)
    except ConfigError:
        return None
    version = released(known)
    if version and version.state is None:
        log.info("%s: no version was ever approved; the newest counts: %s", name, version.ref)
    return version.version if version else None


def create(project: Path, tag: str, commit: str, message: str, record: VersionRecord | None = None) -> None:
    """Make an annotated tag.

    Raises:
        ConfigError: It exists, or git refuses it.
    """
    text = message.strip() + "\n"
    if record is not None:
        text += _DOCUMENT + _dump(record)
    git(project, "tag", "--annotate", "--cleanup=verbatim", "--file=-", tag, commit, text=text)


def assign(project: Path, version: Version, given: bool, message: str) -> str:
    """Approve a version, or take the approval back; returns the tag that says so."""
    counters = [int(match[1]) for tag in _tags(project, version.name) if (match := re.search(r"#(\d+)$", tag.name))]
    tag = f"{version.name}#{STAGE}{'' if given else '!'}#{max(counters, default=0) + 1}"
    create(project, tag, version.commit if not version.superseded else version.superseded[0][1], message)
    return tag


def forgotten_tag(version: Version) -> str:
    """Return the tag under which a version goes on after images of it were forgotten."""
    return f"{version.ref}+{_FORGOTTEN}.{len(version.superseded) + 1}"


def check_name(name: str) -> None:
    """Refuse a dataset's name that GTO would not list.

    Raises:
        InputError: It holds other letters.
    """
    if not _GTO_NAME.match(name):
        raise InputError(f"'{name}' cannot have versions; expected letters, digits, - and _, the last one a letter or digit: GTO reads the tags")


def check_version(version: str) -> str:
    """Return a version without its v.

    Raises:
        InputError: It is no semantic version.
    """
    plain = version.removeprefix("v")
    if not _SEMVER.match(plain):
        raise InputError(f"found version '{version}'; expected three numbers as in 1.3.0 (semver.org)")
    return plain


def next_minor(version: str) -> str:
    """Return the version that follows by default: 1.4.0 after 1.3.2."""
    numbers = [*map(int, version.partition("-")[0].split(".")), 0]
    return f"{numbers[0]}.{numbers[1] + 1}.0"


def order(version: str) -> tuple[list[int], int, list[tuple[int, int, str]]]:
    """Return what sorts versions as semver.org does: numbers by value, a pre-release before its release."""
    numbers, dash, pre = version.partition("-")
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")] if dash else []
    values = list(map(int, numbers.split(".")))
    return values + [0] * (3 - len(values)), 0 if dash else 1, parts


def _version(name: str, version: str, tags: list[tuple[int, _Tag]], states: dict[str, Literal["approved", "revoked"]]) -> Version:
    ordered = [tag for _, tag in sorted(tags, key=lambda entry: entry[0])]
    first, last = ordered[0], ordered[-1]
    superseded = tuple((tag.name, tag.commit) for tag in ordered[:-1])
    state = states.get(first.commit)
    return Version(name, version, last.name, last.commit, first.date, first.who, first.contents, last.contents, state, superseded)


def _tags(project: Path, name: str) -> list[_Tag]:
    layout = "%00".join(f"%({field})" for field in _FIELDS) + "%00%01"
    said = git(project, "for-each-ref", f"--format={layout}", f"refs/tags/{name}@v*", f"refs/tags/{name}#*") or ""
    tags = []
    for line in said.split("\0\1"):
        if not line.strip():
            continue
        tag, own, peeled, date, tagger, author, contents = line.lstrip("\n").split("\0")
        tags.append(_Tag(tag, peeled or own, date, tagger or author, contents))
    return tags


def _dump(record: VersionRecord) -> str:
    text = io.StringIO()
    YAML().dump(record.model_dump(mode="json", exclude_none=True), text)
    return text.getvalue()


@lru_cache(maxsize=1024)
def _parse(contents: str) -> tuple[str, VersionRecord | None]:
    message, separator, document = contents.rpartition(_DOCUMENT)
    if not separator:
        return contents.strip(), None
    try:
        return message.strip(), VersionRecord.model_validate(YAML(typ="safe", pure=True).load(document))
    except (YAMLError, ValidationError):  # a tag made by hand, with a line of dashes in it
        return contents.strip(), None
