"""Still images: read as they look, refused when they cannot be read, fitted without distortion."""

import io

import numpy as np
import pytest
from PIL import Image

from hia.images import fit_to_size, load_image, to_frames, to_tensor
from hia.pose.keypoints import KeypointSequence


def test_real_pictures_are_read_as_rgb(sample_data):
    for file in sorted((sample_data / "images").glob("*.jpg"))[:3]:
        picture = load_image(file)
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and picture.std() > 10


def test_a_turned_photo_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert load_image(tmp_path / "turned.jpg").shape == (20, 10, 3)


def test_transparency_becomes_white(tmp_path):
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (load_image(tmp_path / "clear.png") == 255).all()


def test_sixteen_bits_become_eight_by_scaling(tmp_path):
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    np.testing.assert_allclose(load_image(tmp_path / "ramp.png")[..., 0], ramp / 257, atol=1)


def test_pixels_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif: .*no known range"):
        load_image(tmp_path / "float.tif")


def truncated_jpeg():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()[:1000]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"not an image", "not a readable image"), (truncated_jpeg(), "not a readable image")],
)
def test_broken_files_are_refused_by_name(tmp_path, content, reason):
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=f"broken.jpg: .*{reason}"):
        load_image(tmp_path / "broken.jpg")


def test_absent_and_huge_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such image"):
        load_image(tmp_path / "absent.png")
    for side, reason in ((10_001, "10001×10001"), (20_000, "400000000 pixels")):
        Image.new("1", (side, side)).save(tmp_path / "huge.png")
        with pytest.raises(ValueError, match=rf"huge\.png: .*{reason}"):
            load_image(tmp_path / "huge.png")


def test_fitting_moves_a_spot_where_keypoints_go():
    """A bright spot drawn at a keypoint is found at the fitted keypoint: one transform for both."""
    keypoints = np.zeros((1, 133, 2), np.float32)
    keypoints[0, 0] = (70, 40)
    sequence = KeypointSequence(keypoints, np.ones((1, 133), np.float32), width=160, height=90, fps=30)
    y, x = np.mgrid[:90, :160]
    spot = 255 * np.exp(-((x - 70) ** 2 + (y - 40) ** 2) / 18)
    picture = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    for width, height in ((64, 112), (320, 180), (100, 40)):
        fitted = fit_to_size(picture, width, height)[..., 0].astype(float)
        y, x = np.mgrid[:height, :width]
        found = np.array([(fitted * x).sum(), (fitted * y).sum()]) / fitted.sum()
        np.testing.assert_allclose(found, sequence.resized(width, height).keypoints[0, 0], atol=0.25)


def test_fitting_to_its_own_size_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 255, (33, 21, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_to_size(picture, 21, 33), picture)


def test_tensors_and_frames_convert_exactly():
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    tensor = to_tensor(frames)
    assert tensor.shape == (2, 3, 5, 4) and tensor.min() >= -1 and tensor.max() <= 1
    np.testing.assert_array_equal(to_frames(tensor), frames)
    assert (to_frames(3 * tensor) <= 255).all()
