"""The bytes of a version where DVC keeps them: in its cache, else in its remote, there by byte ranges and without a full download.

DVC's layout (dvc.org, "Structure of the .dvc/ directory"): an object of MD5 abcd… is the file files/md5/ab/cd…; a folder is an object
with the suffix .dir, a JSON list of {md5, relpath}.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.datasets.open_files import OpenFiles
from components.dvc_repo import readable
from components.errors import ConfigError, DataError, TransientError
from components.files import explaining_full_disk, replacing
from components.git import git
from components.progress import bar
from components.protocols import ObjectStore
from components.storage import open_store

PREFIX = "files/md5"
_PART_BYTES = 16 * 2**20
_NUM_AT_ONCE = 4


class Objects:
    """DVC's objects of a project by their MD5; may be used by many threads at once.

    Args:
        project: The checkout, or a folder that DVC knows.

    Raises:
        ConfigError: It is no DVC repository.
    """

    def __init__(self, project: Path) -> None:
        self._project = project
        self._files = OpenFiles()
        with readable():
            from dvc.config import Config
            from dvc.repo import Repo

            dvc_dir = Path(Repo.find_dvc_dir(str(project)))
            self._config: Mapping[str, Any] = Config(str(dvc_dir))
        cache = self._config["cache"].get("dir")
        self.cache = Path(dvc_dir, cache) if cache else dvc_dir / "cache"

    @cached_property
    def remote(self) -> ObjectStore | Path | None:
        """The default remote, a store or a folder; None where there is none.

        Raises:
            ConfigError: It is of a kind that is not read here.
        """
        name = self._config["core"].get("remote")
        if name is None:
            return None
        settings = self._config["remote"].get(name)
        if settings is None:
            raise ConfigError(f".dvc/config: core.remote is '{name}', and no remote of that name stands there")
        url = str(settings["url"])
        if "://" not in url:
            return Path(url)
        if not url.startswith("s3://"):
            raise ConfigError(f"the remote '{name}' is {url.partition('://')[0]}://…; versions are read from a folder or s3://")
        endpoint = settings.get("endpointurl")
        if endpoint and not (os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3")):
            raise ConfigError(f"the remote '{name}' names its endpoint in .dvc/config; say it in the environment: AWS_ENDPOINT_URL={endpoint}")
        return open_store(url)

    @property
    def is_reached(self) -> bool:
        """Whether the remote is of a kind that is read and written here; the others are left to DVC."""
        name = self._config["core"].get("remote")
        url = str(self._config["remote"].get(name, {}).get("url", ""))
        return "://" not in url or url.startswith("s3://")

    def path(self, md5: str) -> Path | None:
        """Return the file that an object is, in the cache or in a remote that is a folder; None if it is in neither."""
        path = self.cache / key_of(md5)
        if path.is_file():
            return path
        path = self.remote / key_of(md5) if isinstance(self.remote, Path) else path
        return path if path.is_file() else None

    def read(self, md5: str) -> bytes:
        """Return a whole object.

        Raises:
            DataError: Neither cache nor remote has it.
            TransientError: The remote does not answer.
        """
        path = self.path(md5)
        if path is not None:
            return path.read_bytes()
        return self._store(md5).get(key_of(md5))

    def read_range(self, md5: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` of an object; see `read`."""
        path = self.path(md5)
        if path is None:
            return self._store(md5).get_range(key_of(md5), offset, length)
        content = self._files.read(path, offset, length)
        if len(content) != length:
            raise DataError(f"{path} is truncated: {length} bytes expected at {offset}, found {len(content)}")
        return content

    def copy(self, md5: str, out: Path) -> None:
        """Write a whole object as the file `out`, its MD5 checked, memory bounded; see `read`."""
        digest = hashlib.md5(usedforsecurity=False)
        with explaining_full_disk(out), out.open("wb") as file:
            for part in self._parts(md5):
                digest.update(part)
                file.write(part)
        if digest.hexdigest() != md5.removesuffix(".dir"):
            out.unlink()
            raise TransientError(f"{md5} was read as {digest.hexdigest()}: damaged on the way, or where it is kept")

    def _parts(self, md5: str) -> Iterator[bytes]:
        path = self.path(md5)
        if path is not None:
            with path.open("rb") as source:
                while part := source.read(_PART_BYTES):
                    yield part
            return
        store = self._store(md5)
        size = next((entry.size for entry in store.entries(key_of(md5)) if entry.key == key_of(md5)), None)
        if size is None:
            raise DataError(f"{store.uri} has nothing under {key_of(md5)}")
        for start in range(0, size, _PART_BYTES):
            yield store.get_range(key_of(md5), start, min(_PART_BYTES, size - start))

    def push(self, md5: str) -> None:
        """Put a folder's object and all it lists on the remote, as far as it is not there; the list goes last, so what is there is whole.

        A push that was killed goes on: what has arrived is found and not sent again. Does nothing where there is no remote.

        Raises:
            DataError: The cache lacks one of them.
            TransientError: The remote does not answer, after retries.
        """
        store = open_store(f"file://{self.remote}") if isinstance(self.remote, Path) else self.remote
        if store is None or self._is_there(store, md5):
            return
        self._each(list(dict.fromkeys(self.listing(md5).values())), "push", lambda one: store.put_if_absent(key_of(one), self._cached(one)))
        store.put_if_absent(key_of(md5), self._cached(md5))

    def fetch(self, md5: str) -> None:
        """Bring a folder's object and all it lists into the cache; a fetch that was killed goes on. See `read` for the errors."""
        missing = [one for one in (*dict.fromkeys(self.listing(md5).values()), md5) if not (self.cache / key_of(one)).is_file()]
        self._each(missing, "fetch", self._fetch)

    def _fetch(self, md5: str) -> None:
        place = self.cache / key_of(md5)
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as partial:
            self.copy(md5, partial)
            partial.chmod(0o444)

    def _each(self, md5s: list[str], verb: str, work: Callable[[str], object]) -> None:
        with bar(verb, len(md5s), "files") as progress, ThreadPoolExecutor(_NUM_AT_ONCE) as pool:
            for done in [pool.submit(work, md5) for md5 in md5s]:
                done.result()
                progress.update()

    def _cached(self, md5: str) -> Path:
        path = self.cache / key_of(md5)
        if not path.is_file():
            raise DataError(f"DVC's cache lacks {path}: record the folder again with `dvc add`")
        return path

    def _is_there(self, store: ObjectStore, md5: str) -> bool:
        if isinstance(self.remote, Path):
            return (self.remote / key_of(md5)).is_file()
        return any(entry.key == key_of(md5) for entry in store.entries(key_of(md5)))

    def listing(self, md5: str) -> dict[str, str]:
        """Return the MD5 of each file of a folder's object by its path in the folder; see `read`."""
        return {entry["relpath"]: entry["md5"] for entry in json.loads(self.read(md5))}

    def close(self) -> None:
        """Close what is open."""
        self._files.close()

    def _store(self, md5: str) -> ObjectStore:
        if self.remote is None:
            raise DataError(f"DVC's cache has no object {md5}, and there is no remote to ask: dvc remote add --default NAME URL")
        if isinstance(self.remote, Path):
            raise DataError(f"neither DVC's cache nor the remote {self.remote} has the object {md5}; whoever committed the version can: dvc push")
        return self.remote


