"""Finding and reading weight files: every way in which they can be missing or broken has its own message."""

import os
import pickle
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hia.weights.find import MissingWeights, find_weights, resolve_pretrained
from hia.weights.load import FrozenModule, load_state, load_strict


@pytest.fixture(autouse=True)
def empty_computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights, no caches and no network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HIA_WEIGHTS", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


def touch(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    return file


def cached_model(tmp_path: Path, hub_id: str, file: str) -> Path:
    """A file of a model, laid out as the hub's cache does."""
    model = tmp_path / "hub" / ("models--" + hub_id.replace("/", "--"))
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    return touch(model / "snapshots" / ("0" * 40) / file)


# ------------------------------------------------------------------------------------------------ finding


def test_folders_of_the_variable_are_searched_in_order(tmp_path, monkeypatch):
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    monkeypatch.setenv("HIA_WEIGHTS", os.pathsep.join(map(str, folders)))
    touch(folders[2] / "net.pt")
    expected = touch(folders[1] / "net.pt")
    assert find_weights("net.pt", hint="") == expected


def test_an_earlier_folder_wins_over_an_earlier_name(tmp_path):
    expected = touch(tmp_path / "a" / "second.pt")
    touch(tmp_path / "b" / "first.pt")
    assert find_weights("first.pt", "second.pt", hint="", search=[tmp_path / "a", tmp_path / "b"]) == expected


def test_a_given_search_replaces_the_variable(tmp_path, monkeypatch):
    touch(tmp_path / "a" / "net.pt")
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path / "a"))
    with pytest.raises(MissingWeights):
        find_weights("net.pt", hint="", search=[])


def test_an_absolute_path_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path / "elsewhere"))
    file = touch(tmp_path / "here" / "net.pt")
    assert find_weights(str(file), hint="") == file


def test_insightface_models_are_found_in_their_own_cache(tmp_path):
    file = touch(tmp_path / "home" / ".insightface" / "models" / "buffalo_l" / "w600k_r50.onnx")
    assert find_weights("buffalo_l/w600k_r50.onnx", hint="") == file


def test_hub_models_are_found_in_the_hub_cache(tmp_path):
    file = cached_model(tmp_path, "owner/model", "config.json")
    assert find_weights("owner/model", hint="") == file.parent


def test_the_error_names_the_files_every_place_and_the_hint(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    with pytest.raises(MissingWeights) as caught:
        find_weights("pack/net.onnx", "owner/model", hint="ask the owner")
    message = str(caught.value)
    for place in ("a/pack/net.onnx", "b/pack/net.onnx", "a/owner/model", "b/owner/model"):
        assert str(tmp_path / place) in message
    assert str(tmp_path / "home" / ".insightface" / "models" / "pack" / "net.onnx") in message
    assert "Hugging Face cache, model owner/model" in message
    assert message.endswith("To get them: ask the owner")


def test_the_error_says_when_the_variable_is_not_set():
    with pytest.raises(MissingWeights, match=r"\$HIA_WEIGHTS.* is not set"):
        find_weights("net.pt", hint="")


def test_missing_weights_survive_the_way_back_from_a_worker_process():
    error = pickle.loads(pickle.dumps(MissingWeights("weights not found: net.pt")))
    assert isinstance(error, FileNotFoundError) and str(error) == "weights not found: net.pt"


# ------------------------------------------------------------------------------------ pretrained models


def test_a_folder_of_the_variable_stands_for_the_hub_id(tmp_path, monkeypatch):
    file = touch(tmp_path / "weights" / "owner" / "model" / "config.json")
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path / "weights"))
    assert resolve_pretrained("owner/model", hint="") == str(file.parent)


def test_a_cached_hub_model_keeps_its_id(tmp_path):
    cached_model(tmp_path, "owner/model", "unet/config.json")
    assert resolve_pretrained("owner/model", hint="") == "owner/model"


def test_offline_an_unknown_hub_model_is_missing():
    with pytest.raises(MissingWeights, match="Hugging Face cache, model owner/model"):
        resolve_pretrained("owner/model", hint="")


# ------------------------------------------------------------------------------------------------ reading


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return nn.Linear(3, 2).state_dict()


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt", "net.pth", "net.bin"])
def test_every_format_gives_back_the_tensors(tmp_path, state, name):
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    torch.testing.assert_close(load_state(tmp_path / name), dict(state), rtol=0, atol=0)


def test_a_nested_state_dict_is_unwrapped(tmp_path, state):
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "net.pt")
    assert load_state(tmp_path / "net.pt").keys() == state.keys()


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_an_empty_file_is_refused_by_name(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name}: the weight file is empty"):
        load_state(tmp_path / name)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_a_file_cut_short_is_refused_by_name(tmp_path, state, name):
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"{name}: not readable as weights"):
        load_state(tmp_path / name)


class Trap:
    """Touches a file when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("sprung"),))


def test_a_file_that_would_run_code_is_refused_without_running_it(tmp_path):
    torch.save({"weight": Trap()}, tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"net\.pt: not readable as weights"):
        load_state(tmp_path / "net.pt")
    assert not (tmp_path / "sprung").exists()


def test_values_that_are_no_tensors_are_refused(tmp_path):
    torch.save({"weight": 3.0}, tmp_path / "net.pt")
    with pytest.raises(ValueError, match="no dictionary of tensors"):
        load_state(tmp_path / "net.pt")


def test_an_unknown_format_is_refused(tmp_path):
    touch(tmp_path / "net.ckpt")
    with pytest.raises(ValueError, match=r"net\.ckpt: weights are read from \.safetensors"):
        load_state(tmp_path / "net.ckpt")


def test_reading_what_is_not_there_is_missing_weights(tmp_path):
    with pytest.raises(MissingWeights, match=r"no file .*net\.pt"):
        load_state(tmp_path / "net.pt")


# ------------------------------------------------------------------------------------------------- fitting


def test_a_fitting_state_is_copied(state):
    module = nn.Linear(3, 2)
    load_strict(module, state, "net.pt")
    torch.testing.assert_close(module.state_dict(), state, rtol=0, atol=0)


def test_missing_unexpected_and_misshapen_keys_are_all_told(state):
    wrong = {"weight": torch.zeros(5, 3), "scale": torch.zeros(1)}
    with pytest.raises(ValueError) as caught:
        load_strict(nn.Linear(3, 2), wrong, "net.pt")
    message = str(caught.value)
    assert message.startswith("net.pt: the weights do not fit Linear")
    assert "missing: bias" in message
    assert "unexpected: scale" in message
    assert "wrong shape: weight (5, 3) instead of (2, 3)" in message


def test_a_misfit_leaves_the_module_as_it_was(state):
    module = nn.Linear(3, 2)
    before = module.weight.detach().clone()
    with pytest.raises(ValueError):
        load_strict(module, {"weight": torch.zeros(2, 3)}, "net.pt")
    assert torch.equal(module.weight, before)


def test_batch_counters_may_be_absent():
    statistics = {key: value for key, value in nn.BatchNorm2d(2).state_dict().items() if value.dim()}
    load_strict(nn.BatchNorm2d(2), statistics, "net.pt")


def test_a_frozen_module_cannot_be_woken_by_its_parent():
    class Frozen(FrozenModule):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

    frozen = Frozen().freeze()
    nn.Sequential(frozen, nn.Linear(2, 2)).train()
    assert not frozen.norm.training
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
