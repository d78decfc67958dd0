"""The values of the configuration that name files or folders."""

from dataclasses import asdict

import pytest

from hia.config import Config, load_config
from hia.config.types import map_paths
from tests.conftest import TINY_CONFIG

ALWAYS = (
    *("codec.weights", "face_embedder", "preprocess.test_list"),
    *(f"preprocess.pose.{key}" for key in ("detector", "pose", "feet")),
)
PARTS = tuple(f"pretrained.{key}" for key in ("unet", "controlnet", "motion", "image_encoder"))


def values(config: Config) -> dict[str, object]:
    def leaves(nested: dict[str, object], path: str) -> dict[str, object]:
        flat: dict[str, object] = {}
        for key, value in nested.items():
            flat |= leaves(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
        return flat

    return leaves(asdict(config), "")


@pytest.mark.parametrize("start", [("pretrained.model",), PARTS])
def test_all_values_that_name_files_or_folders_are_changed_and_no_others(start: tuple[str, ...]) -> None:
    keys = (*ALWAYS, *start)
    before = load_config(TINY_CONFIG, ["codec.kind=taesd", "codec.factor=null", *(f"{key}=arcface" for key in keys)])
    after = map_paths(before, lambda name: f"/absolute/{name}")
    assert values(after) == values(before) | {key: "/absolute/arcface" for key in keys}


def test_values_that_are_not_set_stay_so() -> None:
    config = load_config(TINY_CONFIG, ["face_embedder=null"])
    assert map_paths(config, lambda name: f"/absolute/{name}").face_embedder is None
