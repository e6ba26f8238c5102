"""`darkroom data approve` and `revoke`: which version is trained on by itself, and is what drift is measured against."""

from __future__ import annotations

from pathlib import Path

from components.datasets.versions import tags
from components.datasets.versions.commit import check_identity, last_checks
from components.datasets.versions.tags import Version
from components.errors import ConfigError, GateRefused


def approve(project: Path, ref: str, reason: str = "") -> tuple[Version, str | None]:
    """Approve NAME@v1.3.0.

    Returns:
        The version, and the tag that says so; None where it was approved already.

    Raises:
        ConfigError: There is no such version.
        GateRefused: The last check of exactly these images, before the commit or after it, said that they may not be trained on.
    """
    version = _version(project, ref)
    if version.state == "approved":
        return version, None
    record = version.record
    checks = (last_checks(project, version.name, record.manifest_digest) or record.checks) if record else None
    if checks is not None and not checks.passed:
        raise GateRefused(
            f"{version.ref} did not pass its checks: {', '.join(checks.failed)}. "
            "Put that right and commit a new version, or change the thresholds in params.yaml"
        )
    return version, tags.assign(project, version, True, reason or f"{version.ref} may be trained on")


def revoke(project: Path, ref: str, reason: str = "") -> tuple[Version, str | None]:
    """Take back what `approve` said; returns as it does.

    Raises:
        ConfigError: There is no such version, or it is not approved.
    """
    version = _version(project, ref)
    if version.state == "revoked":
        return version, None
    if version.state is None:
        raise ConfigError(f"{version.ref} is not approved, so there is nothing to revoke; darkroom data log {version.name} shows which are")
    return version, tags.assign(project, version, False, reason or f"{version.ref} may not be trained on any more")


def _version(project: Path, ref: str) -> Version:
    name, number = tags.parse_ref(ref)
    if number is None:
        raise ConfigError(f"found '{ref}'; expected a version as in {name}@v1.3.0: the working copy cannot be approved")
    check_identity(project)
    return tags.find(project, name, number)
