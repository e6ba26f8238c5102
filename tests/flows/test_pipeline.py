from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

import pytest

from components.errors import ConfigError, DataError
from flows.pipeline import Pipeline


def run_all(project: Path, meanwhile: str = "") -> dict[str, str]:
    """Run what is out of date, without Prefect; `meanwhile` is a shell line that runs beside each stage."""
    said = {}
    with closing(Pipeline(project)) as pipeline:
        for stage in pipeline.stages():
            if not pipeline.reasons(stage):
                said[stage.addressing] = "skipped"
            elif pipeline.restore(stage):
                said[stage.addressing] = "restored"
            else:
                inputs = pipeline.begin(stage)
                subprocess.run(f"{stage.cmd.replace('python', sys.executable)}; {meanwhile}", shell=True, cwd=project, check=True)
                pipeline.record(stage, inputs)
                said[stage.addressing] = "ran"
    return said


@pytest.fixture
def pipeline(project: Path) -> Iterator[Pipeline]:
    with closing(Pipeline(project)) as opened:
        yield opened


def test_it_leaves_byte_for_byte_the_lock_that_dvc_repro_leaves(project: Path) -> None:
    assert run_all(project) == {"first": "ran", "second": "ran"}
    ours = (project / "dvc.lock").read_bytes()
    (project / "dvc.lock").unlink()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "--force"], cwd=project, check=True, env={**os.environ, "PATH": path})
    assert (project / "dvc.lock").read_bytes() == ours
    assert run_all(project) == {"first": "skipped", "second": "skipped"}


def test_a_changed_parameter_runs_its_stage_alone_and_changed_back_is_restored(project: Path) -> None:
    run_all(project)
    lock, params = (project / "dvc.lock").read_bytes(), project / "params.yaml"
    params.write_text(params.read_text().replace("times: 2", "times: 3"))
    assert run_all(project) == {"first": "skipped", "second": "ran"}
    params.write_text(params.read_text().replace("times: 3", "times: 2"))
    assert run_all(project) == {"first": "skipped", "second": "restored"}
    assert (project / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        pytest.param("echo 'toy: {times: 7}' >> params.yaml; sed -i 1,3d params.yaml", "toy.times", id="params.yaml"),
        pytest.param("echo other > first.txt", "first.txt", id="a dependency"),
    ],
)
def test_what_is_edited_while_a_stage_runs_is_not_recorded(project: Path, edit: str, named: str) -> None:
    run_all(project)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("times: 2", "times: 3"))
    lock = (project / "dvc.lock").read_bytes()
    with pytest.raises(ConfigError, match=rf"{named} changed while second ran.*not recorded"):
        run_all(project, edit)
    assert (project / "dvc.lock").read_bytes() == lock
    with closing(Pipeline(project)) as pipeline:
        assert any(pipeline.reasons(stage) for stage in pipeline.stages())


def test_who_is_stopped_while_dvc_writes_the_lock_leaves_the_one_before(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_all(project)
    lock = (project / "dvc.lock").read_bytes()

    def cut_off(data: dict[str, object], stream: TextIO) -> None:
        if "stages" not in data:  # the entry of DVC's cache of runs
            return written_whole(data, stream)
        stream.write("schema: '2.0'\nstages:\n  fir")
        stream.flush()
        raise KeyboardInterrupt

    from dvc.utils.serialize._yaml import _dump as written_whole

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("dvc.utils.serialize._yaml._dump", cut_off)
        (project / "in.txt").write_text("other")
        run_all(project)
    assert (project / "dvc.lock").read_bytes() == lock
    assert run_all(project) == {"first": "restored", "second": "ran"}


def test_inputs_that_changed_after_their_stage_was_recorded_are_named(project: Path) -> None:
    run_all(project)
    with closing(Pipeline(project)) as pipeline:
        (project / "second.txt").unlink()
        assert pipeline.changed_inputs(pipeline.stages()) == []
        params = project / "params.yaml"
        params.write_text(params.read_text().replace("times: 2", "times: 9"))
        (project / "in.txt").write_text("other")
        assert pipeline.changed_inputs(pipeline.stages()) == ["in.txt modified", "toy.times: 2 → 9"]


def test_reasons_name_what_changed_with_both_values(project: Path) -> None:
    run_all(project)
    (project / "in.txt").write_text("other")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("times: 2", "times: 3"))
    with closing(Pipeline(project)) as pipeline:
        first, second = pipeline.stages()
        assert pipeline.reasons(first) == ["in.txt modified"]
        assert pipeline.reasons(second) == ["toy.times: 2 → 3"]
        assert pipeline.following(first) == {"second"}
        pipeline.begin(second)  # as a run that is killed leaves it
        assert pipeline.reasons(second)[-1] == "2 outputs are missing: second.txt …"
        pipeline.begin(first)
        assert pipeline.reasons(first) == ["output first.txt is missing"]


def test_until_ends_at_a_stage_and_an_unknown_one_is_answered_with_the_names(pipeline: Pipeline) -> None:
    assert [stage.addressing for stage in pipeline.stages("first")] == ["first"]
    with pytest.raises(ConfigError, match=r"unknown stage 'secnd'. Did you mean 'second'\? There are: first, second"):
        pipeline.stages("secnd")


def test_data_that_differs_from_its_record_is_refused(project: Path) -> None:
    (project / "images").mkdir()
    (project / "images" / "1.png").write_bytes(b"1")
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "images"], cwd=project, check=True)
    with closing(Pipeline(project)) as pipeline:
        pipeline.check_data()
    (project / "images" / "1.png").write_bytes(b"2")
    with closing(Pipeline(project)) as pipeline, pytest.raises(DataError, match=r"images is not what images.dvc says.*dvc add images"):
        pipeline.check_data()
    subprocess.run(["rm", "-rf", "images"], cwd=project, check=True)
    with closing(Pipeline(project)) as pipeline, pytest.raises(DataError, match=r"images is not here.*dvc pull images.dvc"):
        pipeline.check_data()


def test_outputs_behind_a_link_are_refused_before_anything_runs(project: Path, tmp_path: Path) -> None:
    (project / "dvc.yaml").write_text("stages:\n  first:\n    cmd: touch kept/here/first.txt\n    outs: [kept/here/first.txt]\n")
    (tmp_path / "elsewhere").mkdir()
    (project / "kept").symlink_to(tmp_path / "elsewhere")
    with closing(Pipeline(project)) as pipeline, pytest.raises(ConfigError, match=r"^kept is a link to .*elsewhere; DVC keeps nothing behind links"):
        pipeline.check_data()


def test_no_git_repository_is_told_in_one_line(project: Path) -> None:
    subprocess.run(["rm", "-rf", ".git"], cwd=project, check=True)
    with pytest.raises(ConfigError, match="git init"):
        Pipeline(project)


def test_a_missing_dependency_is_told_with_what_to_do(project: Path) -> None:
    (project / "in.txt").unlink()
    with pytest.raises(DataError, match=r"in\.txt.*dvc pull"):
        run_all(project)
