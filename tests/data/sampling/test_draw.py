"""Draws of the frames of training samples."""

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hia.config import Stage
from hia.config.stages import REGIONAL, SPATIAL, TEMPORAL_FULL
from hia.data.sampling import TrainingSamples
from hia.data.sampling.draw import stored_step
from hia.data.store.clip_store import ClipStore, open_store
from tests.data.tiny_samples import WINDOWS, configuration, cut_short, draws, equal, samples_of
from tests.data.tiny_store import TinyClip, write_store


@pytest.fixture(scope="module")
def store(tiny_store: Path) -> ClipStore:
    return open_store(tiny_store)


@pytest.mark.parametrize("stage", [SPATIAL, REGIONAL, WINDOWS])
def test_a_sample_depends_on_seed_stage_and_position_alone(store: ClipStore, stage: Stage):
    forward = [samples_of(store, stage)[position] for position in (0, 7, 50)]
    samples = samples_of(store, stage)
    assert all(equal(samples[position], sample) for position, sample in zip((50, 7, 0), forward[::-1], strict=True))
    assert all(equal(pickle.loads(pickle.dumps(samples))[7], sample) for sample in forward[1:2])


def test_seeds_stages_and_epochs_draw_differently(store: ClipStore):
    samples = samples_of(store)
    first, second = ([samples.draw(epoch * len(samples) + n) for n in range(len(samples))] for epoch in (0, 1))
    other_seed = draws(samples_of(store, seed=1), len(samples))
    other_stage = draws(samples_of(store, replace(SPATIAL, name="other")), len(samples))
    ids = [[draw.sample_id for draw in drawn] for drawn in (first, second, other_seed, other_stage)]
    assert len({tuple(sorted(drawn)) for drawn in ids}) == 4


def test_an_epoch_draws_from_each_clip_by_its_length(store: ClipStore):
    samples = samples_of(store, SPATIAL, "samples.samples_per_second=3")
    for epoch in (0, 1):
        drawn = Counter(samples.clip_at(epoch * len(samples) + n).id for n in range(len(samples)))
        assert drawn == {info.id: round(3 * info.seconds) for info in store.of_split("train")}


def test_even_the_shortest_clip_comes_once_in_an_epoch(store: ClipStore):
    samples = samples_of(store, SPATIAL, "samples.samples_per_second=0.001")
    assert sorted(samples.clip_at(n).id for n in range(len(samples))) == [i.id for i in store.of_split("train")]


def test_samples_are_of_the_asked_split_only(store: ClipStore):
    config = configuration()
    for split in ("train", "test"):
        samples = TrainingSamples(store, config, SPATIAL, 0, split)
        assert {samples.clip_at(n).id for n in range(2 * len(samples))} == {i.id for i in store.of_split(split)}


def test_reference_and_target_lie_apart_in_time(store: ClipStore):
    for draw in draws(samples_of(store, SPATIAL, "samples.reference_distance_seconds=0.8")):
        assert abs(draw.reference - draw.targets[0]) / draw.clip.fps >= 0.8 - 1e-6


def test_every_frame_can_be_a_target_and_every_reference_is_drawn(store: ClipStore):
    drawn = draws(samples_of(store, SPATIAL, "samples.reference_distance_seconds=0.5"), 3000)
    for info in store.of_split("train"):
        mine = [draw for draw in drawn if draw.clip == info]
        assert {draw.targets[0] for draw in mine} == set(range(info.num_frames))
        assert {draw.reference for draw in mine} == set(range(info.num_frames))


def test_in_a_short_clip_the_reference_is_as_far_as_it_can_be(tiny_clips: list[TinyClip], tmp_path: Path):
    short = open_store(write_store(tmp_path / "short", [cut_short(tiny_clips[1], 12)]))
    for draw in draws(samples_of(short, SPATIAL, "samples.reference_distance_seconds=2"), 100):
        assert abs(draw.reference - draw.targets[0]) == max(draw.targets[0], 11 - draw.targets[0])


def test_the_reference_is_never_the_target_but_in_a_clip_of_one_frame(tiny_clips: list[TinyClip], tmp_path: Path):
    two, one = cut_short(tiny_clips[1], 2), cut_short(tiny_clips[2], 1)
    folder = write_store(tmp_path / "store", [two, one, tiny_clips[0]])
    drawn = draws(samples_of(open_store(folder), SPATIAL, "samples.reference_distance_seconds=0"), 300)
    same = {draw.clip.id for draw in drawn if draw.reference == draw.targets[0]}
    assert same == {"clip001"} and {draw.clip.id for draw in drawn} == {"clip000", "clip001", "clip002"}


