"""Any video is read upright, in true colours and at its true times, or refused with a reason."""

import os
import pickle
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from hia.video import MAX_SIDE, VideoError, frames_at, iterate, probe, read_frames, write_video
from tests.conftest import present

RED, GREEN, BLUE, GREY = (200, 30, 20), (20, 170, 60), (30, 40, 210), (128, 128, 128)
CORNERS = ((4, 4), (4, -4), (-4, 4), (-4, -4))


def quarters(width=64, height=48):
    """A picture without symmetry: one colour in each quarter."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, GREY
    return image


def encode(path, frames, codec="libx264", pix_fmt="yuv444p", stamps=None, prepare=lambda stream: None, **colours):
    """Write frames [H, W, 3 or 4] with any codec, pixel format, time stamps (ms) and stream settings."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if stamps is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        prepare(stream)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgba" if frame.shape[2] == 4 else "rgb24")
            picture = picture.reformat(format=pix_fmt, **colours)
            picture.pts = number if stamps is None else stamps[number]
            picture.time_base = Fraction(1, 25) if stamps is None else Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def noise(num_frames, width=64, height=48):
    return list(np.random.default_rng(3).integers(0, 255, (num_frames, height, width, 3), dtype=np.uint8))


def shades(num_frames):
    """Frames that differ in their brightness."""
    return [np.full((48, 64, 3), 8 * number + 8, np.uint8) for number in range(num_frames)]


def shade(image):
    return round((float(image.mean()) - 8) / 8)


def reason(path, read=lambda path: list(iterate(path))):
    with pytest.raises(VideoError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return caught.value.reason


def assert_colours(image, expected, tolerance=8):
    assert image.shape == expected.shape and image.flags.c_contiguous
    for row, column in CORNERS:
        assert np.abs(image[row, column].astype(int) - expected[row, column]).max() <= tolerance


@pytest.mark.parametrize("mirror", ["", "hflip", "vflip"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_and_mirrored_as_the_display_matrix_says(tmp_path, degrees, mirror):
    flip = {"": np.asarray, "hflip": np.fliplr, "vflip": np.flipud}[mirror]
    options = {mirror: True} if mirror else {}
    path = encode(
        tmp_path / "clip.mp4",
        [quarters()] * 2,
        prepare=lambda stream: stream.set_display_rotation(degrees, **options),
    )
    expected = flip(np.rot90(quarters(), degrees // 90))
    for image in (*read_frames(path), *frames_at(path, [1]), *(frame.image for frame in iterate(path))):
        assert_colours(image, expected)
    assert (probe(path).height, probe(path).width) == expected.shape[:2]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mov", "prores_ks", "yuva444p10le"),
        ("clip.mov", "png", "rgba"),
        ("clip.mov", "qtrle", "argb"),
        ("clip.webm", "libvpx-vp9", "yuva420p"),
    ],
)
def test_transparency_lies_on_white(tmp_path, name, codec, pix_fmt):
    layer = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    layer[24:, :32, 3], layer[24:, 32:, 3] = 0, 128
    expected = quarters()
    expected[24:, :32], expected[24:, 32:] = 255, 191
    [image] = read_frames(encode(tmp_path / name, [layer], codec, pix_fmt))
    assert_colours(image, expected, tolerance=12)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("clip.mp4", "libx264", "yuv420p10le"),
        ("clip.mp4", "libx265", "yuv420p"),
        ("clip.avi", "mpeg4", "yuv420p"),
        ("clip.mkv", "ffv1", "yuv422p10le"),
        ("clip.webm", "libvpx-vp9", "yuv420p"),
        ("clip.MOV", "prores_ks", "yuv422p10le"),
    ],
)
def test_containers_codecs_and_bit_depths_give_the_same_picture(tmp_path, name, codec, pix_fmt):
    path = encode(tmp_path / name, [quarters()] * 3, codec, pix_fmt)
    images = list(read_frames(path))
    assert len(images) == 3
    assert_colours(images[-1], quarters(), tolerance=12)


@pytest.mark.parametrize(("matrix", "tag"), [("ITU601", 6), ("ITU709", 1)])
@pytest.mark.parametrize(("extent", "range_tag"), [("MPEG", 1), ("JPEG", 2)])
def test_colour_matrix_and_range_are_those_of_the_file(tmp_path, matrix, tag, extent, range_tag):
    def tagged(stream):
        stream.codec_context.colorspace, stream.codec_context.color_range = tag, range_tag

    path = encode(
        tmp_path / "clip.mp4",
        [quarters()],
        prepare=tagged,
        dst_colorspace=matrix,
        dst_color_range=extent,
    )
    assert_colours(next(read_frames(path)), quarters(), tolerance=6)


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("a.mp4", "libx264", "yuv444p"), ("a.mov", "png", "rgb24")])
def test_odd_sizes_stay(tmp_path, name, codec, pix_fmt):
    [image] = read_frames(encode(tmp_path / name, [quarters(63, 47)], codec, pix_fmt))
    assert_colours(image, quarters(63, 47))


@pytest.mark.parametrize(("aspect", "size"), [((2, 1), (128, 48)), ((1, 2), (64, 96)), ((4, 3), (85, 48))])
def test_pixels_become_square(tmp_path, aspect, size):
    def stretched(stream):
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)

    path = encode(tmp_path / "clip.mp4", [quarters()], prepare=stretched)
    assert_colours(next(read_frames(path)), quarters(*size))
    assert (probe(path).width, probe(path).height) == size


