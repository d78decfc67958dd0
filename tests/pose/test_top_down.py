"""Detecting people and estimating their keypoints: real ONNX Runtime sessions, on tiny networks and a real detector."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from rtmlib import YOLOX, RTMPose

from hia.pose.box_tracks import overlaps
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import FEET
from hia.pose.onnx_session import OnnxModel
from hia.video import read_frames
from tests.pose.tiny_onnx import FEET_COLOUR, OTHER, PERSON, draw_person, write_detector

REAL_SIZE = {"width": 192, "height": 256}
# Nothing listens on the port "discard".
UNREACHABLE = "http://127.0.0.1:9/models/dwpose_384.zip"


def grey(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 160, (height, width, 1)).astype(np.uint8).repeat(3, axis=2)


def blob(frame: np.ndarray, x: float, y: float, side: int, colour=PERSON) -> np.ndarray:
    """A square whose middle pixel is (x, y)."""
    half = side / 2
    return draw_person(frame, (x - half + 0.5, y - half + 0.5, x + half + 0.5, y + half + 0.5), colour)


# Frame's width and height, the person's box, the planted point: scales from enlarging to a third; wide, tall and
# square boxes; reaching over every side of the frame.
PLACES = [
    ((512, 896), (100, 150, 400, 750), (250, 400)),
    ((512, 896), (100, 150, 400, 750), (90, 100)),
    ((512, 896), (-60, 300, 180, 700), (12, 500)),
    ((512, 896), (380, 500, 600, 1000), (490, 870)),
    ((640, 360), (200, 100, 500, 160), (430, 130)),
    ((640, 360), (300, -50, 350, 320), (325, 9)),
    ((160, 120), (40, 30, 90, 95), (70, 60)),
    ((97, 131), (0, 0, 97, 131), (44, 101)),
    ((64, 64), (20, 20, 44, 44), (31, 37)),
]


@pytest.mark.parametrize(("size", "box", "planted"), PLACES)
def test_a_planted_point_comes_back_within_a_pixel_from_any_box(estimator, size, box, planted):
    frame = blob(grey(*size), *planted, side=9 if max(size) < 200 else 17)
    keypoints, scores = estimator(pose="point").estimate([frame], [box])
    assert keypoints.shape == (1, 133, 2) and scores.shape == (1, 133)
    assert np.abs(keypoints[0] - planted).max() < 1
    assert scores.min() > 0.95


def test_different_frames_and_boxes_in_one_batch_do_not_mix(estimator):
    places = [place for place in PLACES if place[0] == (512, 896)]
    frames = [blob(grey(*size, seed), *planted, side=17) for seed, (size, _, planted) in enumerate(places)]
    keypoints, _ = estimator(pose="point").estimate(frames, [box for _, box, _ in places])
    np.testing.assert_allclose(keypoints[:, 0], [planted for *_, planted in places], atol=1)


def test_a_batch_gives_the_numbers_of_single_frames_and_of_a_model_of_fixed_batch(estimator):
    rng = np.random.default_rng(1)
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rng.uniform(20, 100, (7, 4))])
    frames = [draw_person(grey(256, 256, seed), tuple(box)) for seed, box in enumerate(boxes)]
    together = estimator().estimate(frames, boxes)
    one_by_one = [estimator().estimate([frame], [box]) for frame, box in zip(frames, boxes, strict=True)]
    fixed = estimator(pose="single").estimate(frames, boxes)
    for index in range(2):
        np.testing.assert_allclose(together[index], np.concatenate([pair[index] for pair in one_by_one]), atol=1e-3)
        np.testing.assert_allclose(together[index], fixed[index], atol=1e-3)


class Recording:
    """A session that notes how many pictures each call brings."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session, self.sizes = session, []

    def run(self, outputs, pictures):
        self.sizes += map(len, pictures.values())
        return self.session.run(outputs, pictures)

    def __getattr__(self, name):
        return getattr(self.session, name)


