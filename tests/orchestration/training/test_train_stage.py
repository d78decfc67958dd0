"""Stages in one process: what each trains, what it writes, how it goes on after its end came too early."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from hia.config import Stage, load_config
from hia.data.sampling import TrainingSamples
from hia.data.store.clip_store import open_store
from hia.models.parts import part_parameters
from hia.video import probe
from orchestration.training.checkpoints import newest
from orchestration.training.loop import train_in_process
from orchestration.training.run import TrainingFailed, TrainingRun
from orchestration.training.weights import load_animator
from tests.orchestration.training.tiny_runs import SMALLEST, TINY, Killed, Notes

STAGES = ("spatial", "regional", "temporal_half", "temporal_full")

pytestmark = pytest.mark.slow


def weights_of(run: TrainingRun) -> dict[str, torch.Tensor]:
    files = sorted((run.path / "weights").iterdir())
    return {f"{file.stem}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def chain(dancers_store, tmp_path_factory):
    """All four stages, each from the ones before: runs and what they told, by name."""
    folder = tmp_path_factory.mktemp("chain")
    looking = ("training.validate_every=4", "training.validation_samples=3", "training.preview_frames=4")
    config = load_config(TINY, [*SMALLEST, *looking])
    runs, told, weights = {}, {}, ()
    for stage in STAGES:
        (folder / stage).mkdir()
        runs[stage] = TrainingRun(config, stage, str(dancers_store), str(folder / stage), weights, "chain")
        told[stage] = Notes()
        train_in_process(runs[stage], told[stage])
        weights = (*weights, str(folder / stage / "weights"))
    return runs, told


@pytest.mark.parametrize("stage", STAGES)
def test_exactly_the_stages_parts_change(chain, stage):
    run = chain[0][stage]
    before = load_animator(run.config, run.weights, motion=True)
    after = load_animator(run.config, (*run.weights, str(run.path / "weights")), motion=True)
    for part in ("appearance_encoder", "controlnet", "unet", "motion"):
        old, new = part_parameters(before, part), part_parameters(after, part)
        changed = [name for name in old if not torch.equal(old[name], new[name])]
        if part in run.settings.trains:
            assert len(changed) > 0.9 * len(old), "nearly every weight moves, weight decay alone sees to that"
        else:
            assert not changed


@pytest.mark.parametrize("stage", STAGES)
def test_frozen_parts_are_neither_handed_on_nor_in_checkpoints(chain, stage):
    run = chain[0][stage]
    assert {file.stem for file in (run.path / "weights").iterdir()} == set(run.settings.trains)
    checkpoint = newest(run.path, "chain")
    model = torch.load(checkpoint.path / "deepspeed" / "mp_rank_00_model_states.pt", weights_only=False)
    animator = load_animator(run.config, run.weights, motion="motion" in run.settings.trains)
    trained = {name for part in run.settings.trains for name in part_parameters(animator, part)}
    buffers = {name for name, _ in animator.named_buffers()}
    assert set(model["module"]) - buffers == trained


def test_the_regional_stage_adds_its_terms_and_the_loss_is_their_weighted_sum(chain):
    told = chain[1]["regional"].lines[0][1]
    assert told["loss"] == pytest.approx(told["loss/noise"] + told["loss/face"] + told["loss/hand"], rel=1e-6)
    assert told["loss/face"] > 0 and told["loss/hand"] > 0


def test_validation_looks_at_the_stages_own_timesteps(chain):
    names = {name for _, values in chain[1]["regional"].lines for name in values if name.startswith("validation/loss_")}
    assert min(names) == "validation/loss_t000-024" and max(names) == "validation/loss_t100-124"


def test_previews_have_the_stages_size(chain):
    runs, told = chain
    size = {stage: probe(runs[stage].path / told[stage].files[-1]) for stage in ("temporal_half", "temporal_full")}
    # Four pictures beside each other; small ones are shown enlarged, the half-size ones by twice as much.
    assert len(told["temporal_half"].files) == 1 and size["temporal_half"].num_frames == 4
    assert size["temporal_full"].num_frames == 4


def test_what_is_told_of_a_step_adds_up(chain):
    _, values = chain[1]["spatial"].lines[0]
    parts = sum(values[f"seconds/{part}"] for part in ("data", "forward", "backward", "optimizer"))
    assert 0 < parts <= values["seconds/step"]
    assert values["samples_per_second"] == pytest.approx(4 / values["seconds/step"])
    assert values["teraflops_per_worker"] > 0 and values["gradient_norm"] > 0


def test_a_stage_that_is_killed_goes_on_to_the_same_weights(a_run):
    straight = a_run(name="straight")
    told = Notes()
    train_in_process(straight, told)
    broken = a_run(name="broken")
    with pytest.raises(Killed):
        train_in_process(broken, Notes(dies_at=4))
    assert newest(broken.path, "tests").step == 3
    again = Notes()
    train_in_process(broken, again)
    assert equal(weights_of(broken), weights_of(straight))
    assert [line[0] for line in again.lines] == [4, 6], "one interval is computed again, no more"
    assert again.losses() == told.losses()[1:], "means over steps go on, too"


def test_so_does_the_moving_average(a_run):
    straight, broken = (a_run("optimizer.ema_decay=0.9", name=name) for name in ("straight", "broken"))
    train_in_process(straight)
    with pytest.raises(Killed):
        train_in_process(broken, Notes(dies_at=6))
    train_in_process(broken)
    assert equal(weights_of(broken), weights_of(straight))
    plain = a_run(name="plain")
    train_in_process(plain)
    assert not equal(weights_of(plain), weights_of(straight))


def test_a_killed_write_of_a_checkpoint_is_nothing(a_run):
    run = a_run(name="stage")
    with pytest.raises(Killed):
        train_in_process(run, Notes(dies_at=4))
    half = run.path / "checkpoints" / ".step_000006.partial"
    half.mkdir()
    (half / "checkpoint.json").write_text("{")
    straight = a_run(name="straight")
    train_in_process(straight)
    train_in_process(run)
    assert equal(weights_of(run), weights_of(straight)) and not half.exists()


def test_only_the_newest_checkpoints_stay(a_run):
    run = a_run("training.checkpoint_every=1", "training.num_to_keep=2")
    train_in_process(run)
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["step_000004", "step_000005"]


def test_a_checkpoint_of_another_run_is_refused(a_run):
    run = a_run()
    with pytest.raises(Killed):
        train_in_process(run, Notes(dies_at=4))
    with pytest.raises(TrainingFailed, match="step_000003 was written by a run with another configuration"):
        train_in_process(replace(run, fingerprint="another"))


def test_a_loss_that_is_not_finite_names_its_samples_and_spares_the_weights(a_run, tmp_path):
    run = a_run(name="first")
    train_in_process(run)
    file = run.path / "weights" / "unet.safetensors"
    from safetensors.torch import save_file

    state = load_file(file)
    state["unet.conv_out.bias"].fill_(float("nan"))
    save_file(state, file)
    second = a_run(name="second", weights=(str(run.path / "weights"),))
    samples = TrainingSamples(open_store(second.store), second.config, second.settings, second.config.seed)
    first = samples[0].sample_ids[0]
    with pytest.raises(TrainingFailed, match="stage spatial, step 0: the loss is not finite") as failure:
        train_in_process(second)
    assert first in str(failure.value) and not (second.path / "weights").exists()


@pytest.mark.parametrize("stage", ["spatial", "temporal_half"])
def test_half_precision_comes_close_and_hands_on_float32(a_run, stage):
    exact, told = a_run(stage=stage, name="float32"), Notes()
    train_in_process(exact, told)
    half, also_told = a_run("training.precision=bfloat16", stage=stage, name="bfloat16"), Notes()
    train_in_process(half, also_told)
    assert also_told.losses() == pytest.approx(told.losses(), rel=0.02)
    tensors = weights_of(half).values()
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    rounded = [torch.equal(tensor, tensor.bfloat16().float()) for tensor in tensors]
    assert sum(rounded) < len(rounded) / 2, "they are the optimizer's own weights, not their rounded copies"


def test_static_clips_come_at_the_stated_rate(dancers_store):
    config = load_config(TINY, SMALLEST)
    stage: Stage = replace(config.stages.temporal_full, static_clip_probability=0.2)
    samples = TrainingSamples(open_store(str(dancers_store)), config, stage, seed=0)
    still = [samples.draw(position).still for position in range(2000)]
    assert 0.16 < sum(still) / len(still) < 0.24


def test_gamma_is_one_value_from_the_configuration_to_every_stage(chain):
    runs, _ = chain
    assert len({run.config.gamma for run in runs.values()}) == 1
    state = json.loads((newest(runs["spatial"].path, "chain").path / "checkpoint.json").read_text())
    assert state["step"] == 3


def test_a_pose_guider_is_trained_and_handed_on_like_a_controlnet(a_run):
    guided = (
        *("network.pose_branch=pose_guider", "stages.spatial.trains=[appearance_encoder,pose_guider,unet]"),
        *("conditions={blur: false, maps: [depth]}", "stages.spatial.dropped=reference", "stages.spatial.iterations=4"),
        "training.gradient_checkpointing=true",
    )
    spatial = a_run(*guided)
    with pytest.warns(UserWarning, match="no map depth"):
        train_in_process(spatial, Notes())
    handed_on = str(spatial.path / "weights")
    assert load_file(spatial.path / "weights" / "pose_guider.safetensors")
    temporal = a_run(*guided, stage="temporal_full", name="temporal", weights=(handed_on,))
    loaded = load_animator(temporal.config, temporal.weights, motion=True)
    assert loaded.pose_guider.guiders[0].conv_out.weight.any(), "it begins at zero and has moved"
    train_in_process(temporal, Notes())
    assert {file.stem for file in (temporal.path / "weights").iterdir()} == {"motion"}
