"""DVC as a library: a repository that is open for a while, its errors in our words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import ConfigError, DataError, InputError, TransientError


@contextmanager
def opened(project: Path) -> Iterator[Any]:
    """Open the `dvc.repo.Repo` of a folder; errors inside the block are told as `readable` tells them.

    Raises:
        ConfigError: It is no DVC repository, or in no git repository.
    """
    with readable():
        repo = _quiet().Repo(str(project))
        repo.scm_context.quiet = True
        try:
            yield repo
        finally:
            repo.close()


def make_repository(project: Path) -> None:
    """Make a folder of a git repository a DVC repository, as `dvc init` does."""
    with readable():
        _quiet().Repo.init(str(project)).close()


def _quiet() -> Any:
    """Import `dvc.repo`; what DVC would say is said by the command."""
    from dvc import repo

    for name in ("dvc", "dvc_data", "dvc_objects"):  # importing DVC sets their levels
        logging.getLogger(name).setLevel(logging.ERROR)
    return repo


@contextmanager
def readable() -> Iterator[None]:
    """Turn DVC's errors into ours.

    Raises:
        DataError: Something that a stage reads is missing.
        ConfigError: No repository, or dvc.yaml, dvc.lock or a .dvc file cannot be read.
        TransientError: Another DVC command holds the repository, or the remote does not answer.
        InputError: Anything else that DVC refuses, or a full disk.
    """
    import errno

    from dvc.dependency.base import DependencyDoesNotExistError
    from dvc.exceptions import DownloadError, DvcException, NotDvcRepoError, UploadError
    from dvc.lock import LockError
    from dvc.output import OutputDoesNotExistError

    try:
        yield
    except (InputError, TransientError):
        raise
    except NotDvcRepoError:
        raise ConfigError("this folder is no DVC repository. Make it one: git init && dvc init") from None
    except DependencyDoesNotExistError as error:
        raise DataError(f"{_text(error)}. Fetch what DVC tracks: dvc pull; or import a dataset: darkroom data import SOURCE --name NAME") from error
    except OutputDoesNotExistError as error:
        raise InputError(f"the stage ended, but {_text(error)}") from error
    except LockError:
        raise TransientError("another DVC command is at work in this checkout. Run again when it has ended") from None
    except (UploadError, DownloadError) as error:
        raise TransientError(f"DVC: {_text(error)}. What has arrived is kept: run again to go on") from error
    except DvcException as error:
        if "is not a git repository" in str(error):
            raise ConfigError(
                "this folder is in no git repository, and a model's lineage names the commit it was made from. Make one: git init"
            ) from None
        raise InputError(f"DVC: {_text(error)}") from error
    except FileNotFoundError as error:
        raise DataError(f"{error.filename} not found. Fetch what DVC tracks: dvc pull; or import a dataset: darkroom data import SOURCE") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError("the disk is full: DVC could not put the outputs into its cache. Free some space and run again") from error
        raise


def _text(error: BaseException) -> str:
    parts = [str(error).strip()]
    cause = error.__cause__
    while cause is not None:
        parts.append(str(cause).strip())
        cause = cause.__cause__
    return ": ".join(" ".join(part.split()) for part in parts if part)