@pytest.mark.parametrize(("network", "sizes"), [("pose", [5]), ("single", [1] * 5)])
def test_a_batch_is_one_call_where_the_model_allows_it(networks, network, sizes):
    model = OnnxModel.open(networks[network], threads=1)
    recording = replace(model, session=Recording(model.session))
    simcc_x, _ = recording.run(np.zeros((5, 3, 64, 48), np.float32), ["simcc_x", "simcc_y"])
    assert len(simcc_x) == 5 and recording.session.sizes == sizes


def test_poses_are_those_of_rtmlib_given_rgb(estimator, networks):
    frame, box = draw_person(grey(200, 300), (60, 80, 110, 230)), (50, 70, 120, 240)
    # The network weighs pixels by their colour: a slightly different normalisation moves what it finds.
    frame[80:230, 60:110] += np.linspace(0, 35, 50)[None, :, None].astype(np.uint8)
    theirs = RTMPose(str(networks["pose"]), model_input_size=(48, 64))(frame, [box])
    ours = estimator().estimate([frame], [box])
    # A point halfway between two bins may fall into either; the scores tell its place between them.
    np.testing.assert_allclose(ours[0], theirs[0], atol=1.7)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-4)


def test_the_feet_and_only_the_feet_come_from_the_feet_model(estimator):
    frame = blob(blob(grey(256, 256), 100, 90, 17), 140, 200, 17, FEET_COLOUR)
    keypoints, _ = estimator(pose="point", feet="feet").estimate([frame], [(60, 60, 190, 220)])
    assert np.abs(keypoints[0, FEET] - (140, 200)).max() < 1
    assert np.abs(np.delete(keypoints[0], range(17, 23), axis=0) - (100, 90)).max() < 1


def test_a_feet_model_of_another_size_sees_crops_of_its_own(estimator):
    frame = blob(draw_person(grey(256, 256), (80, 70, 120, 180)), 140, 200, 17, FEET_COLOUR)
    keypoints, _ = estimator(pose="pose", feet="feet").estimate([frame], [(60, 60, 190, 220)])
    assert np.abs(keypoints[0, FEET] - (140, 200)).max() < 1


def test_scores_of_the_feet_are_the_feet_models_too(estimator):
    frame = blob(grey(256, 256), 100, 90, 17)
    _, scores = estimator(pose="point", feet="feet").estimate([frame], [(60, 60, 190, 220)])
    assert (scores[0, FEET] == 0).all() and (np.delete(scores[0], range(17, 23)) > 0.9).all()


def test_views_contain_what_the_pose_model_sees_and_no_more(estimator):
    pose = estimator(pose="point")
    box = np.array([[200.0, 300.0, 260.0, 420.0]])
    left, top, right, bottom = pose.views(box)[0]
    assert (right - left) / (bottom - top) == pytest.approx(192 / 256) and bottom - top == pytest.approx(150)
    for x, y, seen in ((left + 9, top + 9, True), (left - 9, top + 9, False), (right + 9, bottom - 9, False)):
        _, scores = pose.estimate([blob(grey(512, 640), round(x), round(y), 9)], box)
        assert (scores.max() > 0.9) == seen


def test_no_frames_give_no_poses(estimator):
    keypoints, scores = estimator().estimate([], np.zeros((0, 4)))
    assert keypoints.shape == (0, 133, 2) and scores.shape == (0, 133)


@pytest.mark.parametrize("box", [(10, 10, 10, 50), (10, 50, 60, 20), (0, 0, np.nan, 9), (0, 0, np.inf, 9)])
def test_boxes_without_area_are_refused(estimator, box):
    with pytest.raises(ValueError, match="box 1 must be finite"):
        estimator().estimate([grey(64, 64)] * 2, [(0, 0, 5, 5), box])


def test_as_many_boxes_as_frames_are_needed(estimator):
    with pytest.raises(ValueError, match=r"2 frames need boxes \[2, 4\], not \[1, 4\]"):
        estimator().estimate([grey(64, 64)] * 2, [(0, 0, 5, 5)])


