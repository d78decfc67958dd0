"""`hia animate` and `hia build` as a user runs them: real weights, pictures and keypoints in; a playable video out."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hia.cli import main
from hia.images import fit_to_size, load_image
from hia.models.animation_model import load_model, save_model
from hia.pose.keypoint_files import load_keypoints, save_keypoints
from hia.pose.keypoints import KeypointSequence
from hia.video import probe, read_frames
from tests.conftest import present

SMALL = ("width=64", "height=112", "network.block_out_channels=[32,32,32,32]", "network.cross_attention_dim=32")
# From a random network's ε at t = 999, x'₀ is twenty times out of range and saturates the codec; from its v it is not.
IN_RANGE = "schedule.prediction_type=v_prediction"
FRAMES = 10


@pytest.fixture(scope="module")
def model(sample_data, as_if_trained, tmp_path_factory):
    """A small random model on the real TAESD, or the one of the quickstart, built by the command; as if trained."""
    folder = tmp_path_factory.mktemp("built") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIA_WEIGHTS", str(weights := Path(sample_data, "weights")))
        codec = () if weights.is_dir() else ("codec.weights=shipped:quickstart_weights/codec",)
        settings = [part for key in (*SMALL, IN_RANGE, *codec) for part in ("--set", key)]
        assert main(["build", "small", "--output", str(folder), *settings]) == 0
    built = load_model(folder)
    as_if_trained(built.animator)
    for name, parameter in built.animator.controlnet.controlnet_cond_embedding.named_parameters():
        if name.endswith("weight"):
            parameter.data *= 4  # a new stem lets a thousandth of its input's contrast through
    save_model(built, folder)
    return folder


@pytest.fixture(scope="module")
def driving(sample_data, tmp_path_factory):
    """The first frames of a real clip's keypoints."""
    whole = load_keypoints(sample_data / "keypoints" / "gesture_man_kitchen.npz")
    file = tmp_path_factory.mktemp("driving") / "gesture.npz"
    part = KeypointSequence(whole.keypoints[:FRAMES], whole.scores[:FRAMES], whole.width, whole.height, whole.fps)
    save_keypoints(part, file)
    return file


@pytest.fixture
def animate(model, driving, sample_data, tmp_path, capsys):
    """Run the command; returns the exit status, the text on stderr, and the output file."""

    def run(*options, reference=sample_data / "images" / "flux_man_0055.jpg", motion=driving):
        output = tmp_path / "out.mp4"
        given = ["--model", model, "--reference", reference, "--driving", motion, "--output", output, "--device", "cpu"]
        status = main(["animate", *(str(part) for part in (*given, "--steps", 1, *options))])
        return status, capsys.readouterr().err, output

    return run


def test_a_picture_and_keypoints_become_a_video_of_the_drivings_rate_and_length(animate):
    status, _, output = animate()
    info = probe(output)
    assert status == 0
    assert (info.width, info.height, info.num_frames, info.fps) == (64, 112, FRAMES, 25)
    assert list(output.parent.iterdir()) == [output], "nothing else is left in the folder"
    assert np.stack(list(read_frames(output))).std() > 5


def test_the_seed_decides_the_video(animate):
    videos = [animate("--seed", seed)[2].read_bytes() for seed in (1, 1, 2)]
    assert videos[0] == videos[1] != videos[2]


@pytest.mark.parametrize("option", [("--sharpness", 0.1), ("--guidance", "none"), ("--guidance-scale", 6)])
def test_every_knob_reaches_the_frames(animate, option):
    plain, turned = (np.stack(list(read_frames(animate(*options)[2]))).astype(int) for options in ((), option))
    assert plain.shape == turned.shape and (plain != turned).any()