def key_of(md5: str) -> str:
    """Return the key of an object in a remote."""
    return f"{PREFIX}/{md5[:2]}/{md5[2:]}"


def record_path(name: str) -> str:
    """Return where a dataset's .dvc file stands, from the checkout's root."""
    return f"data/{name}.dvc"


def recorded(project: Path, commit: str, name: str) -> dict[str, Any]:
    """Return what data/NAME.dvc says at a commit: md5 (with .dir), size, nfiles.

    Raises:
        DataError: The commit has no such file, or it is no .dvc file.
    """
    text = git(project, "show", f"{commit}:./{record_path(name)}", check=False)
    if text is None:
        raise DataError(f"{commit} has no {record_path(name)}")
    return parse_record(text, f"{record_path(name)} at {commit}")


def parse_record(text: str, source: str) -> dict[str, Any]:
    """Return the one output that a .dvc file names; `source` is what errors call it.

    Raises:
        DataError: It is no .dvc file of a folder.
    """
    try:
        out = YAML(typ="safe", pure=True).load(text)["outs"][0]
    except (YAMLError, KeyError, IndexError, TypeError):
        out = {}
    if not isinstance(out, dict) or not str(out.get("md5", "")).endswith(".dir"):
        raise DataError(f"{source} is not DVC's record of a folder; expected outs with an md5 that ends in .dir")
    return out