@pytest.mark.parametrize("form", ["detector", "grid"])
@pytest.mark.parametrize("size", [(512, 896), (640, 360), (96, 96), (61, 203)])
def test_a_person_is_found_where_it_is_in_frames_of_any_shape(estimator, form, size):
    box = np.round(np.array([0.3, 0.2, 0.6, 0.75]) * np.tile(size, 2))
    found = estimator(detector=form).detect(draw_person(grey(*size), tuple(box)))
    assert found.shape == (1, 5) and found.dtype == np.float32
    assert overlaps(found[:, :4], box[None])[0, 0] > 0.85 and 0.9 < found[0, 4] <= 1


@pytest.mark.parametrize("form", ["detector", "grid"])
def test_where_nobody_is_nobody_is_found(estimator, form):
    assert estimator(detector=form).detect(grey(120, 200)).shape == (0, 5)


@pytest.mark.parametrize("form", ["detector", "grid"])
def test_a_colour_with_its_channels_swapped_is_nobody(estimator, form):
    frame = draw_person(grey(120, 200), (30, 40, 80, 180), PERSON[::-1])
    assert estimator(detector=form).detect(frame).shape == (0, 5)
    assert estimator().estimate([frame], [(30, 40, 80, 180)])[1].max() == 0


def test_boxes_end_where_the_frame_ends(estimator):
    found = estimator().detect(draw_person(grey(120, 200), (70, 100, 120, 200)))
    assert (found[0, :4] <= (120, 200, 120, 200)).all() and found[0, 2] > 118


@pytest.mark.parametrize("form", ["boxes", "grid"])
def test_of_all_that_is_found_only_people_are_kept(estimator, tmp_path, form):
    frame = draw_person(draw_person(grey(200, 200), (20, 30, 70, 180)), (120, 60, 180, 140), OTHER)
    both = write_detector(tmp_path / "both.onnx", colours=[PERSON, OTHER], form=form)
    assert len(estimator(detector=both).detect(frame)) == 2
    chair = write_detector(tmp_path / "chair.onnx", colours=[PERSON, OTHER], form=form, classes=[0, 56])
    (person,) = estimator(detector=chair).detect(frame)
    assert person[0] < 70


def test_detections_below_the_least_score_are_dropped(estimator):
    frame = draw_person(grey(120, 200), (30, 40, 80, 180))
    assert len(estimator(detector="grid", least_score=0.5).detect(frame)) == 1
    assert len(estimator(detector="grid", least_score=0.9999).detect(frame)) == 0


def test_a_real_detector_finds_what_rtmlib_finds_with_it(estimator, sample_data):
    file = sample_data / "weights" / "yolox_nano.onnx"
    frame = next(iter(read_frames(sample_data / "clips" / "balance_man_lab.mp4")))
    theirs, classes = YOLOX(str(file), (416, 416), score_thr=0.5, det_mode="multiclass")(frame[..., ::-1])
    ours = estimator(detector=file).detect(frame)
    people = theirs[classes == 0]
    assert len(ours) == len(people) == 2 and (np.diff(ours[:, 4]) <= 0).all()
    assert (overlaps(ours[:, :4], people).max(axis=1) > 0.98).all()


@pytest.mark.parametrize("clip", ["juggle_man_park", "walk_woman_park"])
def test_a_real_detector_finds_real_people_where_their_keypoints_are(estimator, sample_data, clip):
    detector = estimator(detector=sample_data / "weights" / "yolox_nano.onnx")
    known = load_keypoints(sample_data / "keypoints" / f"{clip}.npz")
    for index, frame in enumerate(read_frames(sample_data / "clips" / f"{clip}.mp4")):
        if index % 15 == 5:
            points = known.keypoints[index][known.scores[index] >= 0.3]
            around = np.r_[
                np.maximum(points.min(axis=0), 0), np.minimum(points.max(axis=0), (known.width, known.height))
            ]
            assert overlaps(detector.detect(frame)[:, :4], around[None]).max() >= 0.7
