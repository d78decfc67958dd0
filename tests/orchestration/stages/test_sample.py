"""The sample stage: the choice of person and motion, and the written files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hia.data.store.clip_store import ClipStore, open_store
from hia.images import load_image
from hia.models.animation_model import AnimationModel, load_model
from hia.pose.keypoints import SCORE_THRESHOLD
from hia.video import probe, read_frames
from orchestration.chain.stage import StageFailed
from orchestration.stages.export import export
from orchestration.stages.sample import LONGEST_SECONDS, aligned, choose, sample, suitability
from tests.data.tiny_store import TinyClip, write_store
from tests.evaluation.dancer_store import dancer_store
from tests.orchestration.trained_run import Trained, artifacts, tiny_config, trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("cluster")]

FILES = {"sample.mp4", "sample_side_by_side.mp4", "sample.png", "sample.json"}


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("samples")
    done = trained(folder / "runs", dancer_store(folder / "store"), tiny_config())
    export(done.stage_run("export"))
    return done


@pytest.fixture(scope="module")
def sampled(ready):
    run = ready.stage_run("sample", export=ready.storage / "export")
    return run, sample(run)


@pytest.fixture(scope="module")
def model(ready) -> AnimationModel:
    return load_model(ready.storage / "export" / "model")


def videos_of(store: ClipStore, model: AnimationModel) -> tuple[str, str]:
    choice, _ = choose(model, store)
    return choice.reference.video, choice.driving.video


def luminance(frame: np.ndarray) -> np.ndarray:
    return frame @ np.array([0.2126, 0.7152, 0.0722])


def test_a_held_out_person_is_animated_by_the_motion_of_another(ready, sampled):
    run, values = sampled
    note = json.loads((run.folder / "sample.json").read_text())
    assert (note["reference"]["video"], note["driving"]["video"]) == ("dancer_002.mp4", "dancer_003.mp4")
    assert note["reference"]["split"] == note["driving"]["split"] == "test" and not note["own_motion"]
    assert note["frames"] == values["frames"] == 12


def test_the_video_has_the_models_size_and_the_motions_rate(sampled):
    run, _ = sampled
    info = probe(run.folder / "sample.mp4")
    assert (info.width, info.height, info.num_frames, info.fps) == (64, 112, 12, pytest.approx(30))


def test_beside_the_result_are_the_reference_and_the_skeleton(ready, sampled, model):
    run, _ = sampled
    frames = list(read_frames(run.folder / "sample_side_by_side.mp4"))
    assert len(frames) == 12
    panels = [panel[::3, ::3].astype(float) for panel in np.split(frames[5][20:], [192, 196, 388, 392], axis=1)[::2]]
    reference, skeleton, result = panels
    store = open_store(ready.store)
    choice, driving = choose(model, store)
    assert np.abs(reference - store.read(choice.reference).frame(0)).mean() < 12
    assert np.abs(skeleton - 255 * driving.control_image(5)[:3].transpose(1, 2, 0)).mean() < 12
    shown = [luminance(frame) for frame in read_frames(run.folder / "sample.mp4")]
    alike = [np.corrcoef(luminance(result).ravel(), frame.ravel())[0, 1] for frame in shown]
    assert np.argmax(alike) == 5 and alike[5] > 0.8  # noise, of which videos keep the luminance best


def test_all_of_it_goes_to_the_tracking_server(sampled):
    run, _ = sampled
    assert artifacts(run) == dict.fromkeys(FILES, "samples") and load_image(run.folder / "sample.png").std() > 20


def test_the_motion_is_fitted_to_the_person(ready, model):
    store = open_store(ready.store)
    choice, driving = choose(model, store)
    person = store.read(choice.reference).keypoints
    shoulders = [5, 6]
    assert (person.scores[0, shoulders] >= SCORE_THRESHOLD).all()
    moved, own = driving.keypoints.keypoints[0, shoulders], person.keypoints[0, shoulders]
    assert np.linalg.norm(moved.mean(axis=0) - own.mean(axis=0)) < 8
    span = [np.abs(points[0, 0] - points[1, 0]) for points in (moved, own)]
    assert 0.6 < span[0] / span[1] < 1.7


def test_a_motion_that_shows_more_of_the_body_is_preferred_even_if_it_was_trained_on(ready, model, tmp_path):
    clips = tiny_clips(ready)
    scores = clips[3].keypoints.scores.copy()
    scores[:, 9:23] = 0  # of this dancer, nothing is seen below the elbows
    clips[3] = replace(clips[3], keypoints=replace(clips[3].keypoints, scores=scores))
    store = open_store(write_store(tmp_path / "store", clips))
    reference, trained_on, elbows_up = (store.read(store.clips[number]) for number in (2, 1, 3))
    person = reference.keypoints.resized(model.config.width, model.config.height)
    of_all, of_elbows_up = (suitability(person, aligned(person, clip)) for clip in (trained_on, elbows_up))
    assert of_all > of_elbows_up > 0.4
    choice, _ = choose(model, store)
    assert (choice.reference.video, choice.driving.split) == ("dancer_002.mp4", "train")


def test_a_motion_that_cannot_be_fitted_is_passed_over_for_one_that_can(ready, model, tmp_path):
    clips = tiny_clips(ready)
    unseen = replace(clips[3].keypoints, scores=np.zeros_like(clips[3].keypoints.scores))
    clips[3] = replace(clips[3], keypoints=unseen)
    store = open_store(write_store(tmp_path / "store", [clips[0], *clips[2:]]))
    assert videos_of(store, model) == ("dancer_002.mp4", "dancer_000.mp4")


def test_a_motion_that_leaves_the_frame_is_passed_over_for_the_persons_own(ready, model, tmp_path):
    clips = tiny_clips(ready)
    away = clips[0].keypoints.keypoints + np.linspace(0, 3 * 192, len(clips[0].keypoints.keypoints))[:, None, None]
    clips[0] = replace(clips[0], keypoints=replace(clips[0].keypoints, keypoints=away.astype(np.float32)))
    store = open_store(write_store(tmp_path / "store", [clips[0], clips[2]]))
    assert videos_of(store, model) == ("dancer_002.mp4", "dancer_002.mp4")


def test_alone_a_person_is_animated_by_their_own_motion(ready, model, tmp_path):
    store = open_store(write_store(tmp_path / "store", tiny_clips(ready)[2:3]))
    choice, driving = choose(model, store)
    assert choice.is_own and choice.reference.video == "dancer_002.mp4"
    np.testing.assert_array_equal(driving.movement, store.read(store.clips[0]).movement)


def test_without_held_out_clips_the_sample_says_that_they_were_trained_on(ready, tmp_path):
    store = write_store(tmp_path / "store", [replace(clip, split="train") for clip in tiny_clips(ready)[:1]])
    done = trained(tmp_path / "runs", store, tiny_config())
    run = done.stage_run("sample", export=ready.storage / "export")
    sample(run)
    note = json.loads((run.folder / "sample.json").read_text())
    assert note["own_motion"] and note["title"] == "the person of dancer_000.mp4 (split: train), by their own motion"
    info = probe(run.folder / "sample_side_by_side.mp4")
    assert info.width == 4 * 192 + 3 * 4  # the truth is known here


def test_a_long_motion_is_cut(ready, model, tmp_path):
    clip = tiny_clips(ready)[2]
    frames = np.concatenate([clip.frames] * 8)
    keypoints = replace(
        clip.keypoints,
        keypoints=np.concatenate([clip.keypoints.keypoints] * 8),
        scores=np.concatenate([clip.keypoints.scores] * 8),
    )
    store = open_store(write_store(tmp_path / "store", [replace(clip, frames=frames, keypoints=keypoints)]))
    _, driving = choose(model, store)
    assert len(driving.keypoints) == LONGEST_SECONDS * 30 < len(frames)


def test_the_same_sample_comes_out_again(ready, sampled):
    run, _ = sampled
    again = ready.stage_run("sample_again", export=ready.storage / "export")
    sample(again)
    assert (again.folder / "sample.mp4").read_bytes() == (run.folder / "sample.mp4").read_bytes()


def test_a_model_that_cannot_be_loaded_fails_the_stage_with_its_reason(ready, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(StageFailed, match=r"sample failed: .* is not a model directory"):
        sample(ready.stage_run("sample_failed", export=tmp_path))


def tiny_clips(ready: Trained) -> list[TinyClip]:
    """The store's clips, to be changed and written again."""
    store = open_store(ready.store)
    clips = [store.read(info) for info in store.clips]
    return [TinyClip(clip.info.video, clip.keypoints, clip.frames(range(len(clip))), clip.info.split) for clip in clips]
