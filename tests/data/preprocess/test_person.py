"""The main person's track: from sidecar files unchanged, and of one person among several who come and go."""

import dataclasses
import json

import numpy as np
import pytest

from hia.data.preprocess.build_store import build_store
from hia.data.preprocess.person import Sidecar, load_sidecar
from hia.data.preprocess.shots import Survey
from hia.data.store.records import Rejected
from hia.pose.keypoint_files import save_keypoints
from hia.video import write_video
from tests.data.raw_videos import background, centres, frames_of, people_at, small_config, write_networks
from tests.pose.tiny_onnx import OTHER, draw_person


def survey(num_frames=40, width=96, height=128):
    instants = np.arange(num_frames)
    return Survey(width, height, num_frames, 30.0, 30.0, instants, (range(num_frames),))


def saved(path, people):
    save_keypoints(people, path)
    return path


def test_a_sidecars_track_is_of_the_frames_asked_for(tmp_path):
    people = people_at(centres(40))
    sidecar = load_sidecar(saved(tmp_path / "a.npz", people), survey())
    indices = np.array([3, 3, 7, 30])
    track = sidecar.track(indices)
    np.testing.assert_array_equal(track.keypoints, people.keypoints[indices])
    np.testing.assert_array_equal(track.scores, people.scores[indices])
    assert track.others.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("frames", [39, 41])
def test_a_sidecar_has_as_many_frames_as_its_video(tmp_path, frames):
    with pytest.raises(Rejected, match=f"the keypoint file has {frames} frames, the video 40") as error:
        load_sidecar(saved(tmp_path / "a.npz", people_at(centres(frames))), survey())
    assert error.value.reason == "sidecar"


def test_a_sidecar_of_another_size_is_scaled_and_of_another_shape_refused(tmp_path):
    people = people_at(centres(40))
    path = saved(tmp_path / "a.npz", people)
    doubled = load_sidecar(path, survey(width=192, height=256)).track(np.arange(40)).keypoints
    np.testing.assert_allclose(doubled + 0.5, (people.keypoints + 0.5) * 2, atol=1e-3)
    assert load_sidecar(path, survey(width=97, height=129)).person.width == 97
    with pytest.raises(Rejected, match=r"96×128 px, the video has 96×126"):
        load_sidecar(path, survey(width=96, height=126))


def test_in_a_json_sidecar_the_larger_person_is_taken(tmp_path):
    """OpenPose: one list of people per frame, in changing order."""
    aside = np.array([20, 0])
    small, large = people_at(centres(40) - aside, half=(10, 20)), people_at(centres(40) + aside, half=(20, 44))
    frames = []
    for index in range(40):
        order = [small, large] if index % 2 else [large, small]
        frames.append({"people": [_openpose(one, index) for one in order]})
    (tmp_path / "a.json").write_text(json.dumps(frames))
    track = load_sidecar(tmp_path / "a.json", survey()).track(np.arange(5, 25))
    np.testing.assert_allclose(track.keypoints[:, 91:], large.keypoints[5:25, 91:], atol=0.01)
    assert track.others == pytest.approx(np.full(20, 10 * 20 / (20 * 44)), rel=0.05)


def test_nobody_in_a_json_sidecar_is_nobody():
    with pytest.raises(Rejected) as error:
        Sidecar(None, [(np.zeros((0, 133, 2)), np.zeros((0, 133)))] * 4).track(np.arange(4))
    assert error.value.reason == "nobody"


def test_one_who_leaves_and_comes_back_is_followed_and_absent_in_between(tmp_path):
    """Frames 30 to 59 are empty: no keypoints are invented there, and all others lie on the person."""
    frames = frames_of(centres(100), background())
    frames[30:60] = [background()] * 30
    write_video(tmp_path / "a.mp4", frames, 30)
    clip, info = only_clip(tmp_path, "preprocess.person_seen=0.6", "preprocess.shot_threshold=200")
    seen = (clip.keypoints.scores >= 0.3).sum(axis=1)
    assert (seen[:30] == 133).all() and (seen[61:] == 133).all() and (seen[32:58] == 0).all()
    assert (clip.hand_boxes[32:58] == -1).all() and np.isnan(clip.sharpness[32:58]).all()
    assert info.hands_seen == pytest.approx(0.7, abs=0.03) and info.keypoint_source == "estimated"
    found = middles(clip, info)
    np.testing.assert_allclose(found[:30], centres(100)[:30] - 0.5, atol=1)
    np.testing.assert_allclose(found[61:], centres(100)[61:] - 0.5, atol=1)


