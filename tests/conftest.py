"""What every test needs: no analytics, private caches, the real images where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def private_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep DVC's site cache and Prefect's home away from the person's own."""
    folder = tmp_path_factory.mktemp("caches")
    os.environ["DVC_SITE_CACHE_DIR"] = str(folder / "dvc")
    os.environ["PREFECT_HOME"] = str(folder / "prefect")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled images, or a skip that says why."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is not there: the real images are optional")
    return SHARED_DATA
