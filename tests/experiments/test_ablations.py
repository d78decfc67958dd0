"""The paper's ablations and baselines: small files of changes over any preset, that build, train and animate."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from hia.animation.inference import animate
from hia.conditions.driving import driving_signal
from hia.config import Config, Stage, load_config
from hia.data.sampling.sample import Regions
from hia.models.animation_model import AnimationModel
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.pose.keypoints import KeypointSequence
from hia.training.batch import Batch
from hia.training.step import Supervision, training_loss

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments"
SAMPLING = sorted((EXPERIMENTS / "ablations" / "sampling").glob("*.yaml"))
TRAINED = [*sorted((EXPERIMENTS / "ablations").glob("*.yaml")), *sorted((EXPERIMENTS / "baselines").glob("*.yaml"))]
ALL = [*TRAINED, *SAMPLING]
PRESETS = ("quickstart", "small", "paper")

WITHOUT_WEIGHTS = "pretrained={model: null, unet: null, controlnet: null, motion: null, image_encoder: null}"
TINY = (
    f"base={ROOT / 'tests' / 'tiny.yaml'}",
    *("width=32", "height=48", "network.block_out_channels=[32,64]", "network.attention_levels=[true,true]"),
    *("network.cross_attention_dim=16", "sampling.steps=2", "sampling.window=4", "sampling.overlap=1"),
)


def over(preset: str, file: Path) -> Config:
    return load_config(file, [f"base={preset}"])


def named(file: Path) -> str:
    return file.stem


def test_there_is_a_file_for_every_row_of_the_papers_tables():
    assert {file.stem for file in EXPERIMENTS.glob("ablations/*.yaml")} == {
        *("no_regional", "finetune_all", "no_blur", "default_schedule")
    }
    assert {file.stem for file in EXPERIMENTS.glob("baselines/*.yaml")} == {
        *("magic_animate_style", "animate_anyone_style", "champ_style")
    }
    assert len(SAMPLING) == 5


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("file", ALL, ids=named)
def test_a_file_changes_what_it_names_and_nothing_else(file, preset):
    changed, base = over(preset, file), load_config(preset)
    assert (changed.preset, changed.ablation) == (preset, yaml.safe_load(file.read_text())["ablation"])
    touched = set(yaml.safe_load(file.read_text())) - {"base", "ablation"}
    for name in set(vars(base)) - touched - {"ablation"}:
        assert getattr(changed, name) == getattr(base, name), name
    assert any(getattr(changed, name) != getattr(base, name) for name in touched) or (
        file.stem in ("all", "default_schedule")  # what the base does anyway
    )


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("file", [file for file in TRAINED if file.stem.endswith(("_style", "_blur"))], ids=named)
def test_its_networks_can_be_built_in_every_size(file, preset):
    config = load_config(file, [f"base={preset}", WITHOUT_WEIGHTS])
    with torch.device("meta"):
        animator, _ = build_animator(config, motion=True)
    for stage in config.stages.in_order():
        animator.train_only(stage.trains)
        assert any(parameter.requires_grad for parameter in animator.parameters())


# -------------------------------------------------------------------------------- what each of them is, by the paper


def test_the_rows_of_table_2():
    def row(name: str) -> Config:
        return over("paper", EXPERIMENTS / "ablations" / f"{name}.yaml")

    assert [stage.name for stage in row("no_regional").stages.in_order()] == [
        "spatial",
        "temporal_half",
        "temporal_full",
    ]
    assert set(row("finetune_all").stages.regional.trains) == {"appearance_encoder", "controlnet", "unet"}
    assert row("no_blur").conditions.channels == {"skeleton": 3}
    assert row("default_schedule").gamma == 1 != load_config("paper").gamma


def test_the_rows_of_table_3_are_the_five_combinations():
    found = set()
    for file in SAMPLING:
        sampling = over("paper", file).sampling
        found.add((sampling.guidance == "animation", sampling.shift_windows, sampling.initial_noise == "reference"))
        assert sampling.guidance in ("none", "animation")
    assert found == {(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)}


@pytest.mark.parametrize("file", sorted((EXPERIMENTS / "baselines").glob("*.yaml")), ids=named)
def test_the_baselines_have_none_of_the_papers_own_means(file):
    config = over("paper", file)
    assert config.gamma == 1 and not config.conditions.blur
    assert config.sampling.guidance == "reference" and config.sampling.initial_noise == "gaussian"
    stages = list(config.stages.in_order())
    assert [stage.frames > 1 for stage in stages] == [False, True], "one spatial and one temporal stage"
    assert not any(stage.losses.regional for stage in stages) and {stage.resolution_scale for stage in stages} == {1.0}
    assert {stage.dropped for stage in stages} == {"reference"}, "guidance by the reference needs its null branch"


def test_what_tells_the_baselines_apart():
    magic, anyone, champ = (
        over("paper", EXPERIMENTS / "baselines" / f"{name}_style.yaml")
        for name in ("magic_animate", "animate_anyone", "champ")
    )
    assert magic.network.pose_branch == "controlnet" and "unet" not in magic.stages.spatial.trains
    assert anyone.network.pose_branch == champ.network.pose_branch == "pose_guider"
    assert anyone.schedule == champ.schedule and anyone.schedule.zero_terminal_snr
    assert (len(anyone.conditions.channels), len(champ.conditions.channels)) == (1, 4)


# ----------------------------------------------------------------------------------------------- they train and animate


def batch(config: Config, stage: Stage, generator: torch.Generator) -> Batch:
    frames, width, height = (
        min(stage.frames, 3),
        *(round(x * stage.resolution_scale) for x in (config.width, config.height)),
    )
    factor, channels = config.codec.pixels_per_latent, config.codec.latent_channels

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(2, *shape, generator=generator)

    latents = draw(frames, channels, height // factor, width // factor)
    masks = (draw(frames, 1, height, width) < 0.2).float()
    return Batch(
        latents=latents,
        reference_latents=latents[:, 0],
        control=draw(frames, config.conditions.num_channels, height, width),
        image_token=draw(1, config.network.cross_attention_dim),
        images=draw(frames, 3, height, width) * 2 - 1,
        regions=Regions(
            face_mask=masks,
            hand_mask=masks,
            five_points=torch.zeros(2, frames, 5, 2),
            face_usable=torch.zeros(2, frames, dtype=torch.bool),
        ),
    )


@pytest.mark.parametrize("file", TRAINED, ids=named)
def test_a_step_of_every_stage_trains_what_the_stage_names(file, generator, as_if_trained):
    config = load_config(file, TINY)
    animator = as_if_trained(build_animator(config, motion=True)[0])
    schedule = AnimationModel(config, animator, build_codec(config.codec)).schedule
    for stage in config.stages.in_order():
        animator.train_only(stage.trains)
        before = {name: value.detach().clone() for name, value in animator.named_parameters()}
        optimizer = torch.optim.SGD([p for p in animator.parameters() if p.requires_grad], lr=1.0)
        loss, _ = training_loss(
            animator,
            schedule,
            batch(config, stage, generator),
            stage,
            generator,
            Supervision(build_codec(config.codec)),
        )
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
        trained = {id(parameter) for part in stage.trains for parameter in animator.part(part)}
        changed = {id(p) for name, p in animator.named_parameters() if not torch.equal(p, before[name])}
        assert changed <= trained and len(changed) > 0.8 * len(trained)
        restore(animator, before)


@torch.no_grad()
def restore(animator: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    for name, parameter in animator.named_parameters():
        parameter.copy_(weights[name])
        parameter.grad = None


@pytest.mark.parametrize("file", ALL, ids=named)
def test_it_animates(file, generator, as_if_trained):
    config = load_config(file, TINY)
    animator = as_if_trained(build_animator(config, motion=True)[0]).eval()
    model = AnimationModel(config, animator, build_codec(config.codec))
    points = np.random.default_rng(0).uniform(5, 40, (6, 133, 2)).astype(np.float32)
    keypoints = KeypointSequence(points, np.ones((6, 133), np.float32), 32, 48, 30.0)
    driving = driving_signal(keypoints, 32, 48, 0.5, config.conditions)
    assert driving.control_image(0).shape == (config.conditions.num_channels, 48, 32)
    picture = np.random.default_rng(1).integers(0, 256, (48, 32, 3)).astype(np.uint8)
    frames = list(animate(model, picture, driving))
    assert len(frames) == 6 and len({frame.tobytes() for frame in frames}) > 1
