"""`darkroom data log`: the versions of a dataset, the newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.datasets.versions.tags import Version, released, versions
from components.errors import ConfigError

_NUM_CLASSES = 4


def log_rows(project: Path, name: str) -> list[dict[str, Any]]:
    """Return one row a version, the newest first: version, date, who, num_images, class_counts, checks, state, used, forgotten, message, tag, commit.

    `used` marks the version that scheduled retraining takes and drift is measured against.

    Raises:
        ConfigError: There are no versions.
    """
    known = versions(project, name)
    if not known:
        raise ConfigError(f"{name} has no versions yet; darkroom data commit {name} -m TEXT makes the first")
    used = released(known)
    return [_row(version, version is used) for version in known]


def log_text(rows: list[dict[str, Any]], name: str) -> str:
    """Return the rows for a terminal: two lines a version."""
    lines = []
    for row in rows:
        marks = [
            row["state"] or "",
            f"forgotten: {row['forgotten']} images" if row["forgotten"] else "",
            "used for retraining" if row["used"] else "",
        ]
        head = [f"{name}@v{row['version']}", row["date"][:16].replace("T", " "), row["who"], _images(row), _checks(row), *marks]
        lines += ["  ".join(part for part in head if part), f"    {_first_line(row['message'])}"]
    if not any(row["state"] for row in rows):
        lines.append(f"no version was ever approved, so the newest is used: darkroom data approve {name}@v{rows[0]['version']}")
    return "\n".join(lines)


def _row(version: Version, used: bool) -> dict[str, Any]:
    record = version.record
    return {
        "version": version.version,
        "date": version.date,
        "who": version.who,
        "num_images": record.num_images if record else None,
        "class_counts": record.class_counts if record else None,
        "checks": record.checks.model_dump() if record and record.checks else None,
        "state": version.state,
        "used": used,
        "forgotten": len(record.forgotten) if record else 0,
        "message": version.message,
        "tag": version.tag,
        "commit": version.commit,
    }


def _images(row: dict[str, Any]) -> str:
    if row["num_images"] is None:
        return ""
    if not any(row["class_counts"].values()):  # of masks nobody counted
        return f"{row['num_images']} images"
    counts = sorted(row["class_counts"].items(), key=lambda item: -item[1])
    rest = f", {len(counts) - _NUM_CLASSES} more" if len(counts) > _NUM_CLASSES else ""
    return f"{row['num_images']} images ({', '.join(f'{label} {count}' for label, count in counts[:_NUM_CLASSES])}{rest})"


def _checks(row: dict[str, Any]) -> str:
    checks = row["checks"]
    if checks is None:
        return "not checked"
    if not checks["passed"]:
        return f"checks failed: {', '.join(checks['failed'])}"
    warned = len(checks["warned"])
    return "checks passed" + (f", {warned} warning{'s' * (warned > 1)}" if warned else "")


def _first_line(message: str) -> str:
    return message.splitlines()[0] if message else "no message"
