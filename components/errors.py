"""Errors for the reader: what was found, what was expected, what to change.

    DarkroomError                 1   a bug, unless a subclass says otherwise
    ├── InputError                2   the input or the configuration is wrong
    │   ├── ConfigError           2   params.yaml or a command's options
    │   └── DataError             2   a dataset, an image, an annotation
    ├── GateRefused               3   a gate did its work: the data or the model is not good enough
    └── TransientError           75   trying again may help (sysexits.h, EX_TEMPFAIL)

`dvc repro` turns every exit code of a stage into its own. Prefect retries 75 and crashes, never 2 or 3.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DarkroomError(Exception):
    """Any error that Darkroom raises on purpose; its text is meant for the person at the terminal."""

    exit_code = 1


class InputError(DarkroomError):
    """The input is wrong; trying again without changing it will not help."""

    exit_code = 2


class ConfigError(InputError):
    """A key, a type, a name or a value in the configuration is wrong."""


class DataError(InputError):
    """A dataset, an image or an annotation is missing or not what it has to be."""


class GateRefused(DarkroomError):
    """A gate judged and refused; its report is complete and says why."""

    exit_code = 3


class TransientError(DarkroomError):
    """A server or a resource is away for now; trying again may help."""

    exit_code = 75


def unknown_name(kind: str, found: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that does not exist, with the names there are and the nearest one.

    Args:
        kind: What was to be named, for example ``"optimizer"``.
        found: The name that was given.
        known: All names that exist.
    """
    names = sorted(known)
    near = difflib.get_close_matches(found, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return ConfigError(f"unknown {kind} '{found}'.{hint} There are: {', '.join(names)}")
