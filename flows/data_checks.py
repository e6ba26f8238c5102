"""The command `darkroom data check`: the stage validate's own check, on its own, against the version that was approved last."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from components.config import read_params, section_of
from components.errors import ConfigError, InputError, TransientError

REPORTS = Path("reports")


def check_data(project: Path, name: str, against: str | None, labels: bool | None, ray_address: str | None, as_json: bool) -> tuple[str, int]:
    """Check data/NAME, and return what to print and the exit code: 3 where it may not be trained on.

    Args:
        project: The checkout.
        name: The dataset.
        against: NAME@v1.2.0 or a dataset's folder to compare with, `none`; None: the version that was approved last, if there is one.
        labels: Whether to look for likely wrong labels; None: as params.yaml says.
        ray_address: A Ray cluster that looks at the images; None: this machine.
        as_json: Return the verdict as JSON.
    """
    from components import datasets
    from components.datasets.checks.check import check
    from components.datasets.checks.config import ValidateConfig
    from components.datasets.checks.report import failed_of, headline, line_of, told_of
    from components.datasets.dataset import Dataset
    from components.datasets.versions.tags import approved_version

    if "@" in name or "/" in name:
        raise ConfigError(f"found '{name}'; expected the name of a dataset in data/. `darkroom data get {name} --out DIR` brings a version")
    config = section_of(read_params(project / "params.yaml"), ValidateConfig)
    if labels is not None:
        config = config.model_copy(update={"levels": config.levels.model_copy(update={"label_errors": "warn" if labels else "off"})})
    out = REPORTS / "check" / name
    notes = []
    with ExitStack() as stack:
        reference = None
        if against is None and config.levels.drift != "off" and (approved := approved_version(project, name)):
            ref = f"{name}@v{approved}"
            try:
                reference = stack.enter_context(datasets.open(ref, project))
            except (InputError, TransientError) as error:
                notes.append(f"not compared with {ref}: {error}")
        elif against not in (None, "none"):
            folder = Path(str(against))
            reference = stack.enter_context(Dataset.of_folder(folder) if folder.is_dir() else datasets.open(str(against), project))
        quarantine = REPORTS / "import" / name / "quarantine.csv"
        findings = check(config, project / "data" / name, project / out, reference, project / quarantine, ray_address)
        if reference is not None:
            notes.append(f"compared with {reference.info.name} {reference.info.version}")
    verdict, code = findings.verdict, 0 if findings.verdict.passed else 3
    if as_json:
        return json.dumps({**verdict.model_dump(mode="json"), "page": str(out / "index.html")}, indent=2), code
    lines = [f"✗ {line_of(outcome)}" for outcome in failed_of(findings.outcomes)]
    lines += [f"! {line_of(outcome)}" for outcome in told_of(findings.outcomes)]
    return "\n".join([*lines, *notes, f"{headline(verdict, findings.outcomes)}; see {out}/index.html"]), code
