"""All metrics of a pair of videos: their values, their names, and refusals."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hia.config.metrics import METRICS
from hia.evaluation.image import l1, psnr
from hia.evaluation.metrics import Metrics, load_metrics
from hia.evaluation.networks.i3d import InceptionI3d
from hia.evaluation.networks.lpips import Lpips
from hia.evaluation.scores import ClipSampling, MetricSettings, VideoPair
from hia.evaluation.temporal import dtssd
from hia.evaluation.weights.digests import AlteredWeights
from hia.evaluation.weights.loading import UnknownWeights
from hia.pose.keypoint_files import load_keypoints
from hia.synthetic import write_dancers
from hia.video import read_frames
from hia.weights.find import MissingWeights

WEIGHT_FREE = ("psnr", "ssim", "l1", "l1_disco", "regions", "hand_sharpness", "dtssd", "flicker", "warping_error")
FRAMES = 18


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> VideoPair:
    """A generated dancer and its blurred, late copy."""
    folder = tmp_path_factory.mktemp("dancers")
    (video,) = write_dancers(folder, 1, seconds=FRAMES / 30, width=128, height=224, fps=30, seed=0)
    real = np.stack(list(read_frames(video)))[:FRAMES]
    whole = load_keypoints(video.with_suffix(".npz"))
    keypoints = replace(whole, keypoints=whole.keypoints[:FRAMES], scores=whole.scores[:FRAMES])
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in np.roll(real, 1, axis=0)])
    return VideoPair("dancer", blurred, real, keypoints)


@pytest.fixture
def weights(sample_data, monkeypatch, tmp_path) -> Path:
    """The real weights that there are, and no others."""
    return computer_with(sample_data / "weights", monkeypatch, tmp_path)


@pytest.fixture
def no_weights_at_all(monkeypatch, tmp_path) -> None:
    computer_with(tmp_path / "nowhere", monkeypatch, tmp_path)


def computer_with(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HIA_WEIGHTS", str(folder))
    return folder


# --------------------------------------------------------------------------------------------- what is measured


def test_figures_are_means_over_frames_with_their_number(pair):
    scores = load_metrics(["l1", "psnr", "dtssd"]).score(pair)
    assert scores.flat() == {
        "l1": pytest.approx(l1(pair.real, pair.generated).mean()),
        "psnr": pytest.approx(psnr(pair.real, pair.generated).mean()),
        "identical_share": 0.0,
        "dtssd": dtssd(pair.real, pair.generated),
    }
    assert {name: figure.count for name, figure in scores.figures.items()} == {
        **dict.fromkeys(("l1", "psnr", "identical_share"), FRAMES),
        "dtssd": FRAMES - 1,
    }


def test_without_any_weights_all_the_rest_is_measured_and_what_is_missing_is_said(pair, no_weights_at_all):
    metrics = load_metrics()
    assert set(metrics.names) == set(WEIGHT_FREE)
    assert metrics.skipped.keys() == {
        "lpips_vgg_disco",
        "lpips_vgg",
        "lpips_alex",
        "csim",
        "fid",
        "fid_vid",
        "fvd",
        "fvd_videogpt",
    }
    assert all("To get" in reason for reason in metrics.skipped.values())
    figures = metrics.score(pair).flat()
    for name in (
        "ssim",
        "face_l1",
        "hands_psnr",
        "flicker_difference",
        "warping_error_real",
        "hand_sharpness_log_ratio",
    ):
        assert np.isfinite(figures[name])
    assert figures["hand_sharpness_log_ratio"] < 0  # it was blurred


def test_a_video_that_equals_the_truth_is_perfect(pair):
    scores = load_metrics(WEIGHT_FREE).score(replace(pair, generated=pair.real))
    perfect = {"psnr": 100.0, "identical_share": 1.0, "ssim": 1.0, "l1": 0.0, "face_l1": 0.0, "hands_psnr": 100.0}
    perfect |= {
        "dtssd": 0.0,
        "flicker_difference": 0.0,
        "hand_sharpness_log_ratio": 0.0,
        "hand_sharpness_spearman": 1.0,
    }
    assert {name: scores.figures[name].value for name in perfect} == pytest.approx(perfect)
    assert scores.figures["warping_error"] == scores.figures["warping_error_real"]


@pytest.mark.slow
def test_real_weights_give_lpips_and_features_for_fvd(pair, weights):
    metrics = load_metrics(["lpips_alex", "fvd"])
    scores = metrics.score(pair)
    assert 0 < scores.flat()["lpips_alex"] < 1
    assert {key: rows.real.shape for key, rows in scores.features.items()} == {"fvd": (1, 400)}
    assert np.abs(scores.features["fvd"].real - scores.features["fvd"].generated).max() > 0.01


def test_features_of_the_truth_can_be_used_again_but_not_for_another_video(pair, weights):
    known = np.full((1, 400), 3, np.float32)
    metrics = load_metrics(["fvd"])
    scores = metrics.score(pair, {"fvd": known})
    np.testing.assert_array_equal(scores.features["fvd"].real, known)
    assert np.abs(scores.features["fvd"].generated - known).max() > 0.01
    with pytest.raises(ValueError, match=r"video dancer: known fvd features of the true video are \[2, 400\]"):
        metrics.score(pair, {"fvd": np.concatenate([known, known])})


def test_frames_before_the_first_that_counts_are_left_out_of_everything(pair):
    late = VideoPair("dancer", pair.generated[3:], pair.real[3:], pair.from_frame(3).keypoints)
    whole = load_metrics(WEIGHT_FREE, measuring=MetricSettings(first_frame=3)).score(pair)
    assert whole.flat() == load_metrics(WEIGHT_FREE).score(late).flat()
    assert whole.num_frames == FRAMES - 3


def test_scores_travel_between_processes(pair):
    scores = load_metrics(["l1", "hand_sharpness"]).score(pair)
    copy = pickle.loads(pickle.dumps(scores))
    assert copy.flat() == scores.flat()
    np.testing.assert_array_equal(copy.features["hand_sharpness"].real, scores.features["hand_sharpness"].real)


def test_the_record_says_how_it_was_measured_and_with_which_files(weights):
    metrics = load_metrics(["psnr", "fvd"], measuring=MetricSettings(ClipSampling(stride=8), first_frame=1))
    record = json.loads(json.dumps(metrics.provenance()))
    assert record["measuring"] == {"cutting": {"stride": 8, "colour": 0}, "first_frame": 1}
    network = record["networks"]["fvd"]
    assert network["known"] and network["variant"] == "disco"
    assert list(network["files"].values()) == ["20d737df02ba3f78e69c78ae267df945670a31ea9ee81014f4c63eeb79f2badd"]


# --------------------------------------------------------------------------------------- what cannot be measured


def test_a_video_without_keypoints_has_no_regions_and_says_so(pair):
    scores = load_metrics(["l1", "regions", "hand_sharpness"]).score(replace(pair, keypoints=None, regions=None))
    assert scores.flat().keys() == {"l1"}
    assert scores.left_out == dict.fromkeys(("regions", "hand_sharpness"), "there are no keypoints and no boxes")


def test_boxes_alone_are_enough_for_regions(pair):
    with_boxes = load_metrics(["regions"]).score(replace(pair, keypoints=None))
    assert with_boxes.flat() == load_metrics(["regions"]).score(pair).flat()


def test_a_video_shorter_than_a_clip_has_no_fvd_and_says_so(pair, weights):
    short = VideoPair("short", pair.generated[:12], pair.real[:12])
    scores = load_metrics(["fvd"]).score(short)
    assert scores.left_out == {"fvd": "12 frames are less than a clip of 16"} and not scores.features


def test_one_frame_has_no_changes_and_says_so(pair):
    scores = load_metrics(["l1", "dtssd", "flicker"]).score(VideoPair("still", pair.generated[:1], pair.real[:1]))
    assert scores.left_out.keys() == {"dtssd", "flicker"} and scores.flat().keys() == {"l1"}


@pytest.mark.parametrize("cut", [np.s_[:-1], np.s_[:, 1:], np.s_[:, :, 1:]])
def test_videos_of_unequal_length_or_size_are_refused_by_name(pair, cut):
    with pytest.raises(ValueError, match=r"video dance_9: frames of unequal number or size cannot be compared"):
        VideoPair("dance_9", pair.generated[cut], pair.real)


def test_keypoints_of_another_length_or_size_are_refused_by_name(pair):
    with pytest.raises(ValueError, match=r"video d: there are keypoints of 18 frames, but 17 frames"):
        VideoPair("d", pair.generated[1:], pair.real[1:], pair.keypoints)
    with pytest.raises(ValueError, match=r"video d: its keypoints are those of frames of 64×112 px, not 128×224"):
        VideoPair("d", pair.generated, pair.real, pair.keypoints.resized(64, 112))
    with pytest.raises(ValueError, match=r"video d: there are boxes of 18 frames, but 17 frames"):
        VideoPair("d", pair.generated[1:], pair.real[1:], regions=pair.regions)


def test_leaving_out_all_frames_is_refused_by_name(pair):
    with pytest.raises(ValueError, match="video dancer: of its 18 frames, none are left after the first 18"):
        load_metrics(["l1"], measuring=MetricSettings(first_frame=18)).score(pair)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        MetricSettings(first_frame=-1)


def test_features_that_are_not_finite_are_refused_by_the_videos_name(pair, weights):
    metrics = load_metrics(["fvd"])
    with torch.no_grad():
        metrics.networks["fvd"].network.logits["conv3d"].bias[7] = float("nan")
    with pytest.raises(
        ValueError, match="video dancer: fvd features of the generated video must be finite: row 0 of 1"
    ):
        metrics.score(pair)


def test_frames_too_small_for_a_network_are_refused_by_the_videos_name(weights):
    tiny = np.zeros((2, 20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="video tiny: lpips_alex needs frames of at least 31×31 px"):
        load_metrics(["lpips_alex"]).score(VideoPair("tiny", tiny, tiny))


# -------------------------------------------------------------------------------------------------------- names


def own_weights(folder: Path) -> dict[str, Path]:
    """Unpublished weights under the names of official files."""
    networks = {"fvd": ("i3d_kinetics400", InceptionI3d()), "lpips_alex": ("lpips_alexnet", Lpips("alex"))}
    files = {}
    for metric, (name, network) in networks.items():
        files[metric] = folder / f"{name}.safetensors"
        save_file(network.state_dict(), files[metric])
    return files


@pytest.mark.slow
def test_no_number_of_other_weights_goes_by_a_published_name(pair, sample_data, tmp_path):
    files = own_weights(tmp_path) | {"csim": str(sample_data / "weights" / "mobilefacenet.safetensors")}
    scores = load_metrics(["l1"], files).score(pair)
    assert scores.features.keys() == {"fd[i3d]"}
    named = scores.flat().keys() | scores.left_out.keys()
    assert {"l1", "distance[lpips_alex]", "cosine[mobilefacenet]"} <= named
    assert not named & {"fvd", "lpips_alex", "csim"}


def test_a_published_metric_that_was_asked_for_is_refused_with_other_weights(tmp_path):
    with pytest.raises(UnknownWeights, match=r"fvd was asked for, but .*i3d_kinetics400\.safetensors does not hold"):
        load_metrics(["fvd"], own_weights(tmp_path))


def test_altered_official_files_are_refused_whether_asked_for_or_not(tmp_path, monkeypatch):
    computer_with(tmp_path, monkeypatch, tmp_path)
    own_weights(tmp_path)
    for names in (["fvd"], None):
        with pytest.raises(AlteredWeights, match=r"is not the official file: expected sha256 .*, found sha256"):
            load_metrics(names)


@pytest.mark.parametrize("name", ["fid", "fid_vid", "fvd", "lpips_vgg", "csim"])
def test_what_was_asked_for_by_name_must_be_there(name, no_weights_at_all):
    with pytest.raises(MissingWeights):
        load_metrics([name])


def test_unknown_names_are_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"there is no metric lpips here; choose from psnr, .*lpips_vgg_disco"):
        load_metrics(["psnr", "lpips"])
    with pytest.raises(ValueError, match="there is no metric psnr here; choose from lpips_vgg_disco"):
        load_metrics(weights={"psnr": "file.pt"})


def test_every_metric_can_be_asked_for_once_even_if_it_is_named_twice(pair):
    assert load_metrics(["l1", "psnr", "l1"]).names == ("l1", "psnr")
    assert set(METRICS) > set(WEIGHT_FREE)
    assert isinstance(load_metrics(["l1"]), Metrics)
