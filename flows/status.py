"""What a run would do, told beforehand."""

from __future__ import annotations

from pathlib import Path

from flows.parameters import dataset_name
from flows.pipeline import Pipeline


def status_text(project: Path, until: str | None) -> str:
    """Return which stages would run and why, one line each.

    Args:
        project: The checkout.
        until: The last stage to look at, or None for all.
    """
    dataset_name(project, {})
    pipeline = Pipeline(project)
    try:
        pipeline.check_data()
        lines, causes, stale = [], dict[str, str](), 0
        for stage in pipeline.stages(until):
            name = stage.addressing
            reasons = pipeline.reasons(stage)
            if reasons:
                for other in pipeline.following(stage):
                    causes.setdefault(other, name)
            if name in causes and reasons != ["has not run yet"]:
                reasons.append(f"follows {causes[name]}, if that comes out different")
            stale += bool(reasons)
            lines.append(f"{name:<28}{'; '.join(reasons) if reasons else 'up to date'}")
    finally:
        pipeline.close()
    end = f"{stale} of {len(lines)} stages would run: darkroom run" if stale else "everything is up to date"
    return "\n".join([*lines, "", end])


def num_stale(project: Path) -> int:
    """Return how many stages are out of date."""
    pipeline = Pipeline(project)
    try:
        return sum(bool(pipeline.reasons(stage)) for stage in pipeline.stages())
    finally:
        pipeline.close()
