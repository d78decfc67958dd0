"""Evaluation on the cluster: what is measured, by which name, and what becomes of clips that cannot be."""

import csv
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.exceptions import RayError

from hia.data.store import open_store
from hia.evaluation.image import psnr, ssim
from hia.evaluation.reenactment import reenact
from hia.images import load_image
from hia.models.parts import part_parameters
from hia.training.settings import TrainingConfig
from hia.video import probe, read_frames
from orchestration.chain.stage import StageFailed
from orchestration.evaluate import TRAIN_PREFIX, evaluate, metric_prefix, spread, trained_model, trained_weights
from orchestration.tasks import in_tasks
from tests.evaluation.dancer_store import dancer_store
from tests.orchestration.trained_run import Trained, artifacts, random_animator, tiny_config, trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

REPOSITORY = Path(__file__).parents[2]
METHODS, NAMES = ("", "repeat_reference/", "codec_cap/"), ("psnr", "ssim", "l1", "l1_disco")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "PYTHONPATH": str(REPOSITORY)})
    ray.init(address="local", num_cpus=4, object_store_memory=100_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Trained:
    """Two clips to train on, three held out, of which two are evaluated, of five frames each."""
    folder = tmp_path_factory.mktemp("evaluate")
    store = dancer_store(folder / "store", held_out=3)
    config = tiny_config("training.evaluation_clips=2", "training.evaluation_frames=5")
    return trained(folder / "runs", store, config)


@pytest.fixture(scope="module")
def evaluated(ready):
    """The stage's run, and what it returned."""
    run = ready.stage_run("evaluate")
    return run, evaluate(run)


def summary(run) -> dict:
    return json.loads((run.folder / "summary.json").read_text())


def test_the_model_that_is_evaluated_has_the_weights_of_all_stages(ready):
    model = trained_model(ready.config, trained_weights(ready.stage_run("any")), open_store(ready.store))
    expected = random_animator(ready.config)
    for part in ("appearance_encoder", "controlnet", "unet", "motion"):
        weights = part_parameters(expected, part)
        for name, parameter in part_parameters(model.animator, part).items():
            np.testing.assert_array_equal(parameter.numpy(), weights[name].detach().numpy(), err_msg=name)


def test_ours_the_repeated_reference_and_the_codecs_cap_are_measured_alike(evaluated):
    _, metrics = evaluated
    assert set(metrics) == {f"{method}{name}" for method in METHODS for name in NAMES}
    assert all(isinstance(value, float) for value in metrics.values())


def test_metrics_are_means_over_frames_and_then_clips_without_the_reference(ready, evaluated):
    run, metrics = evaluated
    store = open_store(ready.store)
    model = trained_model(ready.config, trained_weights(run), store)
    clips = [store.read(info) for info in store.of_split("test")[:2]]
    pairs = [reenact(model, clip, ready.config.sampling, ready.config.seed, 5) for clip in clips]
    ours = [psnr(truth[1:], generated[1:]).mean() for truth, generated in pairs]
    repeated = [ssim(truth[1:], np.repeat(truth[:1], 4, axis=0)).mean() for truth, _ in pairs]
    assert metrics["psnr"] == pytest.approx(np.mean(ours), abs=0.02)  # other threads, other rounding
    assert metrics["repeat_reference/ssim"] == pytest.approx(np.mean(repeated), abs=1e-12)
    assert metrics["codec_cap/psnr"] == 100.0 and metrics["codec_cap/l1"] == 0.0  # the pixel codec loses nothing


def test_no_more_clips_and_frames_than_configured_all_of_them_held_out(ready, evaluated):
    found = summary(evaluated[0])
    held_out = {info.id for info in open_store(ready.store).of_split("test")}
    assert found["split"] == "test" and len(found["clips"]) == 2
    assert {one["clip"] for one in found["clips"]} < held_out
    assert [one["frames"] for one in found["clips"]] == [4, 4] and found["set_aside"] == []


def test_the_table_has_a_line_for_each_clip_whose_mean_is_the_metric(evaluated):
    run, metrics = evaluated
    with (run.folder / "metrics.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["video"] for line in lines] == ["dancer_002.mp4", "dancer_003.mp4"]
    for name, value in metrics.items():
        assert np.mean([float(line[name]) for line in lines]) == pytest.approx(value, abs=1e-12)
    assert {line["split"] for line in lines} == {"test"}


def test_videos_show_reference_skeleton_result_and_truth_beside_each_other(ready, evaluated):
    run, _ = evaluated
    store = open_store(ready.store)
    for info in store.of_split("test")[:2]:
        file = run.folder / "videos" / f"{info.id}.mp4"
        frames, clip = list(read_frames(file)), store.read(info)
        assert len(frames) == 5 and probe(file).fps == pytest.approx(info.fps)
        panels = np.split(frames[-1][20:], [192, 196, 388, 392, 584, 588], axis=1)[::2]
        reference, skeleton, result, truth = (panel[::3, ::3].astype(float) for panel in panels)
        pictures = clip.frames([0, 4]).astype(float)
        assert np.abs(reference - pictures[0]).mean() < 12 and np.abs(truth - pictures[1]).mean() < 12
        assert (skeleton.max(axis=2) < 40).mean() > 0.5  # lines on black
        assert np.abs(result - pictures[1]).mean() > 30  # noise: nothing was trained


def test_all_that_people_look_at_goes_to_the_tracking_server(evaluated):
    run, _ = evaluated
    shown = artifacts(run)
    videos = {path.relative_to(run.folder).as_posix() for path in (run.folder / "videos").iterdir()}
    assert set(shown) == {"summary.json", "metrics.csv", "contact_sheet.png", *videos} and len(videos) == 2
    assert {shown[name] for name in videos} == {"evaluation/videos"} and shown["summary.json"] == "evaluation"
    assert load_image(run.folder / "contact_sheet.png").std() > 20


def test_the_same_evaluation_gives_the_same_metrics_and_another_truth_another_mark(ready, evaluated):
    run, metrics = evaluated
    again = ready.stage_run("evaluate_again")
    assert evaluate(again) == metrics
    assert summary(again)["truth"] == summary(run)["truth"]
    fewer = ready.stage_run("evaluate_fewer", tiny_config("training.evaluation_clips=1"))
    evaluate(fewer)
    assert summary(fewer)["truth"] != summary(run)["truth"]


def test_without_held_out_clips_every_name_says_that_the_clips_were_trained_on(tmp_path):
    store = dancer_store(tmp_path / "store", held_out=0, num_frames=10)
    run = trained(tmp_path / "runs", store, tiny_config("training.evaluation_clips=1")).stage_run("evaluate")
    metrics = evaluate(run)
    assert set(metrics) == {f"{TRAIN_PREFIX}{method}{name}" for method in METHODS for name in NAMES}
    assert metric_prefix("test") == "" and all("train" in name for name in metrics)
    found = summary(run)
    assert found["split"] == "train" and found["metrics"] == metrics
    assert all(under.startswith("evaluation/split_train") for under in artifacts(run).values())
    header, line = (run.folder / "metrics.csv").read_text().splitlines()
    assert f"{TRAIN_PREFIX}psnr" in header and ",psnr" not in header and ",train," in line


def test_a_clip_that_fails_is_named_and_set_aside(tmp_path, capsys):
    store = dancer_store(tmp_path / "store", lengths={3: 1})
    ready = trained(tmp_path / "runs", store, tiny_config("training.evaluation_frames=3"))
    run = ready.stage_run("evaluate")
    metrics = evaluate(run)
    found = summary(run)
    assert [one["video"] for one in found["clips"]] == ["dancer_002.mp4"]
    (left_out,) = found["set_aside"]
    assert left_out["video"] == "dancer_003.mp4" and "no frame but the reference" in left_out["reason"]
    assert metrics == found["clips"][0]["metrics"]
    assert "dancer_003.mp4" in capsys.readouterr().out


def test_when_all_clips_fail_the_stage_fails_with_their_reasons(tmp_path):
    store = dancer_store(tmp_path / "store", lengths={2: 1, 3: 1})
    run = trained(tmp_path / "runs", store, tiny_config()).stage_run("evaluate")
    with pytest.raises(StageFailed, match=r"none of 2 clips(.|\n)*dancer_002\.mp4(.|\n)*dancer_003\.mp4"):
        evaluate(run)
    assert not (run.folder / "summary.json").exists()


def test_weights_of_another_network_fail_with_the_name_of_their_file(ready, tmp_path):
    other = Trained(tmp_path, ready.config, {**ready.inputs, "regional": tmp_path / "regional"})
    shutil.copytree(ready.inputs["temporal_half"] / "weights", tmp_path / "regional" / "weights")
    (tmp_path / "regional" / "weights" / "motion.safetensors").rename(
        tmp_path / "regional" / "weights" / "appearance_encoder.safetensors"
    )
    with pytest.raises(StageFailed, match=r"regional/weights/appearance_encoder\.safetensors"):
        evaluate(other.stage_run("evaluate"))


def test_the_first_clips_are_of_different_videos(ready):
    infos = open_store(ready.store).clips
    doubled = [infos[0], infos[0], infos[0], infos[1], infos[2], infos[2]]
    assert [one.video[7:10] for one in spread(doubled)] == ["000", "001", "002", "000", "002", "000"]


# ------------------------------------------------------------------------------------------ tasks on the cluster


def square(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number**2


def die(note: str, times: int) -> str:
    """Kill the own process so many times, counted in a file."""
    with open(note, "a+") as file:
        file.seek(0)
        died = len(file.read())
        if died < times:
            file.write("x")
            file.flush()
            os._exit(7)
    return f"died {died} times"


def settings(**changes: int) -> TrainingConfig:
    return replace(tiny_config().training, **changes)


def test_every_job_has_its_outcome_whatever_becomes_of_the_others():
    outcomes = {one.index: one for one in in_tasks(square, [(3,), (-1,), (4,)], settings(workers=2))}
    assert (outcomes[0].value, outcomes[2].value) == (9, 16)
    assert type(outcomes[1].error) is ValueError and str(outcomes[1].error) == "-1 is negative"


def test_a_job_whose_process_dies_is_tried_again(tmp_path):
    (outcome,) = in_tasks(die, [(str(tmp_path / "note"), 2)], settings(most_failures=2))
    assert outcome.value == "died 2 times"


def test_a_job_whose_process_dies_too_often_is_given_up(tmp_path):
    outcomes = list(
        in_tasks(die, [(str(tmp_path / "note"), 9), (str(tmp_path / "other"), 0)], settings(most_failures=1))
    )
    assert [one.index for one in outcomes if one.error is None] == [1]
    (lost,) = (one for one in outcomes if one.error is not None)
    assert isinstance(lost.error, RayError) and (tmp_path / "note").read_text() == "xx"


def test_no_room_for_a_single_task_is_an_error_at_once():
    with pytest.raises(ValueError, match="room for 0 of 1 workers"):
        next(in_tasks(square, [(1,)], settings(cpus_per_worker=99)))
