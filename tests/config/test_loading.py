"""Configuration: every YAML loads, every mistake is refused with its path, its value and what is allowed."""

from dataclasses import FrozenInstanceError

import pytest

from hia.config import Config, ConfigError, load_config
from hia.config.loading import parse_override
from tests.conftest import REPOSITORY

EXPERIMENTS = REPOSITORY / "experiments"
# These say what to do with configurations; sweeps and tables have tests of their own.
OTHER_KINDS = {*EXPERIMENTS.glob("sweeps/*.yaml"), *EXPERIMENTS.glob("paper_tables/table_*.yaml")}
CONFIGURATIONS = sorted({*EXPERIMENTS.rglob("*.yaml")} - OTHER_KINDS)


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.stem)
def test_every_configuration_of_the_repository_loads(file):
    config = load_config(file)
    assert config.preset == (file.stem if config.ablation is None else "paper")


def test_the_paper_preset_is_the_papers_recipe():
    config = load_config("paper")
    assert (config.width, config.height) == (512, 896)
    assert config.gamma == pytest.approx(512 * 512 / (512 * 896))
    stages = list(config.stages.in_order())
    assert [stage.iterations for stage in stages] == [35_000, 4_000, 20_000, 1_000]
    assert [stage.global_batch_size for stage in stages] == [32, 32, 8, 8]
    assert [stage.resolution_scale for stage in stages] == [1.0, 1.0, 0.5, 1.0]
    assert stages[1].timesteps == (0, 125) and stages[1].trains == ("appearance_encoder",)
    assert [stage.static_clip_probability for stage in stages] == [0, 0, 0, 0.2]


def test_a_base_gives_what_the_file_does_not(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: small\nstages: {spatial: {iterations: 7}}\n")
    mine, small = load_config(tmp_path / "mine.yaml"), load_config("small")
    assert mine.stages.spatial.iterations == 7
    assert mine.stages.spatial.global_batch_size == small.stages.spatial.global_batch_size
    assert mine.codec == small.codec


def test_another_base_can_be_put_under_a_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: paper\nschedule: {gamma: 0.3}\n")
    mine, small = load_config(tmp_path / "mine.yaml", ["base=small"]), load_config("small")
    assert (mine.preset, mine.gamma, mine.network) == ("mine", 0.3, small.network)
    assert load_config(tmp_path / "mine.yaml", ["seed=4", "base=small"]).seed == 4
    with pytest.raises(ConfigError, match="unknown preset 'large'"):
        load_config(tmp_path / "mine.yaml", ["base=large"])


def test_an_ablation_goes_by_the_preset_that_it_is_over(tmp_path):
    (tmp_path / "less.yaml").write_text("base: paper\nablation: less\nseed: 3\n")
    (tmp_path / "still_less.yaml").write_text("base: less.yaml\nablation: still_less\n")
    less, still_less = load_config(tmp_path / "less.yaml", ["base=small"]), load_config(tmp_path / "still_less.yaml")
    assert (less.preset, less.ablation, less.width) == ("small", "less", 256)
    assert (still_less.preset, still_less.ablation, still_less.seed) == ("paper", "still_less", 3)
    assert load_config("small").ablation is None


def test_overrides_reach_nested_values_and_win():
    config = load_config("small", ["sampling.steps=3", "schedule.gamma=0.5", "network.attention=sdpa"])
    assert (config.sampling.steps, config.gamma) == (3, 0.5)


def test_numbers_that_yaml_reads_as_text_are_numbers():
    assert load_config("small", ["schedule.beta_start=1e-4"]).schedule.beta_start == 1e-4


def test_a_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config(preset="mine").seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("network.atention=sdpa", ["network.atention", "sdpa", "did you mean attention", "layers_per_block"]),
        ("stages.spatal.iterations=2", ["stages.spatal", "did you mean spatial"]),
        ("codec.kind=vae", ["codec.kind", "'vae'", "'taesd'"]),
        ("seed=abc", ["seed", "'abc'", "integer"]),
        ("stages.spatial.trains=[foo]", ["stages.spatial.trains.0", "'foo'", "'controlnet'"]),
        ("stages.spatial.trains=[motion]", ["spatial", "frames"]),
        ("network.pose_branch=pose_guider", ["stages.spatial.trains", "controlnet", "pose_guider"]),
        ("network.pose_branch=adapter", ["network.pose_branch", "'adapter'", "'pose_guider'"]),
        ("conditions.maps=[Depth]", ["conditions.maps.0", "'Depth'"]),
        ("conditions.maps=[depth,depth]", ["conditions", "maps need names of their own"]),
        ("stages.spatial.dropped=control", ["stages.spatial.dropped", "'control'", "'reference'"]),
        ("schedule.gamma=2", ["schedule", "gamma", "(0, 1]", "2"]),
        ("schedule.gamma=0", ["schedule", "gamma", "(0, 1]"]),
        ("width=260", ["width 260", "the output", "multiple of 8"]),
        ("width=264", ["width 264", "temporal_half", "132", "multiple of 8"]),
        ("sampling.overlap=16", ["overlap", "0..15", "16"]),
        ("sampling.window=33", ["sampling.window", "33", "32"]),
        ("stages.temporal_full.frames=40", ["stages.temporal_full.frames", "40", "32"]),
        ("stages.regional.losses.face=-1", ["face", "at least 0", "-1"]),
        ("stages.regional.timesteps=[125,0]", ["regional", "timesteps"]),
        ("stages.regional.condition_dropout=1.5", ["condition_dropout", "[0, 1]", "1.5"]),
        ("face_embedder=null", ["stages.regional.losses.identity", "face_embedder"]),
        ("network.block_out_channels=[30,60]", ["attention_levels", "block_out_channels"]),
        ("network.norm_num_groups=7", ["96", "norm_num_groups=7"]),
        ("network.layers_per_block=0", ["network.layers_per_block = 0", "greater than 0"]),
        ("width=100000", ["width = 100000", "8192"]),
        ("seed=-1", ["seed = -1"]),
        ("schedule.num_train_timesteps=500", ["stages.spatial.timesteps", "1000", "500"]),
        ("schedule.beta_start=0.5", ["schedule", "beta_start"]),
        ("schedule.zero_terminal_snr=true", ["schedule", "zero_terminal_snr", "v_prediction", "epsilon"]),
        ("sampling.steps=2000", ["sampling.steps", "2000", "1000"]),
        ("codec=3", ["codec", "dictionary"]),
        ("no-equals-sign", ["no-equals-sign", "key=value"]),
        ("sampling.steps={", ["sampling.steps", "YAML"]),
    ],
)
def test_a_mistake_is_refused_with_its_place(override, parts):
    with pytest.raises(ConfigError) as refusal:
        load_config("small", [override])
    for part in parts:
        assert part in str(refusal.value)


