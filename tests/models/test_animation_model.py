"""Model directories: self-contained, bit-equal, and refused when anything is not as it was saved."""

import json
import shutil
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from hia.conditions.blur import SharpnessScale
from hia.models.animation_model import AnimationModel, load_model, save_model
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.models.reference import ReferenceAttention

SHARPNESS = SharpnessScale(p5=1.25, p75=4.5, p95=6.0)


def make(config, motion=True):
    return AnimationModel(config, build_animator(config, motion=motion)[0], build_codec(config.codec), None, SHARPNESS)


@pytest.fixture(scope="module")
def saved(tiny_config, tmp_path_factory):
    model = make(tiny_config("schedule.gamma=0.4", "schedule.prediction_type=v_prediction"))
    folder = tmp_path_factory.mktemp("models") / "model"
    save_model(model, folder)
    return model, folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved[1], tmp_path / "copy")


def test_weights_return_bit_equal(saved):
    model, folder = saved
    before, after = model.animator.state_dict(), load_model(folder).animator.state_dict()
    assert list(before) == list(after)
    for key in before:
        assert before[key].dtype == after[key].dtype and torch.equal(before[key], after[key]), key


@pytest.mark.parametrize("motion", [False, True])
def test_a_loaded_model_computes_the_same(motion, tiny_config, tmp_path, generator):
    model = make(tiny_config(), motion=motion)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    latents, control = (
        torch.randn(1, 2, 48, 12, 8, generator=generator),
        torch.rand(1, 2, 6, 48, 32, generator=generator),
    )
    given = (latents, torch.tensor([5]), latents[:, 0], control, torch.zeros(1, 1, 16))
    with torch.no_grad():
        assert torch.equal(model.animator(*given), loaded.animator(*given))
    assert any(isinstance(value, ReferenceAttention) for value in loaded.animator.unet.attn_processors.values())


def test_half_precision_stays_half_precision(tiny_config, tmp_path):
    model = make(tiny_config()).to("cpu", torch.bfloat16)
    save_model(model, tmp_path / "model")
    assert {p.dtype for p in load_model(tmp_path / "model").animator.parameters()} == {torch.bfloat16}


def test_everything_that_inference_must_share_travels(saved):
    model, folder = saved
    loaded = load_model(folder)
    assert loaded.schedule.gamma == 0.4 and loaded.schedule.prediction_type == "v_prediction"
    assert loaded.sharpness == SHARPNESS
    assert asdict(loaded.config) == asdict(model.config)
    assert (loaded.codec.name, loaded.codec.factor, loaded.config.preset) == ("pixel", 4, "tiny")


def test_gamma_is_written_as_the_number_that_was_used(tiny_config, tmp_path):
    save_model(make(tiny_config("width=768", "height=768")), tmp_path / "model")
    written = json.loads((tmp_path / "model" / "hia.json").read_text())
    assert written["config"]["schedule"]["gamma"] == pytest.approx(512 * 512 / 768**2)


def test_only_safetensors_and_json_are_written(saved):
    assert {file.suffix for file in saved[1].rglob("*") if file.is_file()} == {".safetensors", ".json"}


def test_an_older_model_is_replaced_as_a_whole(copied, tiny_config):
    (copied / "left-over.txt").write_text("old")
    save_model(make(tiny_config()), copied)
    assert not (copied / "left-over.txt").exists()
    assert load_model(copied).schedule.gamma == 1.0
    assert [path.name for path in copied.parent.iterdir()] == ["copy"], "nothing is left beside it"


def test_a_failure_while_saving_leaves_the_older_model(copied, tiny_config, monkeypatch):
    broken = make(tiny_config())
    monkeypatch.setattr(broken.codec, "save", lambda folder: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_model(broken, copied)
    assert load_model(copied).schedule.gamma == 0.4
    assert [path.name for path in copied.parent.iterdir()] == ["copy"]


def test_other_peoples_folders_are_not_replaced(tmp_path, tiny_config):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileExistsError, match="not a model directory"):
        save_model(make(tiny_config()), tmp_path / "photos")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save_model(make(tiny_config()), tmp_path / "absent" / "model")


def test_the_attention_kernel_is_no_property_of_the_weights(tiny_config, tmp_path):
    """A model whose training used xformers loads where there is none."""
    save_model(make(tiny_config()), tmp_path / "model")
    file = tmp_path / "model" / "hia.json"
    file.write_text(file.read_text().replace('"attention": "sdpa"', '"attention": "xformers"'))
    assert load_model(tmp_path / "model").animator.attention == "sdpa"


def test_parts_of_different_types_keep_them(tiny_config, tmp_path):
    model = make(tiny_config())
    model.animator.controlnet.to(torch.bfloat16)
    save_model(model, tmp_path / "model")
    animator = load_model(tmp_path / "model").animator
    assert (animator.controlnet.dtype, animator.unet.dtype) == (torch.bfloat16, torch.float32)


def alter(folder, change):
    description = json.loads((folder / "hia.json").read_text())
    change(description)
    (folder / "hia.json").write_text(json.dumps(description))


def test_altered_missing_or_added_weights_are_refused_by_name(copied):
    file = copied / "controlnet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["conv_in.bias"] = state["conv_in.bias"] + 1
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"controlnet/diffusion_pytorch_model.safetensors has been altered"):
        load_model(copied)
    file.unlink()
    with pytest.raises(ValueError, match=r"controlnet/diffusion_pytorch_model.safetensors is missing"):
        load_model(copied)
    shutil.copy(copied / "unet" / "diffusion_pytorch_model.safetensors", copied / "extra.safetensors")
    shutil.copy(copied / "unet" / "diffusion_pytorch_model.safetensors", file)
    alter(copied, lambda d: d["sha256"].pop("controlnet/diffusion_pytorch_model.safetensors"))
    with pytest.raises(ValueError, match="was not saved with this model"):
        load_model(copied)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(format_version=99), "format version 99; this version of hia reads 1"),
        (lambda d: d["config"].update(colour="red"), "unknown key colour"),
        (lambda d: d["config"]["schedule"].update(gamma=3), "gamma"),
        (lambda d: d.update(sha256=None), "sha256: Input should be"),
        (lambda d: d.update(config=[]), r"config = \[\]: Input should be"),
        (lambda d: d["dtype"].update(unet="int8"), "dtype.unet"),
        (lambda d: d.update(sharpness="x"), "sharpness"),
        (lambda d: d.pop("sharpness"), "sharpness: Field required"),
        (lambda d: d.pop("format_version"), "not a model description"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(copied, change, reason):
    alter(copied, change)
    with pytest.raises(ValueError, match=reason):
        load_model(copied)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not a model directory: there is no hia\.json"):
        load_model(tmp_path)


def test_a_model_directory_does_not_tell_where_its_parts_came_from(tiny_config, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    config = tiny_config()
    save_model(AnimationModel(config, build_animator(config)[0], build_codec(config.codec)), first)
    save_model(load_model(first), second)
    for file in second.rglob("*.json"):
        assert str(tmp_path) not in file.read_text(), file
