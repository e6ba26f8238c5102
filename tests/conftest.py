"""What every test needs: no analytics, private caches, the real images where they are."""

from __future__ import annotations

import itertools
import logging
import os
import random
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

#: How long an example takes says how busy the machine is, not whether the code is right.
_UNTIMED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("gate", derandomize=True, **_UNTIMED)  # the same examples every time: what was green stays green until the code changes
settings.register_profile("search", **_UNTIMED)  # new ones every time: `make fuzz`
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

#: What a person or a CI system may have set, and what would change what is told, where it goes, or whom git takes for the author.
_TOOLS = ("AWS_", "DARKROOM_", "DVC_", "MLFLOW_", "PREFECT_", "RAY_", "GIT_AUTHOR_", "GIT_COMMITTER_")
_GIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_TEMPLATE_DIR")  # of a hook
_TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "GITHUB_ACTIONS", "MPLBACKEND")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
for _name in list(os.environ):
    if _name.startswith(_TOOLS) or _name in (*_GIT, *_TERMINAL) or _name.lower() in _PROXIES:
        del os.environ[_name]
os.environ.update(GIT_CONFIG_GLOBAL="/dev/null", AWS_CONFIG_FILE="/nowhere/config", AWS_SHARED_CREDENTIALS_FILE="/nowhere/credentials")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background: no test of Ctrl-C would end
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as components.__main__ sets it for a step
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


#: None that a test or a default asks for. Where nobody seeds it, torch begins with another one in each process.
_SEED = 67_280_421


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let global random numbers begin anew: what a test draws does not depend on which ran before it in the same process."""
    import numpy as np

    random.seed(_SEED)
    np.random.seed(_SEED)
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(_SEED)


def free_port() -> int:
    """A port to listen on. It is none of those that the system gives to whoever asks for any, and another one in each process."""
    for port in itertools.count(20_000 + os.getpid() % 1_000 * 10):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses; it is taken, so that nobody begins to listen there."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield int(server.getsockname()[1])


@pytest.fixture(scope="session", autouse=True)
def private_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep DVC's site cache and Prefect's home away from the person's own."""
    folder = tmp_path_factory.mktemp("caches")
    os.environ["DVC_SITE_CACHE_DIR"] = str(folder / "dvc")
    os.environ["DVC_GLOBAL_CONFIG_DIR"] = os.environ["DVC_SYSTEM_CONFIG_DIR"] = str(folder / "dvc-config")
    os.environ["PREFECT_HOME"] = str(folder / "prefect")


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Leave our loggers as they were: a command that runs inside a test tells its lines at the terminal, and the next test hears none."""
    loggers = [logging.getLogger(name) for name in ("components", "flows")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real labelled images, or a skip that says why."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is not there: the real images are optional")
    return SHARED_DATA


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 server of our own on the loopback: the endpoint's URL."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    put, one_at_a_time = S3Response.put_object, threading.Lock()

    def put_object(self: Any) -> Any:
        with one_at_a_time:
            return put(self)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(S3Response, "put_object", put_object)  # S3 looks whether an object is there and writes it in one step, moto in two
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket; the AWS variables of the test's environment lead to it."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def prepared_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data of scikit-learn's digits at 16 px, one channel: 1,100 train, 300 val, 397 test."""
    import hashlib

    import numpy as np
    import pandas as pd
    from sklearn.datasets import load_digits

    from components.datasets.prepared import ORDER, POLICY, RECORD, write_split
    from components.records import DatasetRef, PreparedRecord

    digits = load_digits()
    images = np.kron((digits.images * 15.9375).astype(np.uint8), np.ones((1, 2, 2), np.uint8))[..., None]
    rows = pd.DataFrame({"image_id": [f"{index:04d}.png" for index in range(len(images))], "label": digits.target.astype(str)})
    rows["sha256"] = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    shuffled = np.random.default_rng(0).permutation(len(images))
    sides = dict(zip(("train", "val", "test"), np.split(shuffled, [1100, 1400]), strict=True))
    folder = tmp_path_factory.mktemp("prepared")
    for name, side in sides.items():
        write_split(folder / name, rows.iloc[side].reset_index(drop=True), [{(16, 16): images[side]}], {(16, 16): images[side].shape})
    np.save(folder / "train" / ORDER, np.arange(len(sides["train"]), dtype=np.int64))
    scaled = images[sides["train"]] / 255
    record = PreparedRecord(
        task="classification",
        dataset=DatasetRef(name="digits", version="1.1", manifest_digest="0" * 64, num_images=len(images)),
        classes=[str(digit) for digit in range(10)],
        channels=1,
        resize="stretch",
        sizes=[(16, 16)],
        mean=[float(scaled.mean())],
        std=[float(scaled.std())],
        counts={name: len(side) for name, side in sides.items()},
        training_digest="1" * 64,
    )
    record.save(folder / RECORD)
    (folder / POLICY).write_text("{}")
    return folder


@pytest.fixture(scope="session")
def trained_digits(prepared_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that has learnt `prepared_digits`, as train leaves it."""
    import torch

    from components.datasets.policy import Policy
    from components.datasets.prepared import Prepared
    from components.protocols import Context, plugin
    from components.records import ModelSpec, Preprocess
    from components.training.loop import fit
    from components.training.model_files import save_model, train_record
    from components.training.options import FitOptions
    from components.training.problem import Problem

    prepared = Prepared.open(prepared_digits)
    record = prepared.record
    spec = ModelSpec(
        task="classification",
        model="resnet9",
        model_options={"width": 8},
        classes=record.classes,
        preprocess=Preprocess(size_hw=(16, 16), channels=1, resize="stretch"),
        mean=record.mean,
        std=record.std,
        dataset=record.dataset,
        training_digest=record.training_digest,
    )
    torch.manual_seed(0)
    model = plugin("components.tasks", "task", "classification").build_model(spec)
    options = FitOptions(epochs=3, lr=0.01, batch_size=64, schedule="onecycle", device="cpu", precision="float32")
    fitted = fit(Problem.of(model, spec, prepared), options, Policy(), context=Context())
    folder = tmp_path_factory.mktemp("models") / "dense"
    save_model(folder, model, spec)
    train_record(fitted, model, spec, loaded="random weights").save(folder / "summary.json")
    return folder


@pytest.fixture(scope="session")
def exported_digits(trained_digits: Path, prepared_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`trained_digits` as the export step leaves it: dense-onnx/, dense-onnx_int8/, dense-torch_export/, and benchmark/."""
    from components.steps.export import ExportConfig, export

    folder = tmp_path_factory.mktemp("exported")
    formats = ["onnx", "onnx_int8", "torch_export"]
    for name in formats:
        out = folder / f"dense-{name}"
        export(ExportConfig(formats=formats), "dense", name, prepared_digits, trained_digits, out, folder / "benchmark" / f"dense-{name}.json")
    return folder
