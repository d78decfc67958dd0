"""IResNet: its published sizes, and networks read from ONNX against onnxruntime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hia.models.face.iresnet import BLOCKS_BY_DEPTH, IResNet, iresnet_from_onnx, iresnet_from_state
from hia.weights.find import MissingWeights

WIDTHS = (8, 12, 16, 20)
DIMENSION = 24


class GraphBuilder:
    """Writes a small IResNet with random weights as InsightFace's exports look, BatchNorms folded or not."""

    def __init__(self, folded: bool, blocks=(2, 1, 2, 1), epsilon: float = 1e-5, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.folded, self.epsilon = folded, epsilon
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        tensor = self.prelu(self.conv("image", 3, WIDTHS[0], 3, 1), WIDTHS[0])
        channels = WIDTHS[0]
        for width, count in zip(WIDTHS, blocks, strict=True):
            for index in range(count):
                tensor = self.unit(tensor, channels, width, stride=2 if index == 0 else 1)
                channels = width
        self.output = self.head(tensor, channels)

    def constant(self, array: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes) -> str:
        output = f"tensor_{len(self.nodes)}"
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=name, **attributes))
        return output

    def norm(self, tensor: str, channels: int) -> str:
        scale, mean = self.random.normal(1, 0.2, channels), self.random.normal(0, 0.2, channels)
        shift, variance = self.random.normal(0, 0.2, channels), self.random.uniform(0.5, 1.5, channels)
        names = [self.constant(array) for array in (scale, shift, mean, variance)]
        return self.node("BatchNormalization", tensor, *names, epsilon=self.epsilon)

    def conv(self, tensor: str, before: int, after: int, kernel: int, stride: int) -> str:
        array = self.random.normal(0, (before * kernel**2) ** -0.5, (after, before, kernel, kernel))
        weights = [self.constant(array)]
        if self.folded:
            weights.append(self.constant(self.random.normal(0, 0.2, after)))
        geometry = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        output = self.node("Conv", tensor, *weights, group=1, dilations=[1, 1], **geometry)
        return output if self.folded else self.norm(output, after)

    def prelu(self, tensor: str, channels: int) -> str:
        return self.node("PRelu", tensor, self.constant(self.random.uniform(0, 0.5, (channels, 1, 1))))

    def unit(self, tensor: str, before: int, after: int, stride: int) -> str:
        residual = self.conv(self.norm(tensor, before), before, after, 3, 1)
        residual = self.conv(self.prelu(residual, after), after, after, 3, stride)
        shortcut = tensor if stride == 1 else self.conv(tensor, before, after, 1, stride)
        return self.node("Add", residual, shortcut)

    def head(self, tensor: str, channels: int) -> str:
        flat = self.node("Flatten", self.norm(tensor, channels), axis=1)
        weight = self.constant(self.random.normal(0, 0.03, (DIMENSION, channels * 49)))
        bias = self.constant(self.random.normal(0, 0.1, DIMENSION))
        return self.norm(self.node("Gemm", flat, weight, bias, transB=1), DIMENSION)

    def save(self, file: Path) -> Path:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 112, 112])
        output = helper.make_tensor_value_info(self.output, TensorProto.FLOAT, ["batch", DIMENSION])
        graph = helper.make_graph(self.nodes, "iresnet", [image], [output], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, file)
        return file


