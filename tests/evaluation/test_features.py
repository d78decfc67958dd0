"""From videos to rows of features: squares, sizes, clips, and the names under which distances may go."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from hia.evaluation.features import (
    ClipExtractor,
    FrameExtractor,
    NetworkExtractor,
    SegmentExtractor,
    clip_starts,
    filled_up,
    load_extractor,
    pad_square,
    scaled,
)
from hia.evaluation.networks.i3d import InceptionI3d
from hia.evaluation.scores import ClipSampling
from hia.evaluation.weights.loading import Provenance
from hia.weights.find import MissingWeights

UNKNOWN = Provenance("toy", {}, known=False)


def video(num_frames: int, height: int = 20, width: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), np.uint8)


class Watching(nn.Module):
    """A small network that remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.shown: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.shown.append(inputs)
        return inputs.flatten(2).mean(dim=2) * self.scale


def watching(kind: type[NetworkExtractor]) -> tuple[NetworkExtractor, Watching]:
    network = Watching()
    return kind("fvd", network, 3, UNKNOWN), network


# ----------------------------------------------------------------------------------------------------- squares


@pytest.mark.parametrize(("height", "width"), [(9, 4), (4, 9), (7, 7)])
def test_a_picture_stands_unchanged_in_the_middle_of_its_square(height, width):
    frames = video(2, height, width)
    square = pad_square(frames, 77)
    side, top, left = max(height, width), (max(height, width) - height) // 2, (max(height, width) - width) // 2
    assert square.shape == (2, side, side, 3) and square.dtype == np.uint8
    np.testing.assert_array_equal(square[:, top : top + height, left : left + width], frames)
    assert (square == 77).all(axis=3).sum() >= 2 * (side * side - height * width)


def test_the_paper_pads_512_by_896_to_896_by_896_in_black():
    square = pad_square(np.full((1, 896, 512, 3), 255, np.uint8))
    assert square.shape == (1, 896, 896, 3)
    assert square[0, 0, :, 0].tolist() == [0] * 192 + [255] * 512 + [0] * 192


def test_scaling_is_pillows_bicubic_in_floating_point_for_every_channel():
    frames = video(2, 60, 60)
    expected = np.asarray(Image.fromarray(frames[1, :, :, 2].astype(np.float32)).resize((14, 14), Image.BICUBIC))
    result = scaled(frames, 14)
    assert result.shape == (2, 3, 14, 14) and result.dtype == torch.float32
    np.testing.assert_array_equal(result[1, 2].numpy(), expected)


def test_scaling_overshoots_at_edges_instead_of_clipping():
    edge = np.zeros((1, 32, 32, 3), np.uint8)
    edge[:, :, 16:] = 255
    assert scaled(edge, 24).min() < -1 and scaled(edge, 24).max() > 256


def test_clips_are_whole_and_a_short_video_has_none():
    assert list(clip_starts(40, 16, 16)) == [0, 16]
    assert list(clip_starts(48, 16, 16)) == [0, 16, 32]
    assert len(clip_starts(450, 16, 1)) == 435
    assert list(clip_starts(15, 16, 1)) == []


def test_filling_up_repeats_the_last_frame_to_a_multiple():
    frames = video(5)
    filled = filled_up(frames, 4)
    assert len(filled) == 8 and len(filled_up(frames[:4], 4)) == 4
    np.testing.assert_array_equal(filled[5:], np.repeat(frames[4:], 3, axis=0))


# ------------------------------------------------------------------------------------------- what networks see


def test_fid_sees_every_frame_scaled_as_pytorch_fid_does():
    extractor, network = watching(FrameExtractor)
    frames = video(18)
    assert extractor(frames, ClipSampling()).shape == (18, 3)
    seen = torch.cat(network.shown)
    pictures = torch.from_numpy(pad_square(frames)).permute(0, 3, 1, 2) / 255
    expected = 2 * functional.interpolate(pictures, (299, 299), mode="bilinear", align_corners=False) - 1
    torch.testing.assert_close(seen, expected)


def test_fvd_sees_clips_in_minus_one_to_one():
    extractor, network = watching(ClipExtractor)
    frames = video(40)
    assert extractor(frames, ClipSampling(stride=8)).shape == (4, 3)
    assert [tuple(clip.shape) for clip in network.shown] == [(1, 3, 16, 224, 224)] * 4
    expected = scaled(pad_square(frames[8:24]), 224) / 127.5 - 1
    torch.testing.assert_close(network.shown[1][0], expected.transpose(0, 1))


