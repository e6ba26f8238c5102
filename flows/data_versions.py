"""The newest version of a dataset that the data team has released: the tag NAME@v* that sorts last, else the upstream branch."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from components.errors import ConfigError
from components.git import git

log = logging.getLogger(__name__)


def fetch_newest(project: Path, name: str) -> str:
    """Fetch from git, put the newest data/NAME.dvc in place and pull its bytes.

    Args:
        project: The checkout.
        name: The dataset.

    Returns:
        The tag or branch that the data came from; empty if what is checked out is the newest.

    Raises:
        ConfigError: No git repository, or neither tag nor upstream branch has the dataset.
        InputError: The bytes cannot be pulled.
    """
    from dvc.repo import Repo

    from flows.pipeline import readable

    if git(project, "remote"):
        git(project, "fetch", "--quiet", "--tags")
    record = Path("data") / f"{name}.dvc"
    source = _newest_tag(project, name) or git(project, "rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}", check=False)
    if source is None:
        raise ConfigError(
            f"no newer {name} to find: no tag {name}@v… and no upstream branch. Tag one (git tag {name}@v1.1), or run on the data as checked out"
        )
    content = git(project, "show", f"{source}:{record.as_posix()}", check=False)
    if content is None:
        raise ConfigError(f"{source} has no {record}. Add it there, or run on the data as checked out")
    path = project / record
    changed = not path.exists() or path.read_text(encoding="utf-8").strip() != content
    if changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n", encoding="utf-8")
    with readable():
        repo = Repo(str(project))
        try:
            if changed or not (project / "data" / name).exists():
                repo.pull(targets=[str(path)], force=True)
        finally:
            repo.close()
    log.info("data: %s of %s%s", name, source, "" if changed else ", which is what is checked out")
    return source if changed else ""


def _newest_tag(project: Path, name: str) -> str | None:
    tags = (git(project, "tag", "--list", f"{name}@v*") or "").split()
    return max(tags, key=lambda tag: [int(part) for part in re.findall(r"\d+", tag.rpartition("@v")[2])], default=None)
