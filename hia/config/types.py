"""Types that the settings share; values that name files or folders are marked by theirs, and `map_paths` walks them."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import ConfigDict

Settings = TypeVar("Settings")
Split = Literal["train", "test"]
STRICT = ConfigDict(extra="forbid")  # unknown keys are refused


class NamesPath:
    """Mark of a value that names a file or folder, if there is one of that name; else it is a model's name."""


PathOrName = Annotated[str | None, NamesPath()]
"""A local file or folder, or the name of a model; None for neither. A relative path is seen from the working folder."""


def map_paths(settings: Settings, change: Callable[[str], str]) -> Settings:
    """The same settings with `change` applied to all values of type `PathOrName`, at any depth."""
    assert is_dataclass(settings)
    hints = get_type_hints(type(settings), include_extras=True)
    values = {
        field.name: _changed(getattr(settings, field.name), hints[field.name], change) for field in fields(settings)
    }
    changed = {name: value for name, value in values.items() if value != getattr(settings, name)}
    return replace(settings, **changed) if changed else settings  # type: ignore[type-var]


def _changed(value: Any, hint: Any, change: Callable[[str], str]) -> Any:
    if is_dataclass(value):
        return map_paths(value, change)
    marked = any(isinstance(mark, NamesPath) for mark in getattr(hint, "__metadata__", ()))
    return change(value) if marked and value is not None else value
