"""Dancers as files: same bytes for the same seed, keypoints that fit the pixels, blur that follows the speed."""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hia.commands import dancers
from hia.conditions.blur import hand_movement, hand_sharpness
from hia.conditions.regions import hand_boxes
from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoints import FACE, HANDS, JOINTS
from hia.synthetic import write_dancers
from hia.synthetic.body import HAND_PARTS
from hia.synthetic.casting import cast_dancer
from hia.synthetic.figure import pose_figure
from hia.synthetic.keypoints import BEHIND_OTHER, BEHIND_OWN, OUTSIDE, SEEN, keypoints_in_space
from hia.synthetic.render import Dancer, RenderedFrame, expressions_at, render, to_linear
from hia.video import probe, read_frames

WIDTH, HEIGHT = 80, 128
TINY = {"seconds": 0.2, "width": 48, "height": 80, "seed": 7}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> list[Path]:
    return write_dancers(tmp_path_factory.mktemp("tiny"), 2, **TINY)


@pytest.fixture(scope="module")
def cast():
    """Three dancers with twelve frames of each: blurred, and with an instant shutter."""
    made = []
    times = np.arange(12) / 10
    for number in range(3):
        dancer = cast_dancer(np.random.default_rng([11, number]), WIDTH, HEIGHT, times)
        made.append((dancer, list(render(dancer, times, 0.6 / 30)), list(render(dancer, times, 0.0))))
    return made


def test_a_dancer_is_a_video_with_a_keypoint_file_of_its_size_rate_and_length(tiny):
    for video in tiny:
        info, keypoints = probe(video), load_keypoints(video.with_suffix(".npz"))
        assert (info.width, info.height, info.fps, info.num_frames) == (48, 80, 30, 6)
        assert (keypoints.width, keypoints.height, keypoints.fps, len(keypoints)) == (48, 80, 30, 6)


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(tiny, tmp_path):
    again = write_dancers(tmp_path, 2, workers=3, **TINY)
    for video, other in zip(tiny, again, strict=True):
        assert video.read_bytes() == other.read_bytes()
        assert video.with_suffix(".npz").read_bytes() == other.with_suffix(".npz").read_bytes()


def test_another_seed_and_another_number_give_another_dancer(tiny, tmp_path):
    (other,) = write_dancers(tmp_path, 1, **TINY | {"seed": 8})
    assert len({video.read_bytes() for video in (*tiny, other)}) == 3


def test_complete_pairs_are_kept_and_incomplete_ones_made_again(tiny, tmp_path):
    for file in tiny[0].parent.iterdir():
        shutil.copy(file, tmp_path / file.name)
    first, second = tmp_path / "dancer_000.mp4", tmp_path / "dancer_001.mp4"
    second.with_suffix(".npz").unlink()
    second.write_bytes(b"an older attempt")
    untouched = first.stat().st_mtime_ns
    write_dancers(tmp_path, 2, **TINY)
    assert first.stat().st_mtime_ns == untouched
    assert second.read_bytes() == tiny[1].read_bytes()
    assert second.with_suffix(".npz").read_bytes() == tiny[1].with_suffix(".npz").read_bytes()


