"""Sections of params.yaml as typed objects. A step sees only the sections that its signature names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.errors import ConfigError


class Section(BaseModel):
    """A section of params.yaml; ``section`` is its name there. Unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    section: ClassVar[str]


class DataConfig(Section):
    """Which dataset a run is about."""

    section: ClassVar[str] = "data"
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


def _image_size(value: object) -> object:
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(type(side) is int and 4 <= side <= 4096 for side in sides):
        raise ValueError("expected pixels, 4 to 4096: one number for height and width, or [height, width]")
    return value


ImageSize = Annotated[int | list[int], BeforeValidator(_image_size)]


class TaskConfig(Section):
    """What is learnt, and the form in which every step after `augment` sees an image."""

    section: ClassVar[str] = "task"
    name: str
    image_size: ImageSize = Field(description="height and width in pixels, or [height, width]: the aspect ratio that most images have wastes least")
    finetune_image_size: ImageSize | None = Field(default=None, description="null: as image_size")
    channels: Literal[1, 3] = 3
    resize: Literal["stretch", "crop", "letterbox"] = "stretch"

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels while training."""
        return _sides(self.image_size)

    @property
    def finetune_size_hw(self) -> tuple[int, int]:
        """Height and width in pixels from finetune on."""
        return _sides(self.finetune_image_size or self.image_size)


def _sides(size: int | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


SectionT = TypeVar("SectionT", bound=Section)


def read_params(path: Path) -> dict[str, Any]:
    """Return params.yaml as nested dicts.

    Raises:
        ConfigError: The file is missing, is no YAML or holds no mapping.
    """
    try:
        params = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))  # YAML 1.2, as DVC: 1e-3 is a number
    except FileNotFoundError:
        raise ConfigError(f"{path} not found. Run the command in the folder that holds params.yaml") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path}: expected sections with keys, found {type(params).__name__}")
    return params


def with_overrides(params: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Put values into `params` in place, and return it.

    Args:
        params: The whole of params.yaml, as `read_params` returns it, or as ruamel.yaml reads it with its comments.
        overrides: Values by dotted key, for example ``{"train.lr": 0.003}``.

    Raises:
        ConfigError: A key leads through something that has no keys.
    """
    for key, value in overrides.items():
        *path, last = key.split(".")
        inner: Any = params
        for part in path:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: found no section of params.yaml there; expected SECTION.KEY=VALUE")
        inner[last] = value
    return params


def section_of(params: dict[str, Any], section: type[SectionT], source: str = "params.yaml") -> SectionT:
    """Return one section of `params`, checked.

    Args:
        params: The whole of params.yaml, as `read_params` returns it.
        section: The class of the section wanted.
        source: What the error calls the place where the values stand.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type or is out of bounds.
    """
    values = params.get(section.section, {})
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: {section.section}: expected keys with values, found {values!r}")
    try:
        return section.model_validate(values)
    except ValidationError as error:
        lines = [_explain(section, detail) for detail in error.errors()]
        raise ConfigError("\n".join(f"{source}: {line}" for line in lines)) from None


def _explain(section: type[Section], detail: ErrorDetails) -> str:
    where = ".".join([section.section, *(str(part) for part in detail["loc"])])
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        keys = _keys_beside(section, detail["loc"])
        near = difflib.get_close_matches(key, keys, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"{where}: unknown key.{hint} There are: {', '.join(sorted(keys))}"
    if detail["type"] == "missing":
        return f"{where}: missing; a value is needed"
    if detail["type"] == "value_error":  # a check of ours: it says itself what was expected
        return f"{where}: found {detail['input']!r}; {detail['msg'].removeprefix('Value error, ')}"
    return f"{where}: found {detail['input']!r}; expected {detail['msg'].removeprefix('Input should be ')}"


def _keys_beside(section: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = section
    for part in loc[:-1]:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return list(model.model_fields)