def assert_same_embeddings(file: Path) -> None:
    faces = np.random.default_rng(1).uniform(-1, 1, (3, 3, 112, 112)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(file).run(None, {"image": faces})
    with torch.no_grad():
        ours = iresnet_from_onnx(file).eval()(torch.from_numpy(faces))
    assert expected.std() > 0.1
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize(("depth", "millions"), [(50, 43.6), (100, 65.2)])
def test_parameter_count_is_the_published_one(depth, millions):
    with torch.device("meta"):
        network = IResNet(BLOCKS_BY_DEPTH[depth])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("folded", [True, False])
def test_network_from_onnx_equals_onnxruntime(tmp_path, folded):
    assert_same_embeddings(GraphBuilder(folded).save(tmp_path / "net.onnx"))


def test_depth_and_widths_are_read_off_the_graph(tmp_path):
    network = iresnet_from_onnx(GraphBuilder(True, blocks=(1, 3, 2, 1)).save(tmp_path / "net.onnx"))
    assert network.blocks == (1, 3, 2, 1)
    assert network.dimension == DIMENSION
    assert [len(stage[0].bn3.weight) for stage in (network.layer1, network.layer4)] == [WIDTHS[0], WIDTHS[3]]


def test_another_epsilon_is_respected(tmp_path):
    assert_same_embeddings(GraphBuilder(False, epsilon=0.05).save(tmp_path / "net.onnx"))


def test_a_convolution_with_bias_before_a_batch_norm_is_respected(tmp_path):
    builder = GraphBuilder(False)
    stem = builder.nodes[0]
    stem.input.append(builder.constant(np.random.default_rng(2).normal(0, 0.5, WIDTHS[0])))
    assert_same_embeddings(builder.save(tmp_path / "net.onnx"))


def test_dropout_and_shared_weights_are_seen_through(tmp_path):
    """torch.onnx lets equal weights share one initialiser through Identity nodes."""
    builder = GraphBuilder(True)
    slope = next(node for node in builder.nodes if node.op_type == "PRelu")
    identity = helper.make_node("Identity", [slope.input[1]], ["shared"])
    slope.input[1] = "shared"
    flatten = next(node for node in builder.nodes if node.op_type == "Flatten")
    dropout = helper.make_node("Dropout", [flatten.input[0]], ["dropped"])
    flatten.input[0] = "dropped"
    builder.nodes.insert(0, identity)
    builder.nodes.insert(builder.nodes.index(flatten), dropout)
    assert_same_embeddings(builder.save(tmp_path / "net.onnx"))


def test_a_linear_layer_without_last_batch_norm_is_read(tmp_path):
    builder = GraphBuilder(True)
    builder.nodes.pop()
    builder.output = builder.nodes[-1].output[0]
    assert_same_embeddings(builder.save(tmp_path / "net.onnx"))


def test_another_activation_is_refused_naming_the_node(tmp_path):
    builder = GraphBuilder(True)
    prelu = [node for node in builder.nodes if node.op_type == "PRelu"][2]
    del prelu.input[1]
    prelu.op_type = "Relu"
    file = builder.save(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=rf"net\.onnx: node '{prelu.name}' \(Relu\) where .* has PRelu"):
        iresnet_from_onnx(file)


def test_normalisation_inside_of_the_graph_is_refused(tmp_path):
    """Files that subtract the mean themselves want bytes as input, not [-1, 1]."""
    builder = GraphBuilder(True)
    minus = helper.make_node("Sub", ["image", builder.constant(np.array([127.5]))], ["centred"], name="minus")
    builder.nodes[0].input[0] = "centred"
    builder.nodes.insert(0, minus)
    file = builder.save(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"node 'minus' \(Sub\) where .* has Conv"):
        iresnet_from_onnx(file)


def test_another_stride_is_refused(tmp_path):
    builder = GraphBuilder(True)
    first_unit = [node for node in builder.nodes if node.op_type == "Conv"][1]
    strides = next(attribute for attribute in first_unit.attribute if attribute.name == "strides")
    strides.ints[:] = [2, 2]
    with pytest.raises(ValueError, match=rf"node '{first_unit.name}' \(Conv\) .*strides \[1, 1\]"):
        iresnet_from_onnx(save_unchecked(builder, tmp_path / "net.onnx"))


def save_unchecked(builder: GraphBuilder, file: Path) -> Path:
    """A graph whose shapes need not fit."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 112, 112])
    output = helper.make_tensor_value_info(builder.output, TensorProto.FLOAT, None)
    graph = helper.make_graph(builder.nodes, "iresnet", [image], [output], builder.weights)
    onnx.save(helper.make_model(graph), file)
    return file


def test_a_further_node_is_refused(tmp_path):
    builder = GraphBuilder(True)
    builder.output = builder.node("Tanh", builder.output)
    with pytest.raises(ValueError, match=r"\(Tanh\) where .* has no further node"):
        iresnet_from_onnx(builder.save(tmp_path / "net.onnx"))


def test_tensors_in_another_file_are_refused(tmp_path):
    file = GraphBuilder(True).save(tmp_path / "net.onnx")
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="net.data", size_threshold=0)
    with pytest.raises(ValueError, match="is kept in another file"):
        iresnet_from_onnx(file)


@pytest.mark.parametrize("content", [b"", b"no model at all"])
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.onnx"):
        iresnet_from_onnx(tmp_path / "net.onnx")


def test_a_missing_file_is_missing_weights(tmp_path):
    with pytest.raises(MissingWeights, match=r"net\.onnx"):
        iresnet_from_onnx(tmp_path / "net.onnx")


def test_a_state_dictionary_gives_back_the_network():
    torch.manual_seed(0)
    network = IResNet((1, 2, 1, 1), WIDTHS, DIMENSION).eval()
    copy = iresnet_from_state(network.state_dict(), "net.pt").eval()
    faces = torch.rand(1, 3, 112, 112) * 2 - 1
    assert copy.blocks == (1, 2, 1, 1)
    torch.testing.assert_close(copy(faces), network(faces), rtol=0, atol=0)


def test_a_state_dictionary_of_something_else_is_refused():
    with pytest.raises(ValueError, match=r"net\.pt: not the weights of an IResNet"):
        iresnet_from_state({"weight": torch.zeros(1)}, "net.pt")
