"""Opening a store: its content can be read at once, and every damage is reported."""

import json
import pickle
import shutil

import numpy as np
import pytest

from hia.data.store.clip import Clip
from hia.data.store.clip_store import MANIFEST, StoreError, open_store
from hia.data.store.records import Rejection
from tests.data.tiny_store import TinyClip, write_store


@pytest.fixture
def store_copy(tiny_store, tmp_path):
    return shutil.copytree(tiny_store, tmp_path / "copy")


def rewrite_header(folder, **changes):
    first, *rest = (folder / MANIFEST).read_text().splitlines()
    (folder / MANIFEST).write_text("\n".join([json.dumps(json.loads(first) | changes), *rest]) + "\n")


def test_clips_come_back_as_they_were_written(tiny_store, tiny_clips: list[TinyClip]):
    store = open_store(tiny_store)
    assert [info.video for info in store.clips] == [clip.video for clip in tiny_clips]
    for info, original in zip(store.clips, tiny_clips, strict=True):
        clip = store.read(info)
        np.testing.assert_array_equal(clip.keypoints.keypoints, original.keypoints.keypoints)
        assert clip.keypoints.fps == original.keypoints.fps == info.fps
        error = clip.frames(range(len(clip))).astype(int) - original.frames
        assert np.sqrt((error**2).mean()) < 4, "a JPEG of quality 95"
        assert np.isnan(clip.sharpness).sum() == (clip.hand_boxes[..., 0] < 0).sum()


def test_any_frame_is_read_alone_at_any_reduction(tiny_store):
    store = open_store(tiny_store, check="none")
    clip = store.read(store.clips[0])
    for reduction in (1, 2, 4):
        frame = clip.frame(17, reduction)
        assert frame.shape == (112 // reduction, 64 // reduction, 3)
        np.testing.assert_array_equal(clip.frames([3, 17, 3], reduction)[1], frame)
    with pytest.raises(IndexError, match="frame 60 of"):
        clip.frame(60)


def test_reduced_frames_are_the_frame_in_small(tiny_store):
    store = open_store(tiny_store, check="none")
    clip = store.read(store.clips[0])
    averaged = clip.frame(5).reshape(56, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(averaged - clip.frame(5, 2)).mean() < 3


def test_latents_are_read_by_row_and_size(tiny_store):
    store = open_store(tiny_store, check="none")
    clip = store.read(store.clips[0])
    assert clip.latents([0, 5, 5], 64, 112).shape == (3, 48, 28, 16)
    assert clip.latents([1], 32, 56, mirrored=True).shape == (1, 48, 14, 8)
    whole = clip.array("latents_64x112")
    np.testing.assert_array_equal(clip.latents([7, 2], 64, 112), whole[[7, 2]])
    with pytest.raises(ValueError, match="made without latents_8x8; preprocess again"):
        clip.latents([0], 8, 8)


def test_a_store_travels_to_other_processes(tiny_store):
    store = open_store(tiny_store)
    store.read(store.clips[0])
    again = pickle.loads(pickle.dumps(store))
    assert again.clips == store.clips
    np.testing.assert_array_equal(again.read(again.clips[0]).frame(0), store.read(store.clips[0]).frame(0))


def test_the_sharpness_scale_is_of_the_training_split(tiny_store):
    store = open_store(tiny_store)
    samples = np.concatenate([store.read(info).sharpness.ravel() for info in store.of_split("train")])
    expected = np.percentile(np.log1p(samples[~np.isnan(samples)]), [5, 75, 95])
    scale = store.sharpness_scale
    np.testing.assert_allclose([scale.p5, scale.p75, scale.p95], expected, rtol=1e-6)


def test_rejections_are_read(tiny_clips, tmp_path):
    rejection = Rejection(video='a "b" <c>.mp4', reason="nobody", message="no one\nthere", first_time=1.0, end_time=2.5)
    store = open_store(write_store(tmp_path / "store", tiny_clips[:1], rejected=[rejection]))
    assert store.rejected == (rejection,)
    assert store.statistics["rejected"] == {"nobody": 1}


def test_no_store(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no clip store here.*hia preprocess"):
        open_store(tmp_path)


def test_a_store_of_another_version_says_so(store_copy):
    rewrite_header(store_copy, version=99)
    with pytest.raises(StoreError, match="version 99, this program reads 1"):
        open_store(store_copy)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "", "first line is not that of a clip store"),
        (lambda text: "{}\n" + text, "first line is not that of a clip store"),
        (lambda text: text.replace('"statistics"', '"x"', 1), "statistics is missing"),
        (lambda text: "\n".join(text.splitlines()[:-1]) + "\n", "lists 3 clips, its first line says 4"),
        (lambda text: text[:-40], "line 5 is damaged"),
        (lambda text: text.replace('"num_frames":60', '"num_frames":"many"', 1), r"line \d is damaged: num_frames"),
    ],
)
def test_a_damaged_manifest_says_where(store_copy, damage, message):
    manifest = store_copy / MANIFEST
    manifest.write_text(damage(manifest.read_text()))
    with pytest.raises(StoreError, match=message):
        open_store(store_copy)


def test_a_missing_clip_file_is_named(store_copy):
    victim = open_store(store_copy).clips[1]
    (store_copy / victim.file).unlink()
    for check in ("hash", "size"):
        with pytest.raises(StoreError, match=f"{victim.file}.*is missing"):
            open_store(store_copy, check=check)
    store = open_store(store_copy, check="none")
    with pytest.raises(FileNotFoundError, match=f"{victim.file}: this file of the store is missing"):
        store.read(store.clips[1])


def test_an_altered_clip_file_is_named_even_at_equal_size(store_copy):
    victim = open_store(store_copy).clips[2]
    path = store_copy / victim.file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=f"{victim.file}.*was altered"):
        open_store(store_copy)
    path.write_bytes(content[:-5])
    with pytest.raises(StoreError, match=f"{victim.file}.*bytes instead of"):
        open_store(store_copy, check="size")


def test_a_clip_file_that_is_another_clip_is_refused(store_copy):
    store = open_store(store_copy)
    shutil.copy(store_copy / store.clips[0].file, store_copy / store.clips[1].file)
    with pytest.raises(ValueError, match="it is clip clip000, not clip001"):
        Clip(store_copy / store.clips[1].file, store.clips[1])


def test_a_clip_file_that_is_no_clip_is_refused(store_copy):
    store = open_store(store_copy)
    (store_copy / store.clips[0].file).write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match="not a clip that can be used"):
        Clip(store_copy / store.clips[0].file, store.clips[0])
