"""`hia dancers`: what people type, and what they get."""

from pathlib import Path

import pytest

from hia.cli import main

TINY = ["--width=32", "--height=48", "--seconds=0.1"]


def test_dancers_are_written_with_their_keypoints_and_a_home_folder_is_understood(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["dancers", "--output=~/tanz", "--count=1", *TINY]) == 0
    assert {path.name for path in (tmp_path / "tanz").glob("[!.]*")} == {"dancer_000.mp4", "dancer_000.npz"}
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}/tanz: 1 dancer of 32×48, 0.1 s\n" and said.err == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output="], "--output must be a folder on this machine"),
        (["--output=memory://dancers"], "--output must be a folder on this machine, not 'memory://dancers'"),
        (["--output=file"], "--output file is a file"),
        (["--output=new", "--count=0"], "count must be at least 1"),
        (["--output=new", "--width=33"], "width must be even"),
        (["--output=new", "--fps=nan"], "fps must lie in"),
        (["--output=new", "--workers=0"], "workers must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["dancers", *TINY, *options]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
