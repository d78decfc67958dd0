"""Each picture and keypoint in the store is that of one frame of the video; the videos here count their frames."""

import dataclasses
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from hia.conditions.blur import sharpness
from hia.data.preprocess.build_store import build_store
from hia.pose.keypoint_files import load_keypoints, save_keypoints
from hia.pose.keypoints import HANDS
from hia.video import read_frames, write_video
from tests.conftest import present
from tests.data.raw_videos import background, frames_of, people_at, small_config, write_networks

WIDTH, HEIGHT = 96, 128
MIDDLE = np.array([WIDTH / 2, HEIGHT / 2])
BLOCKS = [(32 + 8 * (bit % 4), 56 + 8 * (bit // 4)) for bit in range(8)]
# The left wrist moves so far with each frame: keypoints count too.
WRIST, STEP = 9, 0.125
CLIPS = ("width=96", "height=128", "preprocess.latents=false")


def numbered(wall, number):
    """A frame with its number in black and white blocks."""
    [frame] = frames_of(MIDDLE[None], wall)
    for bit, (x, y) in enumerate(BLOCKS):
        frame[y : y + 8, x : x + 8] = 255 * (number >> bit & 1)
    return frame


def counting_video(path: Path, walls, stamps, rate=240):
    """A video of frames with these time stamps, in 1/rate s, and a sidecar."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, (wall, stamp) in enumerate(zip(walls, stamps, strict=True)):
            picture = av.VideoFrame.from_ndarray(numbered(wall, number), format="rgb24")
            picture.pts = int(stamp)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    people = people_at(np.tile(MIDDLE, (len(stamps), 1)))
    keypoints = people.keypoints.copy()
    keypoints[:, WRIST, 0] = 40 + STEP * np.arange(len(stamps))
    save_keypoints(dataclasses.replace(people, keypoints=keypoints), path.with_suffix(".npz"))


def numbers(store):
    """Of each clip: the numbers in its pictures, and those in its keypoints."""
    found = []
    for info in store.clips:
        clip, (left, top, width, height) = store.read(info), info.crop
        x = [round((x + 4 - left) * info.width / width) for x, _ in BLOCKS]
        y = [round((y + 4 - top) * info.height / height) for _, y in BLOCKS]
        pictures = [sum((clip.frame(i)[y, x, 1] > 127) << np.arange(8)) for i in range(len(clip))]
        wrists = (clip.keypoints.keypoints[:, WRIST, 0] + 0.5) * width / info.width + left - 0.5
        found.append((pictures, np.round((wrists - 40) / STEP).astype(int).tolist()))
    return found


def shown(stamps, fps, rate=240):
    """Indices of the frames that a video of constant rate shows: the nearest in time, the earlier of two."""
    times = np.array(stamps) / rate
    return [int(np.abs(times - instant / fps).argmin()) for instant in range(int(times[-1] * fps + 1e-6) + 1)]


UNEVEN = np.cumsum([0, *np.random.default_rng(3).choice([5, 8, 8, 11], 89)])
CASES = {
    "30 fps": (np.arange(70) * 8, 30, ()),
    "120 fps": (np.arange(200) * 2, 30, ()),
    "uneven": (UNEVEN, 25, ("preprocess.fps=25",)),
    "fewer than asked for": (np.arange(60) * 12, 30, ("preprocess.fps=30",)),
}


@pytest.mark.parametrize("case", CASES)
def test_pictures_and_keypoints_are_those_of_the_nearest_frame(case, tmp_path):
    stamps, fps, settings = CASES[case]
    counting_video(tmp_path / "counting.mp4", [background()] * len(stamps), stamps)
    [[pictures, keypoints]] = numbers(build(tmp_path, *settings))
    assert pictures == keypoints == shown(stamps, fps)


def test_cuts_and_long_shots_divide_the_frames_without_loss_or_repeat(tmp_path):
    walls = [background(1) // 4] * 37 + [255 - background(2) // 4] * 83
    counting_video(tmp_path / "cuts.mp4", walls, np.arange(120) * 8)
    store = build(tmp_path, "preprocess.longest_seconds=1.5")
    found = numbers(store)
    assert [pictures for pictures, _ in found] == [keypoints for _, keypoints in found]
    assert [(pictures[0], pictures[-1]) for pictures, _ in found] == [(0, 36), (37, 77), (78, 119)]
    assert [(info.first_frame, info.end_frame) for info in store.clips] == [(0, 37), (37, 78), (78, 120)]
    assert [info.first_time for info in store.clips] == pytest.approx([0, 37 / 30, 78 / 30], abs=1e-6)


def test_a_cut_in_a_video_that_is_thinned_out_comes_at_the_first_frame_kept_of_the_new_shot(tmp_path):
    walls = [background(1) // 4] * 150 + [255 - background(2) // 4] * 150
    counting_video(tmp_path / "fast.mp4", walls, np.arange(300) * 2)
    store = build(tmp_path)
    found = numbers(store)
    assert [(info.first_frame, info.end_frame) for info in store.clips] == [(0, 149), (152, 297)]
    assert [info.first_time for info in store.clips] == pytest.approx([0, 38 / 30])
    assert [(pictures[0] % 256, pictures[-1] % 256) for pictures, _ in found] == [(0, 148), (152, 296 - 256)]


def test_frames_after_a_jump_of_the_time_stamps_are_another_clip_with_no_time_between(tmp_path):
    stamps = np.arange(80) * 8 + np.where(np.arange(80) >= 40, 240 * 3600, 0)
    counting_video(tmp_path / "jump.mkv", [background()] * 80, stamps)
    assert numbers(build(tmp_path)) == [(list(range(40)),) * 2, (list(range(40, 80)),) * 2]


def test_estimated_keypoints_lie_on_their_frames_person_in_every_shot(tmp_path):
    """The person walks; the keypoints lie at the middle of its colour in the stored picture."""
    middles = np.array([40, 64]) + np.arange(90)[:, None] * (1.5, 0.3)
    walls = [background(1, 224, 160) // 4] * 40 + [255 - background(2, 224, 160) // 4] * 50
    frames = [frames_of(middle[None], wall)[0] for middle, wall in zip(middles, walls, strict=True)]
    write_video(tmp_path / "walk.mp4", frames, 30)
    lengths = "preprocess.longest_seconds=1", "preprocess.least_seconds=0.5"
    store = build(tmp_path, *lengths, *write_networks(tmp_path / "networks"))
    assert [info.first_frame for info in store.clips] == [0, 20, 40, 65]
    for info in store.clips:
        clip = store.read(info)
        shoulders = clip.keypoints.keypoints[:, [5, 6]].mean(axis=1)[:, 0]
        pictures = clip.frames(range(len(clip))).astype(int)
        middle = [np.nonzero(frame[..., 0] - frame[..., 1] > 80)[1].mean() for frame in pictures]
        # The network's grid and the drawing round to half a pixel here and there; a frame's step is 1.5 px.
        away = (shoulders - middle) / info.upscale
        assert np.abs(away).max() < 1 and abs(away.mean()) < 0.3


@pytest.fixture(scope="module")
def real(sample_data, tmp_path_factory):
    """The store of up to three real clips, of which two reach over the frame, in half of their size."""
    folder = tmp_path_factory.mktemp("real")
    for name in present(sample_data, "walk_woman_park", "desk_woman_doctor", "gesture_woman_bench"):
        for kind, suffix in (("clips", "mp4"), ("keypoints", "npz")):
            (folder / f"{name}.{suffix}").symlink_to(sample_data / kind / f"{name}.{suffix}")
    return build(folder, "width=256", "height=448"), sample_data


def test_keypoints_move_with_the_pixels_of_real_videos(real):
    """The stored picture is found again by moving the source as the keypoints were, and no pixel beside it."""
    store, sample_data = real
    for info in store.clips:
        name = Path(info.video).stem
        source = load_keypoints(sample_data / "keypoints" / f"{name}.npz").keypoints[0].astype(np.float64)
        stored = store.read(info).keypoints.keypoints[0].astype(np.float64)
        design = np.column_stack([source, np.ones(133)])
        transform = np.linalg.lstsq(design, stored, rcond=None)[0].T
        np.testing.assert_allclose(design @ transform.T, stored, atol=1e-2)
        scale = transform[0, 0]
        frame = cv2.GaussianBlur(next(read_frames(sample_data / "clips" / f"{name}.mp4")), (0, 0), 0.4 / scale)
        picture = store.read(info).frame(0).astype(int)
        left, top, right, bottom = (side + inwards for side, inwards in zip(info.content, (4, 4, -4, -4), strict=True))
        errors = {}
        for shift in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]:
            moved = transform + np.array([[0, 0, shift[0]], [0, 0, shift[1]]])
            warped = cv2.warpAffine(frame, moved, (info.width, info.height), flags=cv2.INTER_LINEAR)
            errors[shift] = np.abs(warped.astype(int) - picture)[top:bottom, left:right].mean()
        assert min(errors, key=errors.get) == (0, 0) and errors[0, 0] < 3, (name, errors)


def test_stored_movement_is_that_of_the_stored_keypoints(real):
    """Sec. 3.2 with the decided units, written out for one hand and frame at a time."""
    store, _ = real
    for info in store.clips:
        clip = store.read(info)
        points, scores = clip.keypoints.keypoints.astype(np.float64), clip.keypoints.scores
        for frame in range(1, len(clip), 7):
            for side, hand in enumerate(HANDS):
                steps = [
                    points[frame, k] - points[frame - 1, k]
                    for k in range(hand.start, hand.stop)
                    if min(scores[frame, k], scores[frame - 1, k]) >= 0.3
                ]
                step = np.mean(steps, axis=0) if steps else np.zeros(2)
                expected = np.clip(step / (info.width, info.height) * info.fps / 30 / 0.25, -1, 1)
                np.testing.assert_allclose(clip.movement[frame, side], expected, atol=1e-5)
        np.testing.assert_array_equal(clip.movement[0], clip.movement[1])


def test_stored_sharpness_is_that_of_the_stored_frames_hands(real):
    """Up to what the JPEG changes; hands at the edge of the padding are measured where there is a picture."""
    store, _ = real
    for info in store.clips:
        clip, (left, top, right, bottom) = store.read(info), info.content
        for frame in range(0, len(clip), 7):
            for side, box in enumerate(clip.hand_boxes[frame].tolist()):
                if box[0] < 0:
                    assert np.isnan(clip.sharpness[frame, side])
                    continue
                assert left <= box[0] < box[2] <= right and top <= box[1] < box[3] <= bottom
                hand = clip.frame(frame)[box[1] : box[3], box[0] : box[2]]
                assert clip.sharpness[frame, side] == pytest.approx(sharpness(hand), rel=0.25, abs=0.5)


def test_the_manifest_sums_up_what_the_clips_hold(real):
    store, _ = real
    for info in store.clips:
        clip = store.read(info)
        speeds = np.linalg.norm(clip.movement, axis=-1)
        scores = clip.keypoints.scores
        known = [
            speeds[frame, side]
            for frame in range(1, len(clip))
            for side, hand in enumerate(HANDS)
            if (scores[frame - 1 : frame + 1, hand].min(axis=0) >= 0.3).any()
        ]
        assert info.speed == pytest.approx(np.percentile(known, 95), abs=1e-5)
        assert info.sharpness == pytest.approx(np.nanmedian(clip.sharpness), abs=1e-5)
        assert info.hands_seen == pytest.approx((clip.hand_boxes[..., 0] >= 0).any(axis=1).mean(), abs=1e-5)
        assert info.face_seen == pytest.approx((clip.face_boxes[:, 0] >= 0).mean(), abs=1e-5)
        assert info.filled == pytest.approx(clip.filled.mean(), abs=1e-5)
        assert info.keypoint_source == "sidecar"
        assert info.upscale == pytest.approx(info.height / info.crop[3], abs=1e-5)
        assert (info.num_frames, info.seconds) == (len(clip), pytest.approx(len(clip) / info.fps))


def build(folder: Path, *settings: str):
    """The store of the videos in a folder."""
    return build_store([str(folder)], f"{folder}-store", small_config(*CLIPS, *settings), threads=1).store
