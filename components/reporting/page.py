"""The run as one self-contained HTML page: readable on a phone, printable, nothing loaded from anywhere."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from components.files import replacing
from components.pages import environment
from components.records import Interval, Verdict
from components.registry.decision import Decision
from components.reporting import sources
from components.reporting.charts import interval_chart
from components.reporting.records import RunReport

_OUTCOMES = {
    "promoted": ("good", "promoted"),
    "kept": ("fair", "champion kept"),
    "refused": ("bad", "refused"),
    "stopped": ("fair", "stopped"),
    "failed": ("bad", "failed"),
    "unchanged": ("calm", "nothing to do"),
}

_SPELT = {
    **{"miou": "mIoU", "iou": "IoU", "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ar": "AR", "voc": "VOC"},
    **{"f": "F", "f1": "F1", "top3": "top-3", "top5": "top-5"},
}


def write_page(report: RunReport, root: Path, out: Path) -> None:
    """Write the page of a run.

    What stages left under `root` is shown as far as they ran, were skipped or refused in this run; the rest is left out.

    Args:
        report: What happened.
        root: The folder with reports/ and models/.
        out: The file to write, for example reports/index.html.

    Raises:
        DataError: A stage that is said to have run left a damaged record.
    """
    html = render(report, root)
    with replacing(out) as file:
        file.write_text(html, encoding="utf-8")


def render(report: RunReport, root: Path) -> str:
    """Return the page of a run; see `write_page`."""
    stages = sources.reached(report.stages)
    validation = sources.read_validation(root) if "validate" in stages and (root / sources.VERDICT).exists() else None
    evaluation = sources.read_evaluation(root) if "evaluate" in stages and (root / sources.METRICS).exists() else None
    longest = max((stage.seconds or 0 for stage in report.stages), default=0)
    tone, chip = _OUTCOMES[report.outcome]
    if report.outcome == "kept" and report.decision is not None and report.decision.champion is None:
        chip = "not promoted"  # there is no champion to be kept
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            tone=tone,
            chip=chip,
            dataset=report.dataset or (validation.verdict.dataset if validation else None),
            longest=max(longest, 1e-9),
            validation=validation,
            expectations=_by_importance(validation.verdict) if validation else [],
            evaluation=evaluation,
            explanation=sources.read_explanation(root) if "explain" in stages and (root / sources.EXPLANATION).exists() else None,
            curves=sources.read_curves(root, stages),
            artifacts=sources.read_artifacts(root, stages),
            preview=sources.picture(root / "reports/augmentation/policy.png") if "augment" in stages else None,
            contest=_contest(report.decision),
        )
    )


def _by_importance(verdict: Verdict) -> list[Any]:
    return sorted(verdict.expectations, key=lambda one: (one.success, one.level != "fail"))


def _contest(decision: Decision | None) -> dict[str, Markup] | None:
    """Return the charts of champion against challenger."""
    comparison = decision.comparison if decision else None
    if decision is None or comparison is None:
        return None
    rows = [(decision.champion or "champion", "a", comparison.a), (decision.challenger, "b", comparison.b)]
    return {"models": Markup(interval_chart(rows)), "gain": Markup(interval_chart([("gain, points", "b", comparison.gain)], zero=0.0))}  # noqa: S704 - escaped there


def _environment() -> Environment:
    own = environment("components.reporting")
    own.filters |= {
        "percent": _percent,
        "bare": _bare,
        "moment": _moment,
        "points": _points,
        "span": _span,
        "seconds": _seconds,
        "size": _size,
        "label": _label,
        "words": _words,
        "heading": _heading,
        "svg": Markup,
    }
    return own


def _percent(share: float | None) -> str:
    return "–" if share is None or math.isnan(share) else f"{100 * share:.2f}%"


def _bare(share: float) -> str:
    """A share in percent beside others that bear the sign."""
    return f"{100 * share:.2f}"


def _points(share: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * share:+.2f}".replace("-", "−")


def _span(interval: Interval) -> str:
    return f"{100 * interval.low:.2f} to {100 * interval.high:.2f}".replace("-", "−")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"


def _size(num_bytes: int | None) -> str:
    if num_bytes is None:
        return "–"
    return f"{num_bytes / 1e6:.2f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"


def _label(name: str) -> str:
    """A metric's key for people."""
    averaged = {"f1", "precision", "recall"}
    return "negative log-likelihood" if name == "nll" else f"{_words(name)} (macro)" if name in averaged else _words(name)


def _words(name: str) -> str:
    """A key for people, its acronyms as they are written."""
    return " ".join(_SPELT.get(word, word) for word in name.split("_"))


def _heading(name: str) -> str:
    """A metric's key at the head of something."""
    label = _label(name)
    return label[0].upper() + label[1:] if label.split()[0].islower() else label