def test_side_by_side_shows_reference_skeleton_and_result_and_overlay_its_insets(animate, sample_data):
    status, _, output = animate("--side-by-side", "--overlay")
    frame = next(iter(read_frames(output))).astype(int)
    reference = fit_to_size(load_image(sample_data / "images" / "flux_man_0055.jpg"), 64, 112)
    assert status == 0 and frame.shape == (112, 192, 3)
    assert np.abs(frame[:, :60] - reference[:, :60]).mean() < 12
    skeleton, result = frame[:, 66:126], frame[:, 130:]
    assert (skeleton.sum(axis=2) < 60).mean() > 0.5 and skeleton.max() > 150
    assert result[4:26, 50:60].mean() < 40 < result[60:].mean(), "the blur inset is black except at the hands"


def test_another_size_is_made_on_request(animate):
    info = probe(animate("--width", 80, "--height", 64)[2])
    assert (info.width, info.height) == (80, 64)


def test_align_moves_the_motion_to_the_references_person(animate, driving, tmp_path, sample_data):
    reference = sample_data / "images" / "flux_man_0055.jpg"
    height, width = load_image(reference).shape[:2]
    person = load_keypoints(driving).resized(width, height)
    save_keypoints(person, tmp_path / "person.npz")
    plain = animate()[2].read_bytes()
    status, said, output = animate("--align", "--reference-keypoints", tmp_path / "person.npz")
    assert status == 0, said
    assert output.read_bytes() != plain and probe(output).num_frames == FRAMES
    status, said, _ = animate("--align")
    assert status == 2 and "--reference-keypoints" in said


@pytest.mark.parametrize("beside_a_video", [False, True])
def test_short_gaps_in_the_keypoints_are_filled_and_longer_ones_stay(animate, driving, clip, tmp_path, beside_a_video):
    """A gap of 0.2 s is 5 frames of 25 per second, 6 of 30."""
    source = clip.with_suffix(".npz") if beside_a_video else driving
    whole, motion = load_keypoints(source), clip if beside_a_video else tmp_path / "gaps.npz"
    for longest, is_drawn in ((0.2, True), (0.25, False)):
        scores = whole.scores.copy()
        scores[2 : 2 + round(longest * whole.fps)] = 0
        save_keypoints(replace(whole, scores=scores), motion.with_suffix(".npz"))
        frames = list(read_frames(animate("--side-by-side", "--guidance", "none", motion=motion)[2]))
        assert (frames[4][:, 66:126].max() > 150) == is_drawn


@pytest.fixture
def clip(sample_data, tmp_path):
    """A real video with its keypoint file beside it."""
    folder = tmp_path / "clips"
    folder.mkdir()
    name, *_ = present(sample_data, "balance_man_lab", "gesture_woman_bench")
    shutil.copy(sample_data / "clips" / f"{name}.mp4", folder)
    shutil.copy(sample_data / "keypoints" / f"{name}.npz", folder)
    return folder / f"{name}.mp4"


def test_a_video_is_driven_by_the_keypoints_beside_it(animate, clip):
    status, said, output = animate("--guidance", "none", motion=clip)
    assert status == 0, said
    assert (probe(output).num_frames, probe(output).fps) == (probe(clip).num_frames, probe(clip).fps)


def test_a_person_outside_the_picture_is_said(animate, sample_data):
    status, said, _ = animate(motion=sample_data / "keypoints" / "walk_woman_park.npz")
    assert status == 0 and "--align" in said and "of 64 frames" in said


def broken_keypoints(driving, tmp_path, change):
    with np.load(driving) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(tmp_path / "broken.npz", **arrays)
    return tmp_path / "broken.npz"


def set_nan(arrays):
    arrays["keypoints"][3, 5] = np.nan


def cut_points(arrays):
    arrays["keypoints"], arrays["scores"] = arrays["keypoints"][:, :17], arrays["scores"][:, :17]


@pytest.mark.parametrize(("change", "reason"), [(set_nan, "frame 3"), (cut_points, "133"), (dict.clear, "keypoints")])
def test_bad_keypoints_are_refused_with_file_and_reason(animate, driving, tmp_path, change, reason):
    file = broken_keypoints(driving, tmp_path, change)
    status, said, output = animate(motion=file)
    assert status == 2 and "broken.npz" in said and reason in said and not output.exists()


