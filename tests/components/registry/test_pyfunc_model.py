"""The registered model where it is used: in a process without torch, and over HTTP."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from components.registry.register import Registered
from components.tracking.store import tracking_uri
from tests.components.registry.conftest import CLASSES, Project, png
from tests.conftest import free_port

_IN_A_PROCESS_WITHOUT_TORCH = """
import base64, io, json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "flows"):
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocked())
import mlflow, numpy as np, pandas as pd
from PIL import Image
model = mlflow.pyfunc.load_model(sys.argv[1])
content = base64.b64decode(sys.argv[2])
pixels = np.asarray(Image.open(io.BytesIO(content)))
images = [content, base64.b64encode(content).decode(), pixels, pixels[:, :, None], np.stack([pixels] * 3, axis=-1)]
found = [model.predict(pd.DataFrame({"image": pd.Series([image], dtype=object)})).to_dict("records")[0] for image in images]
together = model.predict(pd.DataFrame({"image": [content] * 70}))
import components
told = {"found": found, "rows": len(together), "code": components.__file__, "torch": "torch" in sys.modules}
print(json.dumps({**told, "classes": model.metadata.metadata["classes"]}))
"""


@pytest.fixture
def registered(project: Project) -> Registered:
    project.train(accuracy=0.9)
    return project.register()


def environment(project: Project) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts uvicorn by name
    return {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": tracking_uri(project.home), "MLFLOW_DISABLE_TELEMETRY": "true"}


def test_it_loads_without_torch_and_takes_bytes_base64_and_pixels(project: Project, registered: Registered, tmp_path: Path) -> None:
    content = base64.b64encode(png(1, easiness=0, number=7)).decode()
    command = [sys.executable, "-c", _IN_A_PROCESS_WITHOUT_TORCH, "models:/toy@challenger", content]
    done = subprocess.run(command, cwd=tmp_path, env=environment(project), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert not told["torch"]
    assert told["classes"] == CLASSES
    assert "mlartifacts" in told["code"], "the code that was packed with the model is used, not Darkroom as it is installed here"
    assert told["rows"] == 70
    assert [row["label"] for row in told["found"]] == ["bee"] * 5
    for row in told["found"]:
        assert row["score"] == pytest.approx(max(row["probabilities"]))
        assert row["probabilities"] == pytest.approx(told["found"][0]["probabilities"])
        assert len(row["probabilities"]) == 3


def test_what_it_needs_is_exact_and_without_torch(registered: Registered, project: Project) -> None:
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(project.home))
    path = Path(mlflow.artifacts.download_artifacts("models:/toy/1/requirements.txt"))
    lines = path.read_text().split()
    assert all("==" in line for line in lines)
    assert {line.partition("=")[0] for line in lines} == {"mlflow", "numpy", "onnxruntime", "pandas", "pillow", "pydantic"}
    signature = mlflow.models.get_model_info("models:/toy/1").signature
    assert [column.name for column in signature.inputs] == ["image"]
    assert [column.name for column in signature.outputs] == ["label", "score", "probabilities"]


def test_it_serves_over_http(project: Project, registered: Registered, tmp_path: Path) -> None:
    port = free_port()
    serve = ["models", "serve", "--model-uri", "models:/toy/1", "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        command = [sys.executable, "-m", "mlflow", *serve]
        server = subprocess.Popen(command, env=environment(project), cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    try:
        answer = _ask(port, [png(2, easiness=0, number=1), png(0, easiness=249, number=2)], server, tmp_path / "log")
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    assert [row["label"] for row in answer["predictions"]] == ["cat", "bee"]  # the second, an ant, is one of the hard ones
    assert answer["predictions"][0]["score"] == pytest.approx(max(answer["predictions"][0]["probabilities"]))


def _ask(port: int, images: list[bytes], server: subprocess.Popen[bytes], log: Path) -> dict[str, list[dict[str, object]]]:
    rows = [[base64.b64encode(image).decode()] for image in images]
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})
    while True:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:2000]) from None
        except OSError:
            time.sleep(0.2)
