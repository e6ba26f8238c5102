"""`darkroom demo`: three acts on real handwritten digits, in this checkout, and a check of what they claim."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.dvc_repo import opened
from components.errors import ConfigError
from components.git import git, stand_in
from flows import demo_versions
from flows.terminal import say

if TYPE_CHECKING:
    from components.reporting.records import RunReport

_MIN_ACCURACY = 0.97
_INTERRUPTED = 130
_MESSAGE = "demo: "


@dataclass(frozen=True)
class Act:
    """One act: a version of the data arrives and the flow runs."""

    version: str
    title: str
    exit_codes: tuple[int, ...]
    approved: bool = True


_ACTS = (
    Act("1.0", "A young dataset: 400 images, one label in twenty wrong. There is no champion yet", (0, 3)),
    Act("1.1", "All 1,797 images, labels put right. The challenger has to beat the champion by more than chance", (0,)),
    Act("1.2", "A delivery with damaged files and shuffled labels. Validation has to stop it", (3,), approved=False),
)


def demo(project: Path, debug: bool) -> int:
    """Run the three acts and return 0 if each did what it is there to show.

    Args:
        project: The checkout. No branch gets a commit: the tags digits@v1.0.0 and so on hold the versions; data/digits is left at 1.1.
        debug: Show tracebacks.

    Raises:
        ConfigError: params.yaml is about another dataset.
    """
    from flows.lock import refuse_if_locked
    from flows.parameters import dataset_name
    from flows.servers import Prefect
    from flows.start import prepare_tracking, run_act

    if (name := dataset_name(project, {})) != demo_versions.NAME:
        raise ConfigError(f"params.yaml: data.name is '{name}'; the demo is about '{demo_versions.NAME}'. Set it, or run: darkroom run")
    refuse_if_locked(project, wait=False)
    _protect(project)
    os.environ.update(stand_in(project))  # the demo is to run on a bare machine
    started, home = time.monotonic(), project / ".darkroom"
    prefect = Prefect(home)
    prefect.start()
    prepare_tracking(home)
    wrong: list[str] = []
    try:
        for number, act in enumerate(_ACTS, 1):
            say(f"\n━━ Act {number} of {len(_ACTS)} · digits {act.version} ━━ {act.title}\n")
            _bring_in(project, act)
            prefect.wait()
            code, report = run_act(debug, home)
            if code == _INTERRUPTED:
                return code
            _keep(project, number)
            wrong += [f"act {number}: {claim}" for claim in _broken_claims(act, code, report, project)]
            if wrong:
                break
            say(f"\nAct {number} took {report.seconds:.0f} s")
        _put_back(project)
    finally:
        prefect.stop()
    return _curtain(wrong, time.monotonic() - started, project)


def _protect(project: Path) -> None:
    """Refuse to write over images that DVC does not have."""
    from contextlib import closing

    from flows.pipeline import Pipeline

    folder = project / "data" / demo_versions.NAME
    if folder.exists() and not folder.with_name(f"{folder.name}.dvc").exists():
        raise ConfigError(
            f"{folder} is there and DVC does not track it; the demo would write over it. Keep it: dvc add {folder.relative_to(project)}"
        )
    if folder.exists():
        with closing(Pipeline(project)) as pipeline:
            pipeline.check_data()


def _bring_in(project: Path, act: Act) -> None:
    """Put a version of the data in place, commit it, and approve it if it is one to be trained on."""
    from components.datasets.manifest import MANIFEST, read_dataset
    from components.datasets.versions import tags
    from components.datasets.versions.approval import approve
    from components.datasets.versions.commit import commit, content_of
    from components.files import sha256_of

    name, folder = demo_versions.NAME, project / "data" / demo_versions.NAME
    summary = demo_versions.make_version(act.version, project / "data", project / "params.yaml")
    content = content_of(read_dataset(folder), sha256_of(folder / MANIFEST))
    for known in tags.versions(project, name):
        if known.version == f"{act.version}.0" and known.message.startswith(_MESSAGE) and known.record and known.record.content != content:
            git(project, "tag", "--delete", known.tag)  # of a demo whose libraries wrote other bytes
    made = commit(project, name, f"{_MESSAGE}{act.title}", f"{act.version}.0", on_branch=False)
    state = "approved" if act.approved else "not approved: nobody has looked at it yet"
    if act.approved:
        approve(project, made.version.ref)
    say(f"{made.version.ref}: {summary.num_images} images, committed and pushed, {state}")


def _broken_claims(act: Act, code: int, report: RunReport, project: Path) -> list[str]:
    """Return what the act did not do that it is there to do; a demo that ran here before finds its models again."""
    from flows.summary import metrics

    broken = [] if code in act.exit_codes else [f"ended with exit code {code}, expected {' or '.join(map(str, act.exit_codes))}"]
    seen_before = any(line.name == "register" and line.state == "skipped" for line in report.stages)
    if act.version == "1.2":
        if not any(line.name == "validate" and line.state == "refused" for line in report.stages):
            broken.append("validation did not stop the damaged data")
    elif seen_before:
        say("this bundle was registered by an earlier demo: it was found, not registered twice")
    elif report.outcome != "promoted":
        broken.append(f"the challenger was not promoted: {report.headline}")
    if act.version == "1.1" and (accuracy := metrics(report, project).get("accuracy", 0.0)) < _MIN_ACCURACY:
        broken.append(f"test accuracy {accuracy:.2%}; at least {_MIN_ACCURACY:.0%} was expected")
    return broken


def _keep(project: Path, number: int) -> None:
    """Keep the act's pages: the next act writes its own in their place."""
    folder = project / ".darkroom" / "demo" / f"act-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(project / "reports" / "index.html", folder / "index.html")
    if (project / "reports" / "validation").is_dir():
        shutil.copytree(project / "reports" / "validation", folder / "validation")


def _put_back(project: Path) -> None:
    """Bring the good data and its reports back, so that the checkout is as the second act left it."""
    kept, record = project / ".darkroom" / "demo", f"data/{demo_versions.NAME}.dvc"
    good = git(project, "show", f"{demo_versions.NAME}@v1.1.0:./{record}", check=False)
    if good is None:
        return
    (project / record).write_text(good + "\n", encoding="utf-8")
    with opened(project) as repo:
        repo.checkout(force=True)
    if (kept / "act-2" / "index.html").exists():
        shutil.copyfile(kept / "act-2" / "index.html", project / "reports" / "index.html")


def _curtain(wrong: list[str], seconds: float, project: Path) -> int:
    from flows.status import num_stale

    if not wrong and (stale := num_stale(project)):
        wrong = [f"{stale} stages are out of date after the demo"]
    if wrong:
        for claim in wrong:
            say(f"the demo failed: {claim}")
        return 1
    print(f"\nThree acts in {seconds:.0f} s. The champion learnt from digits 1.1; data/digits is at 1.1 again, and a run now has nothing to do.")
    print(f"{'act 2, the report':<30}{project / 'reports' / 'index.html'}")
    print(f"{'act 3, what was wrong':<30}{project / '.darkroom' / 'demo' / 'act-3' / 'validation' / 'failures.csv'}")
    print(f"{'who became champion, and why':<30}darkroom models history")
    print(f"{'the versions of the data':<30}darkroom data log digits; darkroom data diff digits 1.0.0 1.1.0")
    print(f"{'nothing changed, nothing done':<30}darkroom run")
    return 0
