"""Measures of face and hands, agreement of the hands' sharpness, and identity: known pixels and real people."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from hia.conditions.blur import sharpness
from hia.conditions.regions import Box, face_box, hand_boxes
from hia.evaluation.identity import Identity, load_identity, usable_faces
from hia.evaluation.image import l1, psnr, ssim
from hia.evaluation.regions import Regions, region_values, sharpness_agreement, sharpness_pairs
from hia.evaluation.weights.digests import AlteredWeights
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.video import frames_at
from hia.weights.find import MissingWeights
from tests.conftest import present

FACE, LEFT, RIGHT = Box(4, 4, 20, 24), Box(30, 10, 42, 22), Box(2, 30, 7, 35)
REGIONS = Regions(face=(FACE, None), hands=((LEFT, None), (LEFT, RIGHT)))


def pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    frames = np.random.default_rng(seed).integers(0, 256, (2, 2, 40, 48, 3), np.uint8)
    return frames[0], frames[1]


def inside(frames: np.ndarray, index: int, box: Box) -> np.ndarray:
    return frames[index : index + 1, box.top : box.bottom, box.left : box.right]


# ----------------------------------------------------------------------------------------------------- regions


def test_each_box_is_measured_as_if_it_were_a_picture():
    real, made = pair()
    values = region_values(real, made, REGIONS)
    for name, measure in (("l1", l1), ("psnr", psnr), ("ssim", ssim)):
        assert values[f"face_{name}"].tolist() == [measure(inside(real, 0, FACE), inside(made, 0, FACE))[0]]
    boxes = [(0, LEFT), (1, LEFT), (1, RIGHT)]
    assert values["hands_l1"].tolist() == [l1(inside(real, *place), inside(made, *place))[0] for place in boxes]


def test_only_pixels_within_a_box_count():
    real, made = pair()
    elsewhere = made.copy()
    elsewhere[:, :, 43:] = 0
    before, after = region_values(real, made, REGIONS), region_values(real, elsewhere, REGIONS)
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_a_box_smaller_than_the_window_of_ssim_has_none():
    values = region_values(*pair(), REGIONS)
    assert len(values["hands_l1"]) == 3 and len(values["hands_ssim"]) == 2


def test_regions_that_are_nowhere_have_no_figures():
    assert region_values(*pair(), Regions((None, None), ((None, None), (None, None)))) == {}


def test_the_boxes_are_those_of_training(sample_data):
    name, *_ = present(sample_data, "sign_woman_home", "gesture_woman_bench")
    keypoints = load_keypoints(sample_data / "keypoints" / f"{name}.npz")
    regions = Regions.of(keypoints)
    assert len(regions) == len(keypoints)
    person = keypoints.keypoints[40], keypoints.scores[40], keypoints.width, keypoints.height
    assert regions.face[40] == face_box(*person) and regions.hands[40] == hand_boxes(*person)


def test_faces_and_hands_must_be_of_equally_many_frames():
    with pytest.raises(ValueError, match="faces of 1 frames, but hands of 2"):
        Regions((None,), ((None, None), (None, None)))


# --------------------------------------------------------------------------------------------------- sharpness


def test_sharpness_is_measured_in_the_same_boxes_as_the_condition():
    real, made = pair()
    generated, asked = sharpness_pairs(real, made, REGIONS)
    boxes = [(0, LEFT), (1, LEFT), (1, RIGHT)]
    assert asked.tolist() == [sharpness(inside(real, *place)[0]) for place in boxes]
    assert generated.tolist() == [sharpness(inside(made, *place)[0]) for place in boxes]


def test_hands_as_sharp_as_asked_for_agree_perfectly():
    asked = np.array([1.0, 50.0, 7.0, 300.0])
    figures = sharpness_agreement(asked, asked)
    assert figures["hand_sharpness_log_ratio"] == 0
    assert figures["hand_sharpness_spearman"] == pytest.approx(1)
    assert figures["hand_sharpness_pearson"] == pytest.approx(1)


def test_any_order_preserving_change_keeps_the_rank_correlation_alone():
    asked = np.array([1.0, 50.0, 7.0, 300.0])
    figures = sharpness_agreement(asked**3, asked)
    assert figures["hand_sharpness_spearman"] == pytest.approx(1)
    assert figures["hand_sharpness_pearson"] < 1


def test_ties_share_their_rank_and_opposites_disagree():
    # Ranks 1.5, 1.5, 3, 4 against 1, 2, 3, 4: Pearson's correlation of these.
    expected = np.corrcoef([1.5, 1.5, 3, 4], [1, 2, 3, 4])[0, 1]
    figures = sharpness_agreement(np.array([5.0, 5, 6, 7]), np.array([1.0, 2, 3, 4]))
    assert figures["hand_sharpness_spearman"] == pytest.approx(expected)
    assert sharpness_agreement(np.array([3.0, 2, 1]), np.array([1.0, 2, 3]))["hand_sharpness_spearman"] == -1


def test_hands_blurred_too_much_have_a_negative_log_ratio():
    asked = np.expm1(np.array([3.0, 4.0, 6.0]))
    made = np.expm1(np.array([2.5, 3.5, 1.0]))
    assert sharpness_agreement(made, asked)["hand_sharpness_log_ratio"] == pytest.approx(-0.5)


def test_correlations_that_mean_nothing_are_absent():
    assert sharpness_agreement(np.zeros(0), np.zeros(0)) == {}
    for made, asked in (
        ([1.0, 2.0], [1.0, 2.0]),
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0]),
    ):
        assert sharpness_agreement(np.array(made), np.array(asked)).keys() == {"hand_sharpness_log_ratio"}


# ---------------------------------------------------------------------------------------------------- identity

NUMBERS = range(0, 60, 20)


@pytest.fixture(scope="module")
def identity(sample_data: Path) -> Identity:
    return load_identity(str(sample_data / "weights" / "mobilefacenet.safetensors"))


def person(sample_data: Path, name: str) -> tuple[np.ndarray, KeypointSequence]:
    """Three real frames and their keypoints, 256 px wide."""
    frames = frames_at(sample_data / "clips" / f"{name}.mp4", NUMBERS)
    small = np.stack([cv2.resize(frame, (256, 448), interpolation=cv2.INTER_AREA) for frame in frames])
    whole = load_keypoints(sample_data / "keypoints" / f"{name}.npz")
    some = replace(whole, keypoints=whole.keypoints[list(NUMBERS)], scores=whole.scores[list(NUMBERS)])
    return small, some.resized(256, 448)


def test_a_video_is_its_own_person_and_no_other(sample_data, identity):
    frames, keypoints = person(sample_data, "gesture_man_kitchen")
    others, other_keypoints = person(sample_data, "sign_woman_home")
    own = identity(frames, frames, keypoints)
    assert own.shape == (3,) and own[0] == pytest.approx(1, abs=1e-5) and own.min() > 0.5
    # Another person's face, put where the first one's is looked for.
    faces = usable_faces(keypoints)
    swapped = np.stack(
        [_moved(other, usable_faces(other_keypoints)[index], faces[index]) for index, other in enumerate(others)]
    )
    assert identity(frames, swapped, keypoints).max() < 0.4


def _moved(frame: np.ndarray, places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    transform, _ = cv2.estimateAffinePartial2D(places, wanted)
    return cv2.warpAffine(frame, transform, (frame.shape[1], frame.shape[0]))


def test_blur_lowers_identity(sample_data, identity):
    frames, keypoints = person(sample_data, "sign_woman_home")
    blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 6) for frame in frames])
    assert identity(frames, blurred, keypoints).mean() < identity(frames, frames, keypoints).mean() - 0.1


def test_frames_without_a_usable_face_are_left_out_and_the_first_usable_one_is_the_reference(sample_data, identity):
    frames, keypoints = person(sample_data, "sign_woman_home")
    scores = keypoints.scores.copy()
    scores[0] = 0
    faceless = replace(keypoints, scores=scores)
    cosines = identity(frames, frames, faceless)
    assert cosines.shape == (2,) and cosines[0] == pytest.approx(1, abs=1e-5)
    assert identity(frames, frames, replace(keypoints, scores=np.zeros_like(scores))).shape == (0,)


def test_the_first_frame_is_the_reference_even_if_it_does_not_count(sample_data, identity):
    frames, keypoints = person(sample_data, "sign_woman_home")
    whole = identity(frames, frames, keypoints)
    np.testing.assert_allclose(identity(frames, frames, keypoints, first_frame=1), whole[1:], atol=1e-5)


def test_csim_is_only_insightfaces_own(sample_data, identity, tmp_path, monkeypatch):
    assert identity.key == "cosine[mobilefacenet]"
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(MissingWeights, match="buffalo_l"):
        load_identity()
    (tmp_path / "w600k_r50.onnx").write_bytes(b"another network")
    with pytest.raises(AlteredWeights, match=r"w600k_r50\.onnx is not InsightFace's file: expected sha256 4c06341c"):
        load_identity()
