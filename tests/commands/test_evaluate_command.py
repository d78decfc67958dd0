"""`hia evaluate`: its options, its results, and its continuation after an interruption."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from hia.cli import main
from hia.config import load_config
from hia.data.store.clip_store import open_store
from hia.evaluation.image import psnr
from hia.evaluation.protocol.reenactment import reenact
from hia.images import load_image
from hia.models.animation_model import AnimationModel, load_model, save_model
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.video import read_frames, write_video
from tests.conftest import TINY_CONFIG
from tests.evaluation.dancer_store import dancer_store

METRICS = ["--metrics", "psnr", "ssim", "regions", "dtssd", "hand_sharpness"]
OURS = ("truth_sharpness", "default_sharpness")
METHODS = (*OURS, "repeat_reference", "codec_cap")
HOSTILE = "a <b>&\"' ö"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with a model directory, as random as its weights, and a store with two clips held out."""
    folder = tmp_path_factory.mktemp("evaluate")
    store = open_store(dancer_store(folder / "store", num_frames=6))
    config = load_config(TINY_CONFIG, ["sampling.steps=2", "sampling.window=4", "sampling.overlap=1"])
    animator, _ = build_animator(config, motion=True)
    model = AnimationModel(config, animator.eval(), build_codec(config.codec), sharpness=store.sharpness_scale)
    save_model(model, folder / "model")
    return folder


@pytest.fixture(scope="module")
def of_model(prepared) -> Path:
    """The output folder of an evaluation of the model."""
    assert main(command(prepared, "out")) == 0
    return prepared / "out"


def command(prepared: Path, output: str, *options: str) -> list[str]:
    places = [f"--model={prepared / 'model'}", f"--store={prepared / 'store'}", f"--output={prepared / output}"]
    return ["evaluate", *places, "--frames=5", "--quiet", *(options or METRICS)]


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "videos.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def two_folders(tmp_path) -> Path:
    """Noisy and true videos by name: one a video file, one a folder of images."""
    generator = np.random.default_rng(0)
    for kind, noise in {"real": 0, "fake": 20}.items():
        (tmp_path / kind / "images").mkdir(parents=True)
        picture = cv2.resize(generator.integers(0, 255, (6, 4, 3), np.uint8), (32, 48))
        if kind == "real":
            truth = picture
        for index in range(4):
            shown = np.clip(np.roll(truth, index, axis=1).astype(int) + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / kind / "images" / f"{index}.png"), shown)
        frames = [load_image(tmp_path / kind / "images" / f"{index}.png") for index in range(4)]
        write_video(tmp_path / kind / f"{HOSTILE}.mp4", frames, 25)
    return tmp_path


def compare(folder: Path, *options: str) -> int:
    places = [f"--fake={folder / 'fake'}", f"--real={folder / 'real'}", f"--output={folder / 'out'}"]
    return main(["evaluate", *places, "--quiet", *options])


def test_a_model_is_measured_by_both_protocols_beside_its_baselines(prepared, of_model):
    found = results(of_model)
    assert tuple(found["methods"]) == METHODS and found["about"]["split"] == "test"
    assert [one["video"] for one in found["videos"]] == ["dancer_002.mp4", "dancer_003.mp4"]
    assert found["measured"]["measuring"]["first_frame"] == 1 and found["videos"][0]["frames"] == 4
    assert len(rows(of_model)) == 8 and {row["method"] for row in rows(of_model)} == set(METHODS)


def test_figures_are_those_of_the_models_own_animation_and_frames_are_kept_without_loss(prepared, of_model):
    store, model = open_store(prepared / "store"), load_model(prepared / "model")
    info = store.of_split("test")[0]
    for protocol, method in zip(("truth", "default"), OURS, strict=True):
        truth, generated = reenact(model, store.read(info), None, 0, 5, protocol)
        kept = np.stack(list(read_frames(of_model / "clips" / info.id / method / "result" / "frames")))
        assert np.abs(kept.astype(int) - generated).max() <= 1  # other threads, other rounding
        (row,) = [row for row in rows(of_model) if row["name"] == info.id and row["method"] == method]
        assert float(row["psnr"]) == pytest.approx(psnr(truth[1:], kept[1:]).mean(), abs=1e-9)


def test_one_protocol_can_be_asked_for_by_its_name(prepared):
    assert main([*command(prepared, "one"), "--sharpness=default", "--clips=1", "--first-frame=0"]) == 0
    found = results(prepared / "one")
    assert list(found["methods"]) == ["default_sharpness", "repeat_reference", "codec_cap"]
    assert len(found["videos"]) == 1 and found["videos"][0]["frames"] == 5


