"""The sample pictures and motions of the page."""

import numpy as np
import pytest
from PIL import Image

from hia.demo import samples
from hia.demo.samples import make_samples
from hia.pose.keypoint_files import load_keypoints
from tests.serving.example_requests import motion, npz, picture, video


@pytest.fixture
def small(monkeypatch):
    """Dancers that are drawn quickly."""
    for name, value in {"SECONDS": 0.2, "WIDTH": 64, "HEIGHT": 96}.items():
        monkeypatch.setattr(samples, name, value)


def test_dancers_come_with_pictures_and_exact_keypoints(small, tmp_path):
    made = make_samples(tmp_path)
    assert [motion.name for motion in made.motions] == ["dancer 000", "dancer 001"]
    assert [len(load_keypoints(motion.file)) for motion in made.motions] == [3, 3]
    assert len({Image.open(file).tobytes() for file in made.pictures}) == 2
    assert all(Image.open(motion.thumbnail).size == (64, 96) for motion in made.motions)


def test_a_folder_adds_motions_and_pictures(small, tmp_path, capsys):
    folder, given = tmp_path / "page", tmp_path / "given"
    given.mkdir()
    (given / "a.npz").write_bytes(npz(motion()))
    (given / "b.mp4").write_bytes(video())
    (given / "c.mp4").write_bytes(video())
    (given / "c.npz").write_bytes(npz(motion()))
    (given / "broken.npz").write_bytes(b"broken")
    (given / "person.PNG").write_bytes(picture())
    (given / "notes.txt").write_text("no sample")
    made = make_samples(folder, given)
    assert [motion.file.name for motion in made.motions[2:]] == ["a.npz", "b.mp4", "c.npz"]
    assert np.asarray(Image.open(made.motions[2].thumbnail)).any(), "the skeleton is seen"
    assert Image.open(made.motions[4].thumbnail).size == (64, 96), "the video is seen"
    assert [file.name for file in made.pictures[2:]] == ["sample_person.PNG"]
    assert "sample left out" in capsys.readouterr().err
    files = [*made.pictures, *(file for motion in made.motions for file in (motion.file, motion.thumbnail))]
    assert all(file.is_relative_to(folder) for file in files)
