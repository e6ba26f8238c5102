"""The fingerprint of a stage's code: what is changed re-runs what imports it, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components import stage_code
from components.errors import ConfigError
from components.stage_code import check_lock, current, named, step_of
from tests.conftest import ROOT

#: Appends a line to each file in turn, and prints which fingerprints that changed.
SCRIPT = """
import json, sys
from pathlib import Path
from components.stage_code import PACKAGE, current
assert PACKAGE == Path.cwd() / "components", PACKAGE
STEPS = {"validate": [], "split": [], "train": [], "evaluate": [], "compress.dense": ["dense"], "compress.pruned": ["pruned"],
         "export.onnx": ["onnx"], "export.onnx_int8": ["onnx_int8"]}
def prints():
    return {name: current().fingerprint(name.partition(".")[0], {"detection", *options}) for name, options in STEPS.items()}
before, changed = prints(), {}
for name in json.loads(sys.argv[1]):
    path = PACKAGE / name
    path.write_text(path.read_text() + "\\n# changed\\n")
    now = prints()
    changed[name] = sorted(step for step in STEPS if now[step]["code"] != before[step]["code"])
    before = now
print(json.dumps(changed))
"""

CHANGED = {
    "training/loop.py": ["compress.pruned", "train"],  # the loop itself; evaluate and exports only infer
    "compression/pruned.py": ["compress.pruned"],
    "exporters/onnx_int8.py": ["export.onnx_int8"],
    "exporters/_calibration.py": ["export.onnx", "export.onnx_int8"],  # the step calibrates, whatever the format
    "datasets/checks/report.html.j2": ["validate"],
    "tasks/classification.py": [],  # the task is detection
    "registry/promote.py": [],
    "reporting/page.py": [],
}


def test_a_changed_file_changes_the_stages_that_import_it_and_no_other(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "components", tmp_path / "components", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", SCRIPT, json.dumps(list(CHANGED))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == CHANGED


def test_a_stage_knows_the_libraries_it_decides_by() -> None:
    train = current().fingerprint("train", {"classification"})
    assert {"torch", "torchvision"} <= train.keys()
    assert not {"onnxruntime", "great-expectations", "pandas"} & train.keys()
    assert {"onnx", "onnxscript", "onnxruntime"} <= current().fingerprint("export", {"classification", "onnx"}).keys()
    assert "torch" not in current().fingerprint("split", set())


def test_every_library_is_installed_under_that_name() -> None:
    from importlib.metadata import version

    assert all(version(library) for libraries in stage_code.LIBRARIES.values() for library in libraries)


def test_what_a_command_names() -> None:
    options = step_of("python -m components export --format onnx")
    assert options == ["export", "--format", "onnx"]
    assert step_of("python -c 1") is None
    assert named({"task": {"name": "detection"}}, options[1:]) == {"detection", "--format", "onnx"}
    with pytest.raises(ConfigError, match=r"unknown step 'trian'. Did you mean 'train'"):
        current().modules_of("trian", set())


def test_a_step_by_hand_is_refused_while_code_lock_is_about_other_code(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("task: {name: classification}\n")
    check_lock(tmp_path, "train", [])  # no code.lock: the sources are deps
    found = current().fingerprint("train", {"classification"})
    (tmp_path / "code.lock").write_text(json.dumps({"train": found}))
    check_lock(tmp_path, "train", [])
    check_lock(tmp_path, "evaluate", [])
    (tmp_path / "code.lock").write_text(json.dumps({"train": {**found, "torch": "2.0.0"}}))
    with pytest.raises(ConfigError, match=r"code.lock is about other code .* darkroom status"):
        check_lock(tmp_path, "train", [])
