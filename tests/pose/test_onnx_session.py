"""ONNX model files: the role of each, the places where it is found, the errors of those that cannot be used."""

import http.server
import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import onnxruntime
import pytest

from hia.pose.top_down import DEFAULT_FEET, PoseModels
from hia.weights.find import MissingWeights
from tests.pose.tiny_onnx import write_pose

REAL_SIZE = {"width": 192, "height": 256}
# Nothing listens on the port "discard".
UNREACHABLE = "http://127.0.0.1:9/models/dwpose_384.zip"


def test_the_fingerprint_tells_the_models_bytes_and_nothing_else(estimator, networks, tmp_path):
    one = estimator()
    copy = shutil.copy(networks["pose"], tmp_path / "elsewhere.onnx")
    assert estimator(pose=copy).fingerprint == estimator(feet=copy).fingerprint == one.fingerprint
    others = [estimator(detector="grid"), estimator(pose="single"), estimator(feet="feet"), estimator(least_score=0.4)]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_nothing_is_printed_while_models_are_loaded(estimator, capfd):
    estimator(feet="feet")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("role", ["detector", "pose", "feet"])
def test_a_path_without_a_file_is_named_with_the_setting_that_gives_it(estimator, role):
    with pytest.raises(MissingWeights, match=rf"(?s)nowhere/model\.onnx.*give a path as `{role}`"):
        estimator(**{role: "nowhere/model.onnx"})


def test_a_file_that_is_no_onnx_model_is_named(estimator, tmp_path):
    (tmp_path / "page.onnx").write_text("<html>404</html>")
    with pytest.raises(ValueError, match=r"page\.onnx: not a readable ONNX model"):
        estimator(pose=tmp_path / "page.onnx")


def test_models_in_each_others_place_are_refused_with_what_they_give(estimator):
    with pytest.raises(
        ValueError, match=r"boxes\.onnx: a pose model for 96×96 px must give simcc_x \(1, 133, 192\).*not dets"
    ):
        estimator(pose="detector")
    with pytest.raises(ValueError, match=r"pose\.onnx: a detector must give .*\(1, 133, 96\)"):
        estimator(detector="pose")


def test_a_pose_model_of_other_keypoints_is_refused(estimator, tmp_path):
    body = write_pose(tmp_path / "body17.onnx", num_keypoints=17)
    with pytest.raises(ValueError, match=r"body17\.onnx: .*\(1, 133, 96\).*not simcc_x \(1, 17, 96\)"):
        estimator(pose=body)


def test_a_model_that_takes_no_picture_is_refused(estimator, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("latent", "out")]
    graph = helper.make_graph([helper.make_node("Identity", ["latent"], ["out"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "g.onnx")
    with pytest.raises(ValueError, match=r"g\.onnx: the model must take one float picture .*latent tensor\(float\)"):
        estimator(feet=tmp_path / "g.onnx")


def test_cuda_is_refused_where_onnx_runtime_does_not_offer_it(estimator):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(ValueError, match=r"only offers .*CPUExecutionProvider.*onnxruntime-gpu"):
        estimator(device="cuda")
    with pytest.raises(ValueError, match="device must be auto, cpu or cuda, not 'tpu'"):
        estimator(device="tpu")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="performance, balanced, lightweight, not 'fast'"):
        PoseModels(mode="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", list(DEFAULT_FEET))
def test_by_default_pose_and_feet_are_different_models_of_the_same_size(mode):
    places = PoseModels(mode=mode).places()
    size = {role: re.findall(r"\d{3}x\d{3}", place)[-1] for role, place in places.items() if role != "detector"}
    assert "rtmw" in places["pose"] and "ucoco_dw" in places["feet"] and size["pose"] == size["feet"]


def test_without_a_connection_the_error_says_what_to_get_and_where_to_put_it(estimator, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(
        MissingWeights, match=rf"(?s){UNREACHABLE}.*dwpose_384\.onnx.*HIA_WEIGHTS.*give a path as `feet`"
    ):
        estimator(feet=UNREACHABLE)


def test_a_model_by_url_is_taken_from_the_weights_folder(estimator, networks, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HIA_WEIGHTS", str(tmp_path))
    shutil.copy(networks["feet"], tmp_path / "dwpose_384.onnx")
    assert estimator(feet=UNREACHABLE).fingerprint == estimator(feet="feet").fingerprint


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL under which it is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_model_in_an_archive_is_downloaded_once_by_all_who_want_it(
    estimator, networks, served, monkeypatch, tmp_path
):
    folder, url = served
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    with zipfile.ZipFile(folder / "dwpose_384.zip", "w") as archive:
        archive.write(networks["feet"], "20230728/dwpose/end2end.onnx")
    wanted = estimator(feet="feet").fingerprint
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(estimator(feet=f"{url}/dwpose_384.zip").fingerprint))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (folder / "dwpose_384.zip").unlink()
    assert [*found, estimator(feet=f"{url}/dwpose_384.zip").fingerprint] == [wanted] * 5


def test_an_archive_that_is_broken_is_reported_as_missing_and_not_kept(
    estimator, networks, served, monkeypatch, tmp_path
):
    folder, url = served
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    (folder / "dwpose_384.zip").write_bytes(b"not an archive")
    with pytest.raises(MissingWeights, match="not a zip file"):
        estimator(feet=f"{url}/dwpose_384.zip")
    with zipfile.ZipFile(folder / "dwpose_384.zip", "w") as archive:
        archive.write(networks["feet"], "end2end.onnx")
    assert estimator(feet=f"{url}/dwpose_384.zip").fingerprint == estimator(feet="feet").fingerprint