def test_the_clip_shows_the_same_person_after_another_has_crossed_the_picture(tmp_path):
    places = np.stack([np.linspace(-30, 230, 80), np.full(80, 60)], axis=1)
    mine = np.array([70, 64]) + (centres(80) - (48, 64)) / 2
    frames = frames_of(mine, background(0, 192, 128))
    crossed = [
        draw_person(frame, (x - 8, y - 22, x + 8, y + 22), OTHER) if x > 0 else frame
        for frame, (x, y) in zip(frames, places, strict=True)
    ]
    write_video(tmp_path / "a.mp4", crossed, 30)
    clip, info = only_clip(tmp_path)
    np.testing.assert_allclose(middles(clip, info), mine - 0.5, atol=4)


def test_the_first_and_last_frames_of_a_stretch_are_not_filled(tmp_path):
    """Points are lost around the border of two clips: neither has the frames of the other."""
    people = people_at(centres(60))
    scores = people.scores.copy()
    scores[28:32, 9] = 0
    scores[10:13, 9] = 0
    write_video(tmp_path / "a.mp4", frames_of(centres(60), background()), 30)
    save_keypoints(dataclasses.replace(people, scores=scores), tmp_path / "a.npz")
    store = build(tmp_path, "preprocess.longest_seconds=1")
    first, second = (store.read(info) for info in store.clips)
    assert [info.filled for info in store.clips] == [pytest.approx(3 / (30 * 133), abs=1e-6), 0]
    assert np.flatnonzero(first.filled[:, 9]).tolist() == [10, 11, 12]
    assert not second.filled.any() and (second.keypoints.scores[:2, 9] == 0).all()
    assert (first.keypoints.scores[28:, 9] == 0).all()


def test_keypoints_come_from_where_the_settings_say(tmp_path):
    """The keypoints beside the video are 3 px off, so that they differ from estimated ones."""
    write_video(tmp_path / "a.mp4", frames_of(centres(40), background()), 30)
    save_keypoints(people_at(centres(40) + 3), tmp_path / "a.npz")
    networks = write_networks(tmp_path.with_name(f"{tmp_path.name}-networks"))
    for source, away in (("auto", 3), ("sidecar", 3), ("estimate", 0)):
        output = f"{tmp_path}-{source}"
        config = small_config(*networks, f"preprocess.pose.source={source}")
        store = build_store([str(tmp_path)], output, config, threads=1).store
        [info] = store.clips
        assert info.keypoint_source == ("sidecar" if away else "estimated")
        np.testing.assert_allclose(middles(store.read(info), info), centres(40) - 0.5 + away, atol=1)


def test_a_video_without_keypoints_is_rejected_where_they_must_be_given(tmp_path):
    write_video(tmp_path / "a.mp4", frames_of(centres(40), background()), 30)
    [rejected] = build(tmp_path, "preprocess.pose.source=sidecar").rejected
    assert rejected.reason == "sidecar" and "no keypoint file beside it" in rejected.message


def build(folder, *settings):
    return build_store([str(folder)], f"{folder}-store", small_config(*settings), threads=1).store


def only_clip(folder, *settings):
    networks = write_networks(folder.with_name(f"{folder.name}-networks"))
    store = build(folder, *networks, *settings)
    [info] = store.clips
    return store.read(info), info


def middles(clip, info):
    """The person's middle in each frame, in the video's pixels."""
    left, top, width, height = info.crop
    shoulders, ankles = (clip.keypoints.keypoints[:, pair].mean(axis=1) for pair in ([5, 6], [15, 16]))
    # They lie 0.6 above and 0.85 below the middle, in halves of the figure's height.
    middle = shoulders + (ankles - shoulders) * (0.6 / 1.45)
    return (middle + 0.5) * (width / info.width, height / info.height) + (left, top) - 0.5


def _openpose(people, index):
    """One person of a frame as OpenPose writes it: only the hands and a torso."""
    points = np.column_stack([people.keypoints[index], people.scores[index]])
    body = np.zeros((18, 3))
    body[[2, 5]] = points[[6, 5]]
    return {
        "pose_keypoints_2d": body.ravel().tolist(),
        "hand_left_keypoints_2d": points[91:112].ravel().tolist(),
        "hand_right_keypoints_2d": points[112:].ravel().tolist(),
    }
