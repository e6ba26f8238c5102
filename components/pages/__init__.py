"""How the pages for people look: one style sheet, templates that find it."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def environment(package: str) -> Environment:
    """Return what renders the templates of a package; `page.css` can be included in each. Values are escaped, unknown ones are errors."""
    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("components.pages", ".")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