def test_where_faces_are_compared_the_reference_has_an_embedding(store: ClipStore):
    with_faces = 0
    for draw in draws(samples_of(store, REGIONAL, "samples.reference_distance_seconds=0.5")):
        frames = store.read(draw.clip).face_frames
        if len(frames):
            with_faces += 1
            assert draw.reference in frames
            assert abs(draw.reference - draw.targets[0]) / draw.clip.fps >= 0.5 - 1e-6
        assert draw.reference != draw.targets[0]
    assert 0 < with_faces < 300


def test_where_faces_are_compared_too_the_reference_is_another_frame(store: ClipStore):
    drawn = draws(samples_of(store, REGIONAL, "samples.reference_distance_seconds=0"))
    assert all(draw.reference != draw.targets[0] for draw in drawn)


@pytest.mark.parametrize(
    ("stride", "fps", "step"), [(1, 30, 1), (4, 30, 4), (3, 25, 3), (2, 12, 1), (1, 10, 1), (2, 60, 4)]
)
def test_strides_are_meant_at_thirty_frames_per_second(stride: int, fps: float, step: int):
    assert stored_step(stride, fps) == step


def test_windows_lie_in_their_clip_with_every_stride_of_the_range(store: ClipStore):
    found = set()
    for draw in draws(samples_of(store, WINDOWS)):
        steps = set(np.diff(draw.targets))
        assert len(draw.targets) == 5 and len(steps) == 1
        assert draw.targets[0] >= 0 and draw.targets[-1] < draw.clip.num_frames
        found |= {(step, draw.clip.fps) for step in steps}
    assert found == {(stored_step(stride, fps), fps) for stride in (2, 3, 4) for fps in (30.0, 25.0, 24.0)}


def test_windows_reach_both_ends_of_a_clip(store: ClipStore):
    drawn = draws(samples_of(store, WINDOWS), 2000)
    for info in store.of_split("train"):
        mine = [draw.targets for draw in drawn if draw.clip == info]
        assert min(targets[0] for targets in mine) == 0
        assert max(targets[-1] for targets in mine) == info.num_frames - 1


def test_a_stride_too_long_for_a_clip_is_shortened(tiny_clips: list[TinyClip], tmp_path: Path):
    short = open_store(write_store(tmp_path / "short", [cut_short(tiny_clips[0], 11), tiny_clips[1]]))
    short_ones = [draw for draw in draws(samples_of(short, WINDOWS), 100) if draw.clip.num_frames == 11]
    steps = {int(np.diff(draw.targets)[0]) for draw in short_ones}
    assert steps == {2}


def test_clips_too_short_for_a_window_are_left_out_and_told(tiny_clips: list[TinyClip], tmp_path: Path):
    clips = [cut_short(tiny_clips[0], 8), cut_short(tiny_clips[0], 9), tiny_clips[1]]
    samples = samples_of(open_store(write_store(tmp_path / "store", clips)), WINDOWS)
    assert [info.id for info in samples.left_out] == ["clip000"]
    assert {draw.clip.id for draw in draws(samples, 50)} == {"clip001", "clip002"}


def test_a_store_of_too_short_clips_is_refused_with_what_is_needed(store: ClipStore):
    with pytest.raises(ValueError, match=r"temporal_full needs clips of at least 63 frames at 25 fps .* has 60"):
        samples_of(store, replace(TEMPORAL_FULL, frames=32))


def test_static_clips_repeat_one_frame_at_the_asked_share(store: ClipStore):
    drawn = draws(samples_of(store, replace(WINDOWS, static_clip_probability=0.2)), 2000)
    still = [draw for draw in drawn if draw.still]
    assert all(len(set(draw.targets)) == 1 for draw in still)
    assert all(len(set(draw.targets)) == 5 for draw in drawn if not draw.still)
    assert 0.16 < len(still) / len(drawn) < 0.24


def test_samples_are_mirrored_at_the_asked_share(store: ClipStore):
    def share(probability: float) -> float:
        drawn = draws(samples_of(store, SPATIAL, f"samples.flip_probability={probability}"), 2000)
        return sum(draw.mirrored for draw in drawn) / len(drawn)

    assert share(0) == 0 and share(1) == 1 and 0.26 < share(0.3) < 0.34