def test_fid_vid_sees_clips_less_the_mean_of_kinetics():
    extractor, network = watching(SegmentExtractor)
    frames = video(32)
    assert extractor(frames, ClipSampling()).shape == (2, 3)
    expected = scaled(pad_square(frames[16:]), 112) - torch.tensor([114.7748, 107.7354, 99.4750])[:, None, None]
    torch.testing.assert_close(network.shown[1][0], expected.transpose(0, 1))


def test_fid_vid_of_a_whole_video_is_the_mean_over_segments_the_last_filled_up():
    extractor, _ = watching(SegmentExtractor)
    frames = video(20)
    whole = extractor(frames, ClipSampling(stride=None))
    segments = extractor(filled_up(frames, 16), ClipSampling())
    assert whole.shape == (1, 3)
    np.testing.assert_allclose(whole[0], segments.mean(axis=0), rtol=1e-5)


def test_fvd_of_a_whole_video_takes_all_its_frames_in_one_pass():
    extractor, network = watching(ClipExtractor)
    assert extractor(video(20), ClipSampling(stride=None)).shape == (1, 3)
    assert network.shown[0].shape == (1, 3, 20, 224, 224)


def test_the_paddings_colour_is_seen():
    extractor, network = watching(ClipExtractor)
    extractor(np.zeros((16, 20, 4, 3), np.uint8), ClipSampling(colour=255))
    assert network.shown[0][0, 0, 0, 112, 0] == 1 and network.shown[0][0, 0, 0, 112, 112] == -1


@pytest.mark.parametrize("kind", [ClipExtractor, SegmentExtractor])
def test_a_video_shorter_than_a_clip_has_no_rows(kind):
    assert watching(kind)[0](video(15), ClipSampling()).shape == (0, 3)


def test_colours_are_red_green_blue():
    extractor, _ = watching(SegmentExtractor)
    frames = np.full((16, 20, 20, 3), (200, 90, 20), np.uint8)
    assert extractor(frames, ClipSampling())[0] == pytest.approx(
        [200 - 114.7748, 90 - 107.7354, 20 - 99.4750], abs=1e-3
    )


def test_features_that_are_not_finite_are_refused_with_the_videos_name():
    extractor, network = watching(ClipExtractor)
    with torch.no_grad():
        network.scale.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"fd\[toy\] features of video dance_3 must be finite: row 0 of 2"):
        extractor(video(32), ClipSampling(), "video dance_3")


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"colour": 256}, {"colour": -1}])
def test_cuttings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be"):
        ClipSampling(**wrong)


# ------------------------------------------------------------------------------------------------------- names


def test_a_distance_with_official_weights_has_the_published_name(sample_data, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    extractor = load_extractor("fvd")
    assert (extractor.key, extractor.dimension, extractor.provenance.variant) == ("fvd", 400, "disco")
    assert load_extractor("fvd_videogpt").key == "fvd_videogpt"


def test_a_distance_with_any_other_weights_never_has_the_published_name(tmp_path):
    path = tmp_path / "i3d_kinetics400.safetensors"
    save_file(InceptionI3d().state_dict(), path)
    extractor = load_extractor("fvd", path)
    assert extractor.key == "fd[i3d]" and not extractor.provenance.known


def test_weights_of_another_network_are_refused_with_the_file(sample_data):
    file = sample_data / "weights" / "lpips_alexnet.safetensors"
    with pytest.raises(ValueError, match=r"lpips_alexnet\.safetensors: the weights do not fit InceptionI3d; missing"):
        load_extractor("fvd", file)


def test_a_given_file_that_is_not_there_is_missing(tmp_path: Path):
    with pytest.raises(MissingWeights, match=r"no file .*gone\.pt"):
        load_extractor("fid", tmp_path / "gone.pt")


def test_real_features_tell_a_video_from_its_blurred_self(sample_data, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    extractor = load_extractor("fvd")
    frames = np.repeat(video(1, 64, 48), 16, axis=0)
    one, same, other = (extractor(shown, ClipSampling()) for shown in (frames, frames.copy(), frames // 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1
