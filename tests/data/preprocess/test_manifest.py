"""Keys of videos depend on everything that determines the clips' bytes, and on nothing else."""

import dataclasses
import json

import pytest

from hia.config import PoseConfig, PreprocessConfig
from hia.data.ingest.layouts import find_videos_in_layout
from hia.data.ingest.videos import VideoSource
from hia.data.preprocess.build_store import build_store, plan_jobs
from hia.data.preprocess.encoders import load_encoders
from hia.data.preprocess.manifest import WITHOUT_EFFECT, preprocessing_settings
from hia.pose.keypoint_files import save_keypoints
from tests.data.raw_videos import centres, people_at, small_config, write_dance, write_networks
from tests.pose.tiny_onnx import write_pose

# Another value for each setting of `PreprocessConfig`.
OTHER_VALUES = {
    "fps": 24,
    "highest_fps": 60,
    "lowest_fps": 5,
    "shot_threshold": 30,
    "least_seconds": 0.5,
    "longest_seconds": 10,
    "person_seen": 0.5,
    "hands_seen": 0.5,
    "face_seen": 0.5,
    "others_at_most": 0.5,
    "longest_gap_seconds": 0.5,
    "crop_margin": 0.2,
    "largest_upscale": 3,
    "most_padding": 0.5,
    "jpeg_quality": 90,
    "face_embedding_every": 5,
    "image_tokens": "false",
    "latents": "false",
    "maps": "[depth]",
    "layout": "plain",
    "split_seed": 1,
    "test_share": 0.5,
    "test_list": "list.txt",
    "pose": None,
}


def settings(*overrides):
    config = small_config(*overrides)
    return preprocessing_settings(config, load_encoders(config))


def test_every_setting_is_spoken_of_here():
    assert set(OTHER_VALUES) == {field.name for field in dataclasses.fields(PreprocessConfig)}
    assert {field.name for field in dataclasses.fields(PoseConfig)} == {
        *("source", "detector", "pose", "feet", "mode", "detect_every", "device")
    }


@pytest.mark.parametrize("key", [key for key in OTHER_VALUES if key != "pose"])
def test_a_setting_counts_unless_it_leaves_the_clips_as_they_are(key):
    changed = settings(f"preprocess.{key}={OTHER_VALUES[key]}") != settings()
    assert changed == (key not in WITHOUT_EFFECT)


@pytest.mark.parametrize("override", ["width=48", "height=64", "codec.factor=2", "preprocess.pose.detect_every=4"])
def test_size_codec_and_detection_count(override):
    assert settings(override) != settings()


@pytest.mark.parametrize("override", ["seed=5", "storage=elsewhere", "preprocess.pose.device=cpu", "samples.workers=0"])
def test_what_changes_no_clip_does_not_count(override):
    assert settings(override) == settings()


def test_latents_count_by_their_sizes():
    assert settings()["latent_sizes"] == [[32, 48], [16, 24]]
    assert settings("preprocess.latents=false")["latent_sizes"] == []
    assert settings()["mirrored_latents"] and not settings("samples.flip_probability=0")["mirrored_latents"]


def test_weights_count_by_content_and_not_by_place(sample_data, monkeypatch, tmp_path):
    places = sample_data / "weights", tmp_path
    (tmp_path / "mobilefacenet.safetensors").symlink_to(sample_data / "weights" / "mobilefacenet.safetensors")
    found = []
    for place in places:
        monkeypatch.setenv("HIA_WEIGHTS", str(place))
        config = small_config("face_embedder=mobilefacenet")
        found.append(preprocessing_settings(config, load_encoders(config)))
    assert found[0] == found[1] != settings()
    assert str(sample_data) not in json.dumps(found[0])


def key_of(folder, config):
    found = preprocessing_settings(config, load_encoders(config))
    [job] = plan_jobs(find_videos_in_layout([str(folder)]).sources, config, found)[0]
    return job.key


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos").mkdir()
    write_dance(tmp_path / "videos" / "a.mp4")
    return tmp_path / "videos"


def test_the_video_its_sidecar_and_the_settings_decide_the_key(videos):
    keys = [key_of(videos, small_config())]
    (videos / "a.mp4").rename(videos / "b.mp4")
    (videos / "a.npz").rename(videos / "b.npz")
    assert key_of(videos, small_config()) == keys[0]
    keys.append(key_of(videos, small_config("preprocess.jpeg_quality=80")))
    save_keypoints(people_at(centres(40) + 1), videos / "b.npz")
    keys.append(key_of(videos, small_config()))
    write_dance(videos / "b.mp4", num_frames=41, sidecar=False)
    keys.append(key_of(videos, small_config()))
    assert len(set(keys)) == 4


@pytest.mark.parametrize("role", ["detector", "pose", "feet"])
def test_pose_networks_count_where_keypoints_are_estimated_and_only_there(videos, tmp_path, role):
    networks = write_networks(tmp_path / "networks")
    config = small_config(*networks)
    other = small_config(*networks, f"preprocess.pose.{role}={tmp_path / 'other.onnx'}")
    content = (tmp_path / "networks" / f"{role}.onnx").read_bytes()
    if role == "detector":
        # The same network under another description: other bytes.
        (tmp_path / "other.onnx").write_bytes(content + b"\x1a\x01x")
    else:
        write_pose(tmp_path / "other.onnx", colours=[(1, 2, 250)])
    assert key_of(videos, config) == key_of(videos, other)
    (videos / "a.npz").unlink()
    assert key_of(videos, config) != key_of(videos, other)


def test_the_rate_of_a_folder_of_frames_counts():
    config = small_config()
    known = preprocessing_settings(config, load_encoders(config))
    place = __file__
    jobs, _ = plan_jobs([VideoSource("a", place, place, fps) for fps in (25.0, 30.0, 30.0)], config, known)
    assert [job.source.fps for job in jobs] == [25.0, 30.0] and jobs[0].key != jobs[1].key


def test_chance_leaves_the_only_video_for_training_and_says_that_none_is_left_to_test(tmp_path):
    (tmp_path / "videos").mkdir()
    write_dance(tmp_path / "videos" / "dance.mp4")
    for seed in range(4):
        config = small_config("preprocess.test_share=0.9", f"preprocess.split_seed={seed}")
        built = build_store([str(tmp_path / "videos")], str(tmp_path / "store"), config)
        assert [clip.split for clip in built.store.clips] == ["train"]
        assert [note for note in built.notes if note.startswith("0 videos to test")]
