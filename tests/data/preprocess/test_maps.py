"""Maps: further pictures of each frame beside a video, kept in the clip and passed on as control channels."""

import shutil
import warnings

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from hia.config.stages import SPATIAL
from hia.data.ingest.layouts import find_videos_in_layout
from hia.data.preprocess.build_store import build_store
from hia.data.sampling import TrainingSamples
from hia.data.sampling.sample import cut_maps
from hia.data.store.clip_store import open_store
from hia.evaluation.protocol.reenactment import clip_driving_signal
from hia.models.animation_model import AnimationModel
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.video import read_frames, write_video
from tests.data.raw_videos import small_config, write_dance

NAMES = ("depth", "normals")
SIZE = (32, 48)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    write_dance(folder / "a.mp4")
    return folder


def built(videos, *overrides):
    config = small_config("preprocess.latents=false", *overrides)
    return build_store([str(videos)], str(videos.parent / "store"), config)


def write_picture(path):
    assert cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))


def write_map(path, change=lambda frame: frame, frames=None):
    """Write a map made from the video's own frames."""
    video = path.parent / f"{path.name.partition('.')[0]}.mp4"
    write_video(path, [change(frame) for frame in list(read_frames(video))[:frames]], 30)


def test_maps_are_found_beside_their_video_and_are_no_videos(videos):
    write_map(videos / "a.depth.mp4")
    (videos / "a.normals").mkdir()
    write_picture(videos / "a.normals" / "0.png")
    write_dance(videos / "b.depth.mp4", sidecar=False)
    found = find_videos_in_layout([str(videos)], maps=NAMES)
    assert {source.name: dict(source.maps) for source in found.sources} == {
        "a.mp4": {"depth": str(videos / "a.depth.mp4"), "normals": str(videos / "a.normals")},
        "b.depth.mp4": {},
    }
    assert found.ignored == {}
    assert [source.name for source in find_videos_in_layout([str(videos)]).sources] == [
        "a.depth.mp4",
        "a.mp4",
        "b.depth.mp4",
    ]


def test_maps_of_a_folder_of_frames_lie_in_it_or_beside_it(tmp_path):
    for folder in ("00001/images", "00001/depth", "00001/masks", "00001.normals"):
        (tmp_path / folder).mkdir(parents=True)
        write_picture(tmp_path / folder / "0001.png")
    (source,) = find_videos_in_layout([str(tmp_path)], maps=NAMES).sources
    assert dict(source.maps) == {"depth": str(tmp_path / "00001/depth"), "normals": str(tmp_path / "00001.normals")}


def test_a_map_is_cropped_and_kept_like_the_frames(videos):
    shutil.copy(videos / "a.mp4", videos / "a.depth.mp4")
    store = built(videos).store
    (info,) = store.clips
    clip = store.read(info)
    assert info.maps == ("depth",)
    for index in (0, 17, len(clip) - 1):
        assert_array_equal(clip.map_frame("depth", index), clip.frame(index))
    with pytest.raises(ValueError, match="made without map_normals_jpeg"):
        clip.map_frame("normals", 0)


def test_a_map_may_be_smaller_than_its_video(videos):
    write_map(videos / "a.depth.mp4", lambda frame: cv2.resize(frame, (48, 64), interpolation=cv2.INTER_AREA))
    store = built(videos).store
    clip = store.read(store.clips[0])
    map_frame = clip.map_frame("depth", 9).astype(float)
    distances = [np.abs(map_frame - clip.frame(index)).mean() for index in range(len(clip))]
    assert map_frame.shape == (48, 32, 3) and np.argmin(distances) == 9


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: write_map(path, frames=30), "30 frames, the video 40"),
        (lambda path: write_map(path, lambda frame: frame[:96]), "96×96 px, the video 96×128"),
        (lambda path: path.write_bytes(b"no video"), "its depth"),
    ],
)
def test_a_map_that_does_not_fit_its_video_is_refused(videos, write, said):
    write(videos / "a.depth.mp4")
    store = built(videos).store
    (rejection,) = store.rejected
    assert not store.clips and rejection.reason == "map" and said in rejection.message


def test_a_changed_map_makes_the_clip_anew_and_nothing_else_does(videos):
    write_map(videos / "a.depth.mp4")
    assert built(videos).done_before == 0
    assert built(videos).done_before == 1
    write_map(videos / "a.depth.mp4", lambda frame: 255 - frame)
    again = built(videos)
    assert again.done_before == 0 and len(again.store.clips) == 1


# ----------------------------------------------------------------------------------------------------- as a condition


def samples_of(videos, *overrides):
    config = small_config("conditions.maps=[depth,normals]", *overrides)
    return TrainingSamples(open_store(str(videos.parent / "store"), check="none"), config, SPATIAL, seed=0)


@pytest.fixture
def with_both(videos):
    write_map(videos / "a.depth.mp4")
    write_map(videos / "a.normals.mp4", lambda frame: np.full_like(frame, (200, 90, 120)))
    write_dance(videos / "b.mp4", seed=1)
    built(videos)
    return videos


def test_samples_carry_the_maps_of_their_targets_behind_the_drawn_channels(with_both):
    with pytest.warns(UserWarning, match="1 of 2 clips have no map depth"):
        samples = samples_of(with_both)
    seen = set()
    for position in range(24):
        draw, control = samples.draw(position), samples[position].control
        assert control.shape == (1, 12, 48, 32) and control.dtype == torch.float16
        clip = samples.store.read(draw.clip)
        expected = cut_maps(clip, draw.targets, SIZE, draw.mirrored, NAMES)
        assert torch.equal(control[:, 6:], expected)
        assert bool(expected.any()) == (draw.clip.video == "a.mp4"), "black where a clip has none"
        seen.add((draw.clip.video, draw.mirrored))
    assert len(seen) == 4


def test_a_mirrored_map_is_the_mirror_image_and_normals_turn_over(with_both):
    store = open_store(str(with_both.parent / "store"), check="none")
    clip = store.read(next(info for info in store.clips if info.video == "a.mp4"))
    plain, mirrored = (cut_maps(clip, [3, 5], SIZE, side, NAMES).float() for side in (False, True))
    torch.testing.assert_close(mirrored[:, :3], plain[:, :3].flip(-1))
    assert (plain[:, 3] * 255 - 200).abs().max() < 6 and (mirrored[:, 3] * 255 - 55).abs().max() < 6
    torch.testing.assert_close(mirrored[:, 4:], plain[:, 4:].flip(-1))
    assert torch.equal(cut_maps(clip, [3], SIZE, False, ("segmentation",)), torch.zeros(1, 3, 48, 32).half())


def test_without_maps_nothing_is_said_of_them(with_both):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = samples_of(with_both, "conditions.maps=[]")
    assert samples[0].control.shape[1] == 6


def test_reenactment_sees_the_maps_of_training(with_both):
    config = small_config("conditions={blur: false, maps: [depth, normals]}")
    store = open_store(str(with_both.parent / "store"), check="none")
    model = AnimationModel(config, build_animator(config)[0], build_codec(config.codec))
    clip = store.read(next(info for info in store.clips if info.video == "a.mp4"))
    image = clip_driving_signal(model, clip, 6).control_image(4)
    assert image.shape == (9, 48, 32)
    assert_array_equal(image[3:], cut_maps(clip, [4], SIZE, False, NAMES)[0].float().numpy())
