"""Evaluation on the cluster: metrics and their names, and clips that cannot be evaluated."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from hia.data.store.clip_store import open_store
from hia.evaluation.image import psnr, ssim
from hia.evaluation.protocol.reenactment import interleave_by_video, reenact
from hia.images import load_image
from hia.models.parts import part_parameters
from hia.video import probe, read_frames
from orchestration.chain.stage import StageFailed
from orchestration.stages.evaluate import evaluate
from orchestration.stages.export import trained_model, trained_weights
from orchestration.tracking.journal import TRAIN_PREFIX, check_name, metric_prefix, tracked_name
from tests.evaluation.dancer_store import dancer_store
from tests.orchestration.trained_run import Trained, artifacts, random_animator, tiny_config, trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("cluster")]

METHODS = ("", "default_sharpness/", "repeat_reference/", "codec_cap/")
NAMES = {
    *("psnr", "ssim", "l1", "l1_disco", "identical_share"),
    *("face_l1", "face_psnr", "face_ssim", "hands_l1", "hands_psnr", "hands_ssim"),
    *("hand_sharpness_log_ratio", "hand_sharpness_spearman", "hand_sharpness_pearson"),
    *("dtssd", "flicker", "flicker_difference", "warping_error", "warping_error_real"),
}
WITHOUT_NETWORKS = "evaluation.metrics=[regions,dtssd,flicker,warping_error,hand_sharpness]"


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Trained:
    """Two clips to train on, three held out, of which two are evaluated, of five frames each."""
    folder = tmp_path_factory.mktemp("evaluate")
    store = dancer_store(folder / "store", held_out=3)
    config = tiny_config("training.evaluation_clips=2", "training.evaluation_frames=5", WITHOUT_NETWORKS)
    return trained(folder / "runs", store, config)


@pytest.fixture(scope="module")
def evaluated(ready):
    """The stage's run, and its metrics."""
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


def test_both_protocols_the_repeated_reference_and_the_codecs_cap_are_measured_alike(evaluated):
    _, metrics = evaluated
    assert set(metrics) == {f"{method}{name}" for method in METHODS for name in NAMES}
    assert metrics["default_sharpness/psnr"] != metrics["psnr"]
    assert all(isinstance(value, float) for value in metrics.values())


def test_metrics_are_means_over_all_frames_without_the_reference(tmp_path):
    store = open_store(dancer_store(tmp_path / "store", lengths={3: 3}))
    ready = trained(
        tmp_path / "runs", Path(str(store.folder)), tiny_config("training.evaluation_frames=6", "evaluation.metrics=[]")
    )
    run = ready.stage_run("evaluate")
    metrics = evaluate(run)
    model = trained_model(ready.config, trained_weights(run), store)
    clips = [store.read(info) for info in store.of_split("test")]
    for protocol, prefix in {"truth": "", "default": "default_sharpness/"}.items():
        pairs = [reenact(model, clip, ready.config.sampling, 0, 6, protocol) for clip in clips]
        ours = np.concatenate([psnr(truth[1:], generated[1:]) for truth, generated in pairs])
        assert len(ours) == 5 + 2
        assert metrics[f"{prefix}psnr"] == pytest.approx(ours.mean(), abs=0.02)  # other threads, other rounding
    repeated = [ssim(truth[1:], np.repeat(truth[:1], len(truth) - 1, axis=0)) for truth, _ in pairs]
    assert metrics["repeat_reference/ssim"] == pytest.approx(np.concatenate(repeated).mean(), abs=1e-12)
    assert metrics["codec_cap/psnr"] == 100.0 and metrics["codec_cap/l1"] == 0.0  # the pixel codec loses nothing


def test_no_more_clips_and_frames_than_configured_all_of_them_held_out(ready, evaluated):
    found = summary(evaluated[0])
    held_out = {info.id for info in open_store(ready.store).of_split("test")}
    assert found["split"] == "test" and len(found["clips"]) == 2
    assert {one["clip"] for one in found["clips"]} < held_out
    assert [one["frames"] for one in found["clips"]] == [4, 4] and found["set_aside"] == []


