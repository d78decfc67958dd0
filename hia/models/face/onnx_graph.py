"""Following the nodes of an ONNX graph whose architecture is known, refusing anything unexpected."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hia.weights.find import MissingWeights

PASS_THROUGH = ("Identity", "Dropout")
"""Operators that change nothing at inference; they are seen through."""


@dataclass(frozen=True)
class OnnxNode:
    name: str
    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.operator})"


class OnnxGraph:
    """An ONNX file as nodes and float32 weights; it remembers which nodes were taken.

    Raises MissingWeights if there is no such file, ValueError if it is broken or keeps tensors elsewhere.
    """

    def __init__(self, path: Path | str) -> None:
        self.file = Path(path)
        graph = _load_model(self.file).graph
        self._weights = dict(_constants(graph, self.file))
        source = _pass_through_sources(graph)
        nodes = [_node(node, source) for node in graph.node if node.op_type not in (*PASS_THROUGH, "Constant")]
        inputs = [value.name for value in graph.input if value.name not in self._weights]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ValueError(f"{self.file}: a network of one input and one output is expected")
        self.input, self.output = inputs[0], source.get(graph.output[0].name, graph.output[0].name)
        self._untaken = {node.output: node for node in nodes}
        self._consumers: dict[str, list[OnnxNode]] = defaultdict(list)
        for node in nodes:
            for tensor in dict.fromkeys(node.inputs):
                self._consumers[tensor].append(node)

    def consumers(self, tensor: str) -> list[str]:
        """Operators that read `tensor`."""
        return [node.operator for node in self._consumers[tensor]]

    def take(self, tensor: str, *operators: str) -> OnnxNode:
        """The node that reads `tensor` and is one of `operators`; every node can be taken once."""
        nodes = self._consumers[tensor]
        for node in nodes:
            if node.operator in operators and node.output in self._untaken:
                return self._untaken.pop(node.output)
        raise self.refusal(nodes[0] if nodes else f"the end of the graph at {tensor!r}", " or ".join(operators))

    def finish(self, tensor: str) -> None:
        """Check that `tensor` is the graph's output and that no node was left out."""
        for node in self._untaken.values():
            raise self.refusal(node, "no further node")
        if tensor != self.output:
            raise self.refusal(f"output {self.output!r}", f"{tensor!r}")

    def weight(self, node: OnnxNode, position: int) -> Tensor:
        """The constant that is the input of `node` at `position`."""
        name = node.inputs[position]
        if name not in self._weights:
            raise self.refusal(node, f"a constant as input {position}, {name!r}")
        return self._weights[name]

    def refusal(self, found: OnnxNode | str, expected: str) -> ValueError:
        return ValueError(f"{self.file}: {found} where this architecture has {expected}")


def _load_model(file: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if not file.is_file():
        raise MissingWeights(f"weights not found: there is no file {file}")
    try:
        return onnx.load(str(file), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ValueError(f"{file}: not readable as an ONNX model: {error}") from error


def _constants(graph: Any, file: Path) -> Iterator[tuple[str, Tensor]]:
    """Initialisers and the values of Constant nodes, by name."""
    from onnx import numpy_helper
    from onnx.external_data_helper import uses_external_data

    values = [(tensor.name, tensor) for tensor in graph.initializer]
    constants = [node for node in graph.node if node.op_type == "Constant"]
    values += [(node.output[0], node.attribute[0].t) for node in constants if node.attribute[0].HasField("t")]
    for name, tensor in values:
        if uses_external_data(tensor):
            raise ValueError(f"{file}: tensor {name!r} is kept in another file; save the model as a single file")
        yield name, torch.tensor(numpy_helper.to_array(tensor)).float()


def _pass_through_sources(graph: Any) -> dict[str, str]:
    """For the output of every node that changes nothing: the tensor that it stands for."""
    source: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in PASS_THROUGH:
            source[node.output[0]] = source.get(node.input[0], node.input[0])
    return source


def _node(node: Any, source: dict[str, str]) -> OnnxNode:
    from onnx.helper import get_attribute_value

    attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
    inputs = tuple(source.get(name, name) for name in node.input)
    return OnnxNode(node.name or node.output[0], node.op_type, inputs, node.output[0], attributes)