def test_files_that_cannot_be_used_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    for name, reason in {
        "a.yaml": "circle",
        "list.yaml": "expected keys and values",
        "broken.yaml": "not readable as YAML",
        "absent.yaml": "no such configuration file",
    }.items():
        with pytest.raises(ConfigError, match=reason):
            load_config(tmp_path / name)
    with pytest.raises(ConfigError, match="laptop, paper, quickstart, small"):
        load_config("large")


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("storage=/data/my runs #1", "/data/my runs #1"),
        ("storage=2026-11-28", "2026-11-28"),
        ("data=010", "010"),
        ("data=yes", "yes"),
        ("data=", None),
        ("data=null", None),
        ("storage=null", "null"),
        ("codec.kind=taesd", "taesd"),
        ("pretrained.unet=a: b", "a: b"),
        ("base=small", "small"),
    ],
)
def test_the_value_of_a_key_for_text_is_what_was_typed(typed, value):
    assert parse_override(typed) == (typed.partition("=")[0], value)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("seed=010", 10),
        ("seed=-3", -3),
        ("width=512", 512),
        ("schedule.gamma=0.5", 0.5),
        ("schedule.gamma=null", None),
        ("training.offload_optimizer=true", True),
        ("conditions.maps=[depth, normals]", ["depth", "normals"]),
        ("dancers={count: 3, seconds: 1.5}", {"count": 3, "seconds": 1.5}),
        ("stages.spatial.timesteps=[0, 0125]", [0, 125]),
        ("unknown.key=1:30", "1:30"),
        ("unknown.key=2026-11-28", "2026-11-28"),
    ],
)
def test_other_values_are_yaml_without_octals_sexagesimals_and_dates(typed, value):
    assert parse_override(typed)[1] == value