def test_a_stopped_evaluation_goes_on_with_what_is_missing(prepared, of_model):
    before, clips = results(of_model), sorted((of_model / "clips").iterdir())
    (clips[1] / "default_sharpness" / "scores.safetensors").unlink()
    (clips[1] / "truth_sharpness" / "result" / "mark.json").unlink()
    files = {path: path.stat().st_mtime_ns for path in (of_model / "clips").rglob("*") if path.is_file()}
    assert main(command(prepared, "out")) == 0
    changed = {path for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert changed == {path for path in files if path.is_relative_to(clips[1] / "truth_sharpness")}
    assert results(of_model) == before


def test_other_metrics_measure_again_but_animate_nothing_again(prepared, of_model):
    frames = {path: path.stat().st_mtime_ns for path in of_model.rglob("result/frames/*.png")}
    assert main(command(prepared, "out", "--metrics", "psnr")) == 0
    assert set(results(of_model)["methods"]["codec_cap"]["figures"]) == {"psnr", "identical_share"}
    assert {path: path.stat().st_mtime_ns for path in of_model.rglob("result/frames/*.png")} == frames
    assert main(command(prepared, "out", *METRICS, "--seed=1")) == 0
    assert not [path for path, time in frames.items() if path.stat().st_mtime_ns == time]
    assert main(command(prepared, "out")) == 0  # as the other tests expect it


class Addresses(HTMLParser):
    """The addresses that a page would fetch, and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for key, value in attributes if key in ("src", "poster", "data")]
        self.links += [value for key, value in attributes if key == "href"]


def test_the_page_has_figures_videos_and_plots_and_fetches_nothing(of_model):
    text = (of_model / "report.html").read_text()
    page = Addresses(text)
    assert len(page.sources) == 2 and all(one.startswith("data:video/mp4;base64,") for one in page.sources)
    assert "media-src data:" in text and text.count("<svg") >= 4
    files = [link for link in page.links if not link.startswith("#")]
    assert files and all((of_model / link).is_file() for link in files)
    figure = results(of_model)["methods"]["truth_sharpness"]["figures"]["psnr"]
    assert f"{figure['value']:.4g}" in text and f"[{figure['low']:.4g}, {figure['high']:.4g}]" in text
    psnrs = {row["video"]: float(row["psnr"]) for row in rows(of_model) if row["method"] == OURS[0]}
    worst, best = sorted(psnrs, key=psnrs.__getitem__)
    cases = re.findall(r'<figure class="case"><figcaption><bdi>(.*?)</bdi>', text)
    assert cases == [worst, best]


def test_anybodys_videos_are_measured_without_a_model(two_folders, capsys):
    assert compare(two_folders, "--metrics", "psnr", "ssim", "l1") == 0
    found = results(two_folders / "out")
    assert list(found["methods"]) == ["generated"] and len(found["videos"]) == 2
    (images,) = [row for row in rows(two_folders / "out") if row["name"] == "images"]
    fake, real = (np.stack(list(read_frames(two_folders / kind / "images"))).astype(float) for kind in ("fake", "real"))
    assert float(images["l1"]) == pytest.approx(np.abs(fake - real).mean(), abs=1e-9) and images["frames"] == "4"
    assert "psnr" in capsys.readouterr().out


def test_hostile_names_do_nothing_in_the_page(two_folders):
    assert compare(two_folders, "--metrics", "psnr") == 0
    text = (two_folders / "out" / "report.html").read_text()
    assert "<b>" not in text and "a &lt;b&gt;&amp;&quot;&#x27; ö" in text


def test_a_stopped_comparison_goes_on_and_notices_changed_videos(two_folders):
    assert compare(two_folders, "--metrics", "psnr") == 0
    before = {path: path.stat().st_mtime_ns for path in (two_folders / "out").rglob("scores.safetensors")}
    frames = [load_image(two_folders / "fake" / "images" / f"{index}.png") for index in range(4)]
    write_video(two_folders / "fake" / f"{HOSTILE}.mp4", [255 - frame for frame in frames], 25)
    assert compare(two_folders, "--metrics", "psnr") == 0
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert len(before) == 2 and len(changed) == 1 and "images" not in str(changed[0])


def test_what_has_no_weights_is_left_out_with_its_reason(two_folders, no_weights, monkeypatch, capsys):
    for variable in ("XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert compare(two_folders, "--device=cpu") == 0
    found = results(two_folders / "out")
    assert set(found["measured"]["skipped"]) == {"lpips_alex", "csim", "fid", "fid_vid", "fvd"}
    assert "fvd is left out" in capsys.readouterr().out
    assert "FVD needs" in (two_folders / "out" / "report.html").read_text()
    assert compare(two_folders, "--metrics", "fvd") == 2
    assert "FVD needs" in capsys.readouterr().err


def test_a_missing_video_a_broken_one_and_a_shorter_one_end_a_comparison(two_folders, capsys):
    (two_folders / "fake" / "images" / "3.png").unlink()
    assert compare(two_folders, "--metrics", "psnr") == 2
    assert "images" in capsys.readouterr().err
    (two_folders / "fake" / f"{HOSTILE}.mp4").write_bytes(b"broken")
    assert compare(two_folders, "--metrics", "psnr") == 2
    assert ".mp4" in capsys.readouterr().err
    (two_folders / "fake" / f"{HOSTILE}.mp4").unlink()
    assert compare(two_folders, "--metrics", "psnr") == 2
    assert "lacks" in capsys.readouterr().err
    assert not (two_folders / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output=o"], "--model and --store to evaluate a model, or --fake and --real"),
        (["--output=o", "--model=m"], "give both --model and --store"),
        (["--output=o", "--model=m", "--store=s", "--fake=f"], "--fake cannot be used when a model is given"),
        (
            ["--output=o", "--fake=f", "--real=r", "--steps=2"],
            "--steps cannot be used when folders of videos are given",
        ),
        (["--output=o", "--model=m", "--store=s", "--frames=0"], "--frames must be at least 1"),
        (["--output=file", "--fake=f", "--real=r"], "--output file is a file"),
        (["--output=o", "--fake=f", "--real=r", "--stride=x"], "--stride must be a number"),
        (["--output=o", "--fake=f", "--real=r"], "no such folder: f"),
        (["--output=o", "--fake=.", "--real=.", "--metrics", "pnsr"], "holds no videos"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["evaluate", *options]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