def test_an_animated_gif_is_a_video(tmp_path):
    images = [Image.fromarray(np.full((31, 33, 3), value, np.uint8)) for value in (0, 90, 250)]
    images[0].save(tmp_path / "clip.gif", save_all=True, append_images=images[1:], duration=[100, 300, 100])
    frames = list(iterate(tmp_path / "clip.gif"))
    assert [int(frame.image.mean()) for frame in frames] == [0, 90, 250]
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.4])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_variable_times_are_true_and_count_from_the_first_frame(tmp_path, name):
    stamps = [500, 540, 580, 700, 733, 1233]
    frames = list(iterate(encode(tmp_path / name, shades(6), stamps=stamps)))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.2, 0.233, 0.733], abs=1e-6)
    assert [frame.index for frame in frames] == [shade(frame.image) for frame in frames] == list(range(6))


def test_times_rise_over_joined_files_whose_stamps_start_anew(tmp_path):
    parts = [encode(tmp_path / f"{name}.ts", shades(25)).read_bytes() for name in "ab"]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    times = [frame.time for frame in iterate(tmp_path / "joined.ts")]
    assert len(times) == 50 and np.diff(times) == pytest.approx(0.04, abs=1e-3)


def test_sound_is_ignored(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        sound, pictures = container.add_stream("pcm_s16le", rate=8000), container.add_stream("ffv1", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
        for number, frame in enumerate(shades(5)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = number
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
    assert [shade(image) for image in read_frames(tmp_path / "clip.mkv")] == list(range(5))


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 44100
        container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    assert reason(tmp_path / "song.mp4") == "no_video"


def test_each_failure_has_its_reason(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video at all\n" * 200)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert reason(tmp_path / "absent.mp4") == "missing"
    assert reason(tmp_path / "pipe.mp4") == "missing"
    assert reason(tmp_path / "empty.mp4") == "empty"
    assert reason(tmp_path / "text.mp4") == "unreadable"


@pytest.mark.parametrize(("width", "height"), [(20_000, 16), (16, 9000)])
def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path, width, height):
    path = encode(tmp_path / "wide.mov", [np.zeros((height, width, 3), np.uint8)], "png", "rgb24")
    assert max(width, height) > MAX_SIDE and reason(path) == reason(path, probe) == "size"


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (0, 0)])
def test_a_header_with_an_impossible_size_is_refused(tmp_path, width, height):
    path = encode(tmp_path / "clip.mov", [quarters()] * 3, "rawvideo", "rgb24")
    content = path.read_bytes()
    place = content.index(b"raw ", content.index(b"stsd")) + 28
    assert content[place : place + 4] == struct.pack(">HH", 64, 48)
    path.write_bytes(content[:place] + struct.pack(">HH", width, height) + content[place + 4 :])
    assert reason(path) == "size"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_a_file_that_is_cut_off_is_damaged_not_short(tmp_path, name):
    path, frames = tmp_path / name, noise(50)
    if name == "clip.mp4":
        write_video(path, frames, 25)  # with its index at the start, so that it still opens
    else:
        encode(path, frames, "mpeg4", "yuv420p")
    assert len(list(iterate(path))) == 50
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert reason(path) == "decoding_failed"


def test_damaged_frames_are_not_passed_off_as_good_ones(sample_data, tmp_path):
    name, *_ = present(sample_data, "walk_woman_park", "gesture_woman_bench")
    content = bytearray((sample_data / "clips" / f"{name}.mp4").read_bytes())
    for place in np.random.default_rng(0).integers(len(content) // 4, len(content) * 3 // 4, 5):
        content[place] ^= 0xFF
    (tmp_path / "clip.mp4").write_bytes(content)
    assert reason(tmp_path / "clip.mp4") == reason(tmp_path / "clip.mp4", probe) == "decoding_failed"


def test_a_size_that_changes_within_the_video_is_refused(tmp_path):
    parts = [encode(tmp_path / f"{width}.h264", noise(5, width)).read_bytes() for width in (64, 96)]
    (tmp_path / "joined.h264").write_bytes(b"".join(parts))
    assert reason(tmp_path / "joined.h264") == "decoding_failed"


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile real.mp4\n", "#EXTM3U\n#EXTINF:4,\nreal.mp4\n"])
def test_a_playlist_does_not_open_what_it_names(tmp_path, text):
    write_video(tmp_path / "real.mp4", shades(3), 25)
    (tmp_path / "clip.mp4").write_text(text)
    assert reason(tmp_path / "clip.mp4") == "unreadable"


@pytest.mark.parametrize(
    "name", ['a \'quoted "name".mp4', "naïve 舞 💃.mp4", "two\nlines.mp4", "concat:x|y.mp4", "%03d.mp4"]
)
def test_any_name_can_be_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.mp4", shades(2), 25)
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    assert probe(name).num_frames == 2


def test_an_error_keeps_its_reason_when_it_travels_between_processes(tmp_path):
    for path in (tmp_path / "absent.mp4", tmp_path):
        with pytest.raises(VideoError) as caught:
            probe(path)
        copy = pickle.loads(pickle.dumps(caught.value))
        assert (type(copy), copy.reason, str(copy)) == (type(caught.value), caught.value.reason, str(caught.value))
