"""Object stores, found by the scheme of their URI. boto3 is imported here alone."""

from __future__ import annotations

from components.errors import ConfigError
from components.protocols import ObjectStore, plugin, plugin_names


def open_store(uri: str) -> ObjectStore:
    """Return the object store of a URI.

    Raises:
        ConfigError: The URI has no scheme, or one that no store fits.
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        known = ", ".join(f"{name}://" for name in plugin_names("components.storage"))
        raise ConfigError(f"'{uri}' is no URI of an object store; expected one that begins with {known}")
    store: ObjectStore = plugin("components.storage", "object store", scheme)(uri)
    return store