def test_the_table_has_a_line_for_each_clip_and_method_whose_mean_is_the_metric(evaluated):
    run, metrics = evaluated
    with (run.folder / "videos.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    ours = [line for line in lines if line["method"] == "truth_sharpness"]
    assert [line["video"] for line in ours] == ["dancer_002.mp4", "dancer_003.mp4"] and len(lines) == 2 * len(METHODS)
    for name in ("psnr", "ssim", "dtssd"):
        assert np.mean([float(line[name]) for line in ours]) == pytest.approx(metrics[name], abs=1e-12)


def test_videos_show_reference_skeleton_result_and_truth_beside_each_other(ready, evaluated):
    run, _ = evaluated
    store = open_store(ready.store)
    for info in store.of_split("test")[:2]:
        file = run.folder / "clips" / info.id / "truth_sharpness" / "result" / "side_by_side.mp4"
        frames, clip = list(read_frames(file)), store.read(info)
        assert len(frames) == 5 and probe(file).fps == pytest.approx(info.fps)
        panels = np.split(frames[-1][20:], [192, 196, 388, 392, 584, 588], axis=1)[::2]
        reference, skeleton, result, truth = (panel[::3, ::3].astype(float) for panel in panels)
        pictures = clip.frames([0, 4]).astype(float)
        assert np.abs(reference - pictures[0]).mean() < 12 and np.abs(truth - pictures[1]).mean() < 12
        assert (skeleton.max(axis=2) < 40).mean() > 0.5  # lines on black
        assert np.abs(result - pictures[1]).mean() > 30  # noise: nothing was trained


def test_all_that_people_look_at_goes_to_the_tracking_server_and_links_of_the_page_hold_there(evaluated):
    run, _ = evaluated
    shown = artifacts(run)
    videos = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*.mp4")}
    files = {"summary.json", "results.json", "videos.csv", "report.html", "contact_sheet.png"}
    assert set(shown) == {*files, *videos} and len(videos) == 4
    assert {shown[name] for name in files} == {"evaluation"}
    assert {f"{shown[name]}/{Path(name).name}" for name in videos} == {f"evaluation/{name}" for name in videos}
    page = (run.folder / "report.html").read_text()
    assert all(f'href="{name}"' in page for name in videos) and page.count("data:video/mp4;base64,") == 2
    assert load_image(run.folder / "contact_sheet.png").std() > 20


def test_the_summary_has_intervals_and_how_all_was_measured(evaluated):
    run, metrics = evaluated
    found = summary(run)
    figure = found["methods"]["truth_sharpness"]["figures"]["psnr"]
    assert figure["low"] <= figure["value"] == metrics["psnr"] <= figure["high"] and figure["videos"] == 2
    assert found["measured"]["measuring"]["first_frame"] == 1 and found["protocol"]["sharpness"] == ["truth", "default"]


def test_what_a_killed_execution_has_made_is_not_made_again(ready, evaluated):
    run, metrics = evaluated
    again = replace(ready.stage_run("evaluate_killed"), fingerprint=run.fingerprint)
    shutil.copytree(run.folder / "clips", again.folder / "clips")
    first, second = (again.folder / "clips" / one["clip"] for one in summary(run)["clips"])
    shutil.rmtree(second)
    kept = {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()}
    assert evaluate(again) == metrics
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*") if path.is_file()} == kept and len(kept) == 20
    assert len(list(second.rglob("*"))) == len(list(first.rglob("*")))


def test_networks_of_others_are_measured_under_names_that_the_tracking_server_takes(ready, sample_data, monkeypatch):
    file = sample_data / "weights" / "lpips_alexnet.safetensors"
    own = ready.storage / "own.safetensors"
    save_file({name: 1.5 * value for name, value in load_file(file).items()}, own)
    config = tiny_config("training.evaluation_clips=1", f"evaluation.weights=[lpips_alex={own}]")
    run = ready.stage_run("evaluate_own", config)
    metrics = evaluate(run)
    assert metrics["distance_lpips_alex"] > 0 and "lpips_alex" not in metrics
    assert "distance[lpips_alex]" in summary(run)["methods"]["truth_sharpness"]["figures"]
    for name in metrics:
        check_name(name)
    assert tracked_name("fd[i3d]") == "fd_i3d" and tracked_name("cosine[größe x]") == "cosine_gr__e x"


def test_the_same_evaluation_gives_the_same_metrics_and_another_truth_another_mark(ready, evaluated):
    run, metrics = evaluated
    again = ready.stage_run("evaluate_again")
    assert evaluate(again) == metrics
    assert summary(again)["truth"] == summary(run)["truth"]
    fewer = ready.stage_run("evaluate_fewer", tiny_config("training.evaluation_clips=1", "evaluation.metrics=[]"))
    evaluate(fewer)
    assert summary(fewer)["truth"] != summary(run)["truth"]


def test_without_held_out_clips_every_name_says_that_the_clips_were_trained_on(tmp_path):
    store = dancer_store(tmp_path / "store", held_out=0, num_frames=10)
    run = trained(tmp_path / "runs", store, tiny_config("training.evaluation_clips=1", WITHOUT_NETWORKS)).stage_run(
        "evaluate"
    )
    metrics = evaluate(run)
    assert set(metrics) == {f"{TRAIN_PREFIX}{method}{name}" for method in METHODS for name in NAMES}
    assert metric_prefix("test") == "" and all("train" in name for name in metrics)
    found = summary(run)
    assert found["split"] == "train" and found["metrics"] == metrics
    assert all(under.startswith("evaluation/split_train") for under in artifacts(run).values())
    assert "trained on" in (run.folder / "report.html").read_text()


def test_a_clip_that_fails_is_named_and_set_aside(tmp_path, capsys):
    store = dancer_store(tmp_path / "store", lengths={3: 1})
    ready = trained(tmp_path / "runs", store, tiny_config("training.evaluation_frames=3", "evaluation.metrics=[]"))
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
    assert [one.video[7:10] for one in interleave_by_video(doubled)] == ["000", "001", "002", "000", "002", "000"]
