"""The file of a table: rows, each a configuration over one base, with the paper's figures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from hia.config import Config, ConfigError, load_config
from hia.config.loading import config_path, explain, presets

STRICT = ConfigDict(extra="forbid")
HERE = Path(__file__).resolve().parent
SMOKE = "smoke"
Dataset = Literal["humandance", "tiktok"]
PaperFigures = tuple[float, float, float, float, float, float, float]
"""In the paper's order: L1, PSNR, SSIM, LPIPS, FID, FID-VID, FVD."""


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Row:
    """A row of a table. file: changes over the base, beside the table's file, None for none; paper: by dataset."""

    name: str
    file: str | None = None
    paper: dict[Dataset, PaperFigures]

    def config(self, base: str, changes: Sequence[str]) -> Config:
        """The row's configuration over a preset or YAML file. Raises ConfigError."""
        if self.file is None:
            return load_config(base_path(base), changes)
        return load_config(HERE / self.file, [f"base={base_path(base)}", *changes])


@dataclass(config=STRICT, frozen=True, kw_only=True)
class Table:
    """A table. title: the difference between its rows."""

    title: str
    rows: tuple[Row, ...]


def load_table(number: int) -> Table:
    """Load table 1, 2 or 3 of the paper."""
    path = HERE / f"table_{number}.yaml"
    try:
        return TypeAdapter(Table).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error)}") from None


def base_path(base: str) -> Path | str:
    """Resolve `smoke`, a preset, or a YAML file. Raises ConfigError."""
    if base == SMOKE:
        return HERE / f"{SMOKE}.yaml"
    try:
        return str(config_path(base))
    except ConfigError as error:
        if Path(base).suffix:
            raise
        raise ConfigError(
            f"unknown preset {base!r}: choose one of {', '.join((SMOKE, *presets()))}, or a .yaml file"
        ) from error


def base_config(base: str, changes: Sequence[str], data: str | None) -> Config:
    """The base configuration of all rows. Raises ConfigError."""
    config = load_config(base_path(base), changes)
    return config if data is None else replace(config, data=data)


def configs_of(table: Table, base: str, changes: Sequence[str], data: str | None) -> list[Config]:
    """The configurations of all rows, in order. Raises ConfigError naming the row that cannot be."""
    configs = []
    for row in table.rows:
        try:
            config = row.config(base, changes)
        except ConfigError as error:
            raise ConfigError(f"row {row.name!r}: {error}") from None
        configs.append(config if data is None else replace(config, data=data))
    return configs
