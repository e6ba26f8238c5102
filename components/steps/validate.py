"""validate: may this data be trained on? Great Expectations judges the manifest and what was measured of each image."""

from __future__ import annotations

import logging
from pathlib import Path

from components.datasets.checks.check import check
from components.datasets.checks.config import ValidateConfig
from components.datasets.checks.report import headline, refusal_of
from components.datasets.dataset import Dataset
from components.errors import GateRefused
from components.records import Verdict

log = logging.getLogger(__name__)


def validate(config: ValidateConfig, data: Path, out: Path, reference: Path | None = None) -> Verdict:
    """Judge a dataset, and write the report whatever the verdict is.

    Args:
        config: The section `validate` of params.yaml.
        data: The dataset's folder.
        out: The folder for the report, see `datasets.checks.check`.
        reference: The folder of a version that this one is compared with; None: with none.

    Raises:
        GateRefused: The data may not be trained on; names what broke which rule.
        DataError: There is no dataset that could be judged.
    """
    if reference is None:
        findings = check(config, data, out)
    else:
        with Dataset.of_folder(reference) as before:
            findings = check(config, data, out, before)
    if not findings.verdict.passed:
        raise GateRefused(refusal_of(findings.verdict, findings.outcomes, out))
    log.info("%s; see %s", headline(findings.verdict, findings.outcomes), out / "index.html")
    return findings.verdict