def test_a_folder_with_dancers_of_other_settings_is_refused_and_left_alone(tiny):
    before = tiny[0].read_bytes()
    with pytest.raises(ValueError, match="seed 7 instead of 8"):
        write_dancers(tiny[0].parent, 2, **TINY | {"seed": 8})
    assert tiny[0].read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 47}, "width must be even"),
        ({"height": 16}, "height must be even, in 32"),
        ({"seconds": 0.0}, "seconds must give 1 frame"),
        ({"seconds": float("nan")}, "seconds"),
        ({"fps": 0}, "fps must lie in"),
        ({"shutter": 1.5}, "shutter must lie in"),
        ({"seed": -1}, "seed must not be negative"),
        ({"count": 0}, "count must be at least 1"),
        ({"workers": 0}, "workers must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        write_dancers(tmp_path / "none", **{"count": 1, **TINY, **wrong})
    assert not (tmp_path / "none").exists()


def test_the_command_writes_dancers_and_says_so(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    dancers.add_arguments(parser)
    options = "--count 1 --seconds 0.1 --width 48 --height 80 --seed 7 --output"
    dancers.run(parser.parse_args([*options.split(), str(tmp_path / "new")]))
    assert {file.name for file in (tmp_path / "new").glob("[!.]*")} == {"dancer_000.mp4", "dancer_000.npz"}
    assert "1 dancer of 48×80" in capsys.readouterr().out


def test_hands_and_face_are_always_inside_the_frame(cast):
    for _, blurred, _ in cast:
        points = np.stack([frame.keypoints for frame in blurred])
        shown = np.concatenate([points[:, hand] for hand in (*HANDS, FACE)], axis=1)
        assert (shown >= 0).all()
        assert (shown <= (WIDTH - 1, HEIGHT - 1)).all()


def test_scores_say_what_is_seen_hidden_and_outside(cast):
    values = {float(score) for _, blurred, _ in cast for frame in blurred for score in np.unique(frame.scores)}
    assert values <= {float(np.float32(score)) for score in (SEEN, BEHIND_OWN, BEHIND_OTHER, OUTSIDE)}
    for _, blurred, _ in cast:
        for frame in blurred:
            outside = (np.round(frame.keypoints) < 0).any(axis=1) | (
                np.round(frame.keypoints) > (WIDTH - 1, HEIGHT - 1)
            ).any(axis=1)
            assert (frame.scores[outside] == OUTSIDE).all()
            assert (frame.scores[~outside] > OUTSIDE).all()


def test_finger_points_that_are_seen_lie_on_skin(cast):
    """In a sharp frame, the pixel of a fingertip that is seen has the hue of the dancer's skin, unlike the room."""
    for dancer, _, sharp in cast:
        skin = np.array(dancer.look.skin)
        near = []
        for frame in sharp:
            points = np.concatenate([np.arange(133)[hand][5::4] for hand in HANDS])
            seen = points[frame.scores[points] == SEEN]
            column, row = np.round(frame.keypoints[seen]).astype(int).T
            near.extend(_direction_error(frame.frame[row, column] / 255, skin))
        room = _direction_error((dancer.scene.background ** (1 / 2.2)).reshape(-1, 3), skin)
        assert np.median(near) < 0.08
        assert np.median(near) < np.median(room)


def test_a_hands_box_is_largely_filled_by_that_hand(cast):
    """One hand is painted in a colour of its own: its pixels lie in its box, and nearly all of them."""
    for dancer, _, sharp in cast[:2]:
        for side in range(2):
            frame, painted = sharp[3], _with_green_hand(dancer, side)
            changed = np.abs(painted.frame.astype(int) - frame.frame).sum(axis=2) > 40
            box = hand_boxes(frame.keypoints, frame.scores, WIDTH, HEIGHT)[side]
            assert box is not None
            inside = changed[box.top : box.bottom, box.left : box.right]
            assert inside.mean() > 0.12
            assert inside.sum() > 0.95 * changed.sum()


def test_keypoints_are_those_of_the_middle_of_the_shutter(cast):
    for _, blurred, sharp in cast:
        for frame, instant in zip(blurred, sharp, strict=True):
            np.testing.assert_allclose(frame.keypoints, instant.keypoints, atol=1e-4)


def test_a_long_exposure_keeps_the_light_of_the_picture(cast):
    """Sub-frames are averaged in linear light: moving parts are spread, neither brightened nor darkened."""
    for _, blurred, sharp in cast:
        light = [to_linear(np.stack([frame.frame for frame in frames]) / 255).mean() for frames in (blurred, sharp)]
        assert abs(light[0] / light[1] - 1) < 0.01


def test_the_faster_a_hand_the_more_sharpness_the_open_shutter_costs(cast):
    """Sharpness with the shutter open over that of the same instant falls with speed: rank correlation, pooled."""
    speeds, losses = [], []
    for dancer, blurred, sharp in cast:
        for number, (frame, instant) in enumerate(zip(blurred, sharp, strict=True)):
            points = _keypoints(dancer, number / 10 + np.array([-1, 1]) / 60)
            movement = hand_movement(points, np.ones(points.shape[:2]), WIDTH, HEIGHT, fps=30)[1]
            speeds.extend(np.hypot(*(movement * (WIDTH, HEIGHT)).T))
            measured = (hand_sharpness(each.frame, instant.keypoints, instant.scores) for each in (frame, instant))
            losses.extend(np.subtract(*np.log(list(measured))))
    assert _rank_correlation(np.array(speeds), np.array(losses)) < -0.6


def test_the_nose_lies_among_the_points_of_the_face(cast):
    for _, blurred, _ in cast:
        for frame in blurred:
            face = frame.keypoints[FACE]
            low, high = face.min(axis=0), face.max(axis=0)
            assert (low <= frame.keypoints[JOINTS["nose"]]).all()
            assert (frame.keypoints[JOINTS["nose"]] <= high).all()


def test_a_video_shows_what_was_rendered(tiny):
    times = np.arange(6) / 30
    dancer = cast_dancer(np.random.default_rng([7, 0]), 48, 80, times)
    for decoded, rendered in zip(read_frames(tiny[0]), render(dancer, times, 0.6 / 30), strict=True):
        assert np.abs(decoded.astype(int) - rendered.frame).mean() < 5


def _keypoints(dancer: Dancer, times: np.ndarray) -> np.ndarray:
    """The keypoints in pixels at any times, without rendering."""
    channels = dancer.dance.at(times)
    points = keypoints_in_space(pose_figure(dancer.look.body, channels), dancer.look, expressions_at(channels))
    return dancer.camera.project(points)[..., :2]


def _direction_error(colours: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Distance of colours [N, 3] from a colour, apart from brightness."""
    linear, wanted = np.maximum(colours, 1e-3) ** 2.2, skin**2.2
    return np.linalg.norm(
        linear / np.linalg.norm(linear, axis=1, keepdims=True) - wanted / np.linalg.norm(wanted), axis=1
    )


def _with_green_hand(dancer: Dancer, side: int) -> RenderedFrame:
    """The dancer's frame at 0.3 s, instant shutter, with one hand's texture moved to a green patch."""
    atlas, texture = dancer.atlas.copy(), dancer.mesh.texture.copy()
    atlas[-1, -1] = (0.0, 1.0, 0.0)
    hand = np.unique(dancer.mesh.triangles[dancer.mesh.parts == HAND_PARTS[side]])
    texture[hand] = (511, 511)
    green = replace(dancer, atlas=atlas, mesh=replace(dancer.mesh, texture=texture))
    return next(iter(render(green, np.array([0.3]), 0.0)))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])
