"""Labelled datasets: manifest, shards, probes, versions, and the prepared data that training reads.

In Python:

    from components import datasets
    with datasets.open("flowers@v1.2.0") as flowers:
        flowers.manifest                   # a pandas table, one row an image
        flowers.torch(size=224)[0]         # an image and its target, for a torch DataLoader
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.datasets.dataset import Dataset


def open(ref: str, project: Path = Path()) -> Dataset:  # noqa: A001 - datasets.open
    """Open a version of a dataset: from DVC's cache, or straight from its remote by byte ranges, without a full download.

    Args:
        ref: NAME@v1.2.0, or NAME for the working copy data/NAME.
        project: The checkout.

    Raises:
        InputError: There is no such version, or its bytes are nowhere to be found.
        TransientError: The remote does not answer.
    """
    from components.datasets.versions.opening import open_version

    return open_version(ref, project)