def test_keypoints_of_another_length_than_the_video_are_refused(animate, clip, driving):
    status, said, output = animate("--keypoints", driving, motion=clip)
    assert status == 2 and "10 frames" in said and f"{probe(clip).num_frames} frames" in said and not output.exists()


def test_an_input_is_never_overwritten(animate, clip):
    before = clip.read_bytes()
    status, said, _ = animate("--output", clip, motion=clip)
    assert status == 2 and "it would be lost" in said and clip.read_bytes() == before


def test_keypoints_of_another_rate_than_the_video_are_refused(animate, clip):
    sidecar = clip.with_suffix(".npz")
    save_keypoints(replace(load_keypoints(sidecar), fps=12), sidecar)
    status, said, _ = animate(motion=clip)
    assert status == 2 and "12 fps" in said and f"{probe(clip).fps:g} fps" in said


def test_the_keypoint_folder_is_found_from_inside_the_video_folder(animate, clip, monkeypatch):
    (clip.parent.parent / "keypoints").mkdir()
    clip.with_suffix(".npz").rename(clip.parent.parent / "keypoints" / f"{clip.stem}.npz")
    monkeypatch.chdir(clip.parent)
    status, said, _ = animate("--guidance", "none", motion=clip.name)
    assert status == 0, said


def test_an_existing_model_is_replaced_only_on_request(model, capsys):
    before = (model / "hia.json").read_bytes()
    assert main(["build", "quickstart", "--output", str(model)]) == 2
    assert "--overwrite" in capsys.readouterr().err and (model / "hia.json").read_bytes() == before


def test_a_terminated_run_leaves_nothing_behind(model, driving, sample_data, tmp_path):
    reference = sample_data / "images" / "flux_man_0055.jpg"
    options = ["--model", model, "--reference", reference, "--driving", driving, "--output", tmp_path / "out.mp4"]
    command = [sys.executable, "-m", "hia.cli", "animate", *map(str, options), "--steps", "500", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in iter(process.stderr.readline, ""):
            if "sampling" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
    assert process.returncode == 130 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--width", 70), "64 and 72"),
        (("--height", 0), "--height must lie in 32..8192"),
        (("--seed", 2**63), "--seed must lie"),
        (("--keypoints", "other.npz"), "--driving is a keypoint file itself"),
        (("--reference-keypoints", "other.npz"), "--align"),
        (("--steps", 0), "steps must be at least 1"),
        (("--guidance-scale", "nan"), "guidance_scale"),
        (("--sharpness", 1.5), "[0, 1]"),
        (("--scheduler", "NoScheduler"), "NoScheduler"),
        (("--output", "absent/out.mp4"), "folder absent does not exist"),
        (("--output", "out.gif"), ".mp4"),
        (("--model", "absent"), "absent is not a model directory"),
        (("--device", "abacus"), "abacus"),
    ],
)
def test_bad_options_are_refused_with_their_reason(animate, options, reason):
    status, said, output = animate(*options)
    assert status == 2 and reason in said and not output.exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_pictures_and_videos_that_cannot_be_read_are_refused_by_name(animate, tmp_path, content):
    for name, role in (("picture.jpg", "reference"), ("video.mp4", "motion")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        status, said, output = animate(**{role: tmp_path / name})
        assert status == 2 and name in said and not output.exists()


def test_missing_weights_are_named_with_where_and_how(no_weights, tmp_path, capsys):
    assert main(["build", "small", "--output", str(tmp_path / "model")]) == 2
    said = capsys.readouterr().err
    assert "taesd_encoder.safetensors" in said and "Looked in" in said and "HIA_WEIGHTS" in said
    assert not (tmp_path / "model").exists()


def test_the_commands_options_are_known_without_loading_torch():
    said = "import sys, hia.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", said], check=True)


def test_the_installed_command_explains_itself():
    for arguments in (["--help"], ["animate", "--help"], ["build", "--help"]):
        shown = subprocess.run(
            [sys.executable, "-m", "hia.cli", *arguments], capture_output=True, text=True, check=True
        )
        assert "usage: hia" in shown.stdout
