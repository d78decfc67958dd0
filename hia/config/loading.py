"""From YAML files and `key=value` overrides to a `Config`."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from hia.config.run import Config


class ConfigError(ValueError):
    """A configuration that cannot be used: says which key, which value, and what is allowed."""


def load_config(name: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Load a preset by name or a YAML file by path, then apply `key.path=value` overrides.

    An override `base=NAME` replaces the file's own `base:` by another preset or file, so that one ablation serves all
    presets. Raises ConfigError naming the file and the key for anything unknown, ill-typed or out of range.
    """
    changes = [_nested(*parse_override(override)) for override in overrides]
    bases = [str(change.pop("base")) for change in changes if "base" in change]
    values = _read(config_path(name), (), config_path(bases[-1]) if bases else None)
    for change in changes:
        values = _merge(values, change)
    return parse_config(values, source=str(name))


def parse_config(values: dict[str, Any], source: str = "config") -> Config:
    """Check plain values (as read from YAML or JSON) and freeze them. Raises ConfigError."""
    try:
        return TypeAdapter(Config).validate_python(_merge(asdict(Config(preset="")), values))
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error)}") from None


def config_path(name: str | Path) -> Path:
    """Path of a preset (`small`) or of a YAML file. Raises ConfigError when there is none."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"no such configuration file: {path}")
        return path
    if (preset := preset_folder() / f"{name}.yaml").is_file():
        return preset
    raise ConfigError(f"unknown preset {str(name)!r}: choose one of {', '.join(presets())}, or give a .yaml file")


def presets() -> list[str]:
    """Names of the presets: the YAML files of their folder, sorted."""
    return sorted(file.stem for file in preset_folder().glob("*.yaml"))


def preset_folder() -> Path:
    """Folder of the presets and the weights shipped with them: in a checkout, or in the installed package."""
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent / "experiments" / "presets"
    return checkout if checkout.is_dir() else package / "presets"


def _read(path: Path, descendants: tuple[Path, ...], other_base: Path | None = None) -> dict[str, Any]:
    """Values of a file over those of its `base:`, or of another one. A preset gives its name, an ablation does not."""
    path = path.resolve()
    if path in descendants:
        raise ConfigError(f"base: goes round in a circle at {path}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, found a {type(values).__name__}")
    named, base = {"preset": path.stem}, values.pop("base", None)
    if base is None and other_base is None:
        return named | values
    beside = path.parent / str(base)
    found = other_base or (beside if beside.is_file() else config_path(str(base)))
    under = _read(found, (*descendants, path))
    return _merge(under if "ablation" in values else under | named, values)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`changes` over `base`, key by key; lists are replaced as a whole."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def parse_override(text: str) -> tuple[str, Any]:
    """Read `key.path=value`: the dotted key, and the value. Raises ConfigError.

    The value of a key for text is what was typed, without any meaning of `#` or quotes in it; `null` and nothing at all
    are None where the key permits that. Other values are read as YAML, in which `010` is ten, not octal.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise ConfigError(f"override {text!r}: expected key=value, such as schedule.gamma=0.5")
    kinds = _text_kinds(key.split("."))
    if str in kinds:
        return key, None if type(None) in kinds and value in ("", "null", "~") else value
    try:
        return key, yaml.load(value, _PlainLoader)
    except yaml.YAMLError:
        raise ConfigError(f"override {text!r}: {value!r} is not readable as a YAML value") from None


class _PlainLoader(yaml.SafeLoader):
    """YAML without octal, sexagesimal and dated scalars: nobody who types 010 or 1:30 means 8 or 90."""


_NUMBER, _DATE = "tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp"
_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_NUMBER, _DATE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(_NUMBER, re.compile(r"[-+]?[0-9]+$"), list("-+0123456789"))
_PlainLoader.add_constructor(_NUMBER, lambda _loader, node: int(node.value))


def _text_kinds(path: Sequence[str]) -> tuple[type, ...]:
    """(str,) or (str, NoneType) for a key whose values are texts; () for any other key, also for an unknown one."""
    if list(path) == ["base"]:
        return (str,)
    hint: Any = Config
    for name in path:
        hint = get_type_hints(hint).get(name) if is_dataclass(hint) else None
    members = get_args(hint) if isinstance(hint, UnionType) or get_origin(hint) is Union else (hint,)
    kinds = {str if get_origin(one) is Literal and isinstance(get_args(one)[0], str) else one for one in members}
    return tuple(kinds) if str in kinds and kinds <= {str, type(None)} else ()


def _nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def explain(error: ValidationError) -> str:
    """One line with path, value and allowed values of each wrong key."""
    return "; ".join(_explain(item) for item in error.errors())


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        allowed = _keys_at(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), allowed, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        return f"unknown key {path} = {error['input']!r}{guess}; allowed here: {', '.join(allowed)}"
    message = error["msg"].removeprefix("Value error, ")
    if not path or not isinstance(error["input"], (str, int, float, list)):
        return f"{path}: {message}".removeprefix(": ")
    return f"{path} = {error['input']!r}: {message}"


def _keys_at(location: Sequence[Any]) -> list[str]:
    """Names of the keys allowed at a place in the configuration."""
    default: Any = Config(preset="")
    for part in location:
        default = getattr(default, str(part), None)
    return sorted(field.name for field in fields(default)) if is_dataclass(default) else []
