"""The configuration keys that make a stage run again."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from hia.config import Config, load_config
from hia.weights.find import MissingWeights
from orchestration.chain import fingerprint
from orchestration.chain.plan import flat
from orchestration.stages.chain_stages import chain_stages
from orchestration.stages.config_keys import IRRELEVANT, READS, UPDATING
from orchestration.stages.content_hashes import ContentHashes
from tests.conftest import REPOSITORY

TINY_CONFIG = REPOSITORY / "tests" / "tiny.yaml"

RESULTS = {"evaluate", "export", "register", "sample"}
FROM_TEMPORAL_HALF = {"temporal_half", "temporal_full", *RESULTS}
FROM_REGIONAL = {"regional", *FROM_TEMPORAL_HALF}
TRAINING = {"spatial", *FROM_REGIONAL}
ALL = {"dancers", "preprocess", *TRAINING}

Configure = Callable[..., Config]


@pytest.fixture
def reruns(tiny_config: Configure) -> Callable[..., set[str]]:
    """The stages that run again after some values have changed, from the same videos."""

    def find(*overrides: str, base: tuple[str, ...] = ()) -> set[str]:
        before, after = marks(tiny_config(*base)), marks(tiny_config(*base, *overrides))
        assert before.keys() == after.keys()
        return {name for name in before if before[name] != after[name]}

    return find


def marks(config: Config) -> dict[str, str]:
    """Fingerprints by stage; an input of other settings counts as another input, also where content decides."""
    found: dict[str, str] = {}
    for stage in chain_stages(config, ContentHashes()):
        found[stage.name] = fingerprint(stage, found)
    return found


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sampling.guidance_scale=1.5", RESULTS),
        ("sampling.steps=2", RESULTS),
        ("stages.regional.losses.face=2.0", FROM_REGIONAL),
        ("stages.temporal_half.static_clip_probability=0.5", FROM_TEMPORAL_HALF),
        ("stages.temporal_full.iterations=7", {"temporal_full", *RESULTS}),
        ("stages.spatial.global_batch_size=8", TRAINING),
        ("schedule.gamma=0.5", TRAINING),
        ("conditions.feet=true", TRAINING),
        ("conditions.blur=false", TRAINING),
        ("conditions.maps=[depth]", TRAINING),
        ("schedule={prediction_type: v_prediction, zero_terminal_snr: true}", TRAINING),
        ("stages.regional.dropped=reference", FROM_REGIONAL),
        ("stages.regional.trains=[appearance_encoder,controlnet,unet]", FROM_REGIONAL),
        ("sampling.guidance=reference", RESULTS),
        ("sampling.initial_noise=gaussian", RESULTS),
        ("sampling.shift_windows=false", RESULTS),
        ("optimizer.clip_norm=0.5", TRAINING),
        ("network.layers_per_block=2", TRAINING),
        ("samples.flip_probability=0.25", TRAINING),
        ("training.precision=bfloat16", TRAINING),
        ("seed=1", TRAINING),
        ("width=48", ALL),
        ("dancers.seed=5", ALL),
        ("preprocess.fps=12", ALL - {"dancers"}),
        ("training.evaluation_clips=1", {"evaluate", "register"}),
        ("evaluation.default_sharpness=false", {"evaluate", "register"}),
        ("evaluation.stride=8", {"evaluate", "register"}),
        ("evaluation.metrics=[psnr,dtssd]", {"evaluate", "register"}),
    ],
)
def test_what_is_changed_runs_again_with_all_that_follows_and_nothing_else(
    reruns: Callable[..., set[str]], override: str, expected: set[str]
) -> None:
    assert reruns(override) == expected


@pytest.mark.parametrize(
    "override",
    [
        "training.workers=2",
        "training.zero_stage=0",
        "training.gradient_checkpointing=true",
        "training.checkpoint_every=7",
        "training.validate_every=5",
        "training.log_every=1",
        "training.num_to_keep=5",
        "samples.workers=3",
        "storage=/elsewhere",
        "preset=other",
        "ablation=other",
        "sampling.decode_batch=2",
        "network.attention=xformers",
    ],
)
def test_where_and_how_fast_is_no_reason_to_run_again(reruns: Callable[..., set[str]], override: str) -> None:
    assert reruns(override) == set()


def test_motion_settings_leave_the_image_stages_as_they_are(reruns: Callable[..., set[str]]) -> None:
    assert reruns("network.motion_num_attention_heads=8") == FROM_TEMPORAL_HALF


def test_another_pose_branch_is_trained_anew_on_the_same_clips(reruns: Callable[..., set[str]]) -> None:
    trains = "stages.spatial.trains=[appearance_encoder,pose_guider,unet]"
    assert reruns("network.pose_branch=pose_guider", trains) == TRAINING


def test_ablations_of_sampling_share_one_trained_model(tiny_config: Configure) -> None:
    def of_training(file: Path, *overrides: str) -> dict[str, str]:
        found = marks(load_config(file, overrides))
        return {name: mark for name, mark in found.items() if name not in RESULTS}

    files = sorted((REPOSITORY / "experiments" / "ablations" / "sampling").glob("*.yaml"))
    full = of_training(TINY_CONFIG)
    assert len(files) == 5 and all(of_training(file, f"base={TINY_CONFIG}") == full for file in files)


def test_a_learning_rate_counts_where_it_is_used(reruns: Callable[..., set[str]]) -> None:
    own = "stages.spatial.learning_rate=0.001"
    assert reruns("optimizer.learning_rate=0.5", base=(own,)) == FROM_REGIONAL
    assert reruns(own, base=("optimizer.learning_rate=0.001",)) == set()


def test_gamma_counts_as_the_number_that_results(reruns: Callable[..., set[str]], tiny_config: Configure) -> None:
    rule = tiny_config().gamma
    assert reruns(f"schedule.gamma={rule}") == set()


def test_a_face_embedder_counts_only_with_an_identity_loss(
    reruns: Callable[..., set[str]], sample_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    without_embeddings = ("preprocess.face_embedding_every=0",)
    with_loss = (*without_embeddings, "face_embedder=mobilefacenet", "stages.regional.losses.identity=0.1")
    assert reruns("face_embedder=mobilefacenet", base=without_embeddings) == set()
    assert reruns("stages.regional.losses.identity=0.2", base=with_loss) == FROM_REGIONAL


def test_weights_count_by_their_content_and_not_by_their_place(reruns: Callable[..., set[str]], tmp_path: Path) -> None:
    for name, content in {"one": b"same", "copy": b"same", "other": b"else"}.items():
        (tmp_path / name / "unet").mkdir(parents=True)
        (tmp_path / name / "unet" / "weights.safetensors").write_bytes(content)
    base = (f"pretrained.unet={tmp_path / 'one'}",)
    assert reruns(f"pretrained.unet={tmp_path / 'copy'}", base=base) == set()
    assert reruns(f"pretrained.unet={tmp_path / 'other'}", base=base) == TRAINING


def test_metrics_count_by_what_can_be_measured(
    reruns: Callable[..., set[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "evaluation.metrics=[regions,dtssd,flicker,warping_error,hand_sharpness]"
    for variable in ("HIA_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reruns(named) == set()  # all of the usual ones that need no weights
    for name, content in {"one": b"same", "copy": b"same", "other": b"else"}.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    base = (f"evaluation.weights=[fvd={tmp_path / 'one.safetensors'}]",)
    assert reruns(f"evaluation.weights=[fvd={tmp_path / 'copy.safetensors'}]", base=base) == set()
    assert reruns(f"evaluation.weights=[fvd={tmp_path / 'other.safetensors'}]", base=base) == {"evaluate", "register"}


def test_a_metric_that_is_asked_for_by_name_must_have_its_weights(
    tiny_config: Configure, no_weights: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MissingWeights, match="FVD needs"):
        chain_stages(tiny_config("evaluation.metrics=[fvd]"), ContentHashes())
    assert chain_stages(tiny_config(), ContentHashes())


def test_only_the_used_part_of_a_pipeline_counts(reruns: Callable[..., set[str]], tmp_path: Path) -> None:
    for name, other in {"one": b"text", "two": b"changed"}.items():
        for part, content in {"unet": b"same", "text_encoder": other}.items():
            (tmp_path / name / part).mkdir(parents=True)
            (tmp_path / name / part / "weights.safetensors").write_bytes(content)
    assert reruns(f"pretrained.unet={tmp_path / 'two'}", base=(f"pretrained.unet={tmp_path / 'one'}",)) == set()


def test_a_model_of_the_hub_counts_the_same_before_and_after_its_download(no_weights: None) -> None:
    assert ContentHashes().of_weights("owner/model", "unet") == "hub:owner/model"


def test_a_changed_split_updates_the_store_in_its_place(tiny_config: Configure) -> None:
    def preprocess(*overrides: str) -> str:
        return marks(tiny_config(*overrides))["preprocess"]

    assert preprocess("preprocess.test_share=0.3") == preprocess()


def test_every_value_of_the_configuration_is_read_by_a_stage_or_listed_as_irrelevant(tiny_config: Configure) -> None:
    names = ("spatial", "regional", "temporal_half", "temporal_full")
    read = {path.replace("STAGE", name) for paths in READS.values() for path in paths for name in names}
    read |= {*UPDATING, *IRRELEVANT}
    unknown = [key for key in flat(asdict(tiny_config())) if not any(f"{key}.".startswith(f"{path}.") for path in read)]
    assert unknown == []


def test_the_tables_name_only_values_that_exist(tiny_config: Configure) -> None:
    keys = flat(asdict(tiny_config()))
    tables = [path.replace("STAGE", "spatial") for paths in READS.values() for path in paths]
    unknown = [
        path for path in (*tables, *UPDATING, *IRRELEVANT) if not any(f"{key}.".startswith(f"{path}.") for key in keys)
    ]
    assert unknown == []


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    weights, notes = tmp_path / "weights.bin", tmp_path / "notes.json"
    weights.write_bytes(b"first")
    contents = ContentHashes(notes)
    first = contents.of_path(weights)
    contents.remember()
    notes.write_text(notes.read_text().replace(first, "remembered"))
    assert ContentHashes(notes).of_path(weights) == "remembered"
    weights.write_bytes(b"second, longer")
    assert ContentHashes(notes).of_path(weights) not in (first, "remembered")
