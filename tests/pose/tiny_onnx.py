"""Small ONNX networks with the inputs and outputs of the real ones, which see coloured rectangles as people.

They are not learned but exact arithmetic, so that the expected result of a test is known. Their world: a person is an
upright rectangle filled with one strong colour, on anything whose colours lie far from it (greys, say; `draw_person`
draws one). The centre and the sides of the rectangle are measured from the mean and the spread of the pixels of its
colour, to a fraction of a pixel; a rectangle that is cut off is measured as far as it is seen. Below 4 pixels in the
network's input, there is nobody. Two people need two colours.

    write_detector(folder / "detector.onnx")                    # boxes of rectangles of PERSON's colour
    write_pose(folder / "pose.onnx")                            # 133 points laid out over the rectangle
    write_pose(folder / "feet.onnx", colours=[FEET_COLOUR])     # the same, following another colour
    estimator = TopDownEstimator(PoseModels(detector=..., pose=..., feet=...))
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Colour = tuple[int, int, int]

# RGB. None is another one with its channels in the opposite order.
PERSON: Colour = (220, 30, 60)
OTHER: Colour = (20, 90, 200)
FEET_COLOUR: Colour = (30, 200, 40)

NUM_KEYPOINTS = 133
NUM_CLASSES = 80
# The sum of absolute differences of the channels at which a pixel no longer belongs to a colour.
TOLERANCE = 160.0
LEAST_PIXELS = 4.0
STRIDES = (8, 16, 32)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def draw_person(
    frame: NDArray[np.uint8], box: tuple[float, float, float, float], colour: Colour = PERSON
) -> NDArray[np.uint8]:
    """The frame [H, W, 3] with a filled rectangle; box: x1, y1, x2, y2 in px between pixels' edges, rounded."""
    drawn = frame.copy()
    x1, y1, x2, y2 = (max(round(side), 0) for side in box)
    drawn[y1:y2, x1:x2] = colour
    return drawn


def figure() -> NDArray[np.float32]:
    """A standing person seen from the front, [133, 2]: −1..1 from the left to the right and the top to the bottom."""
    body = [(0, -0.85), (0.08, -0.9), (-0.08, -0.9), (0.16, -0.87), (-0.16, -0.87)]
    body += [(0.45, -0.6), (-0.45, -0.6), (0.7, -0.3), (-0.7, -0.3), (0.85, 0), (-0.85, 0)]
    body += [(0.3, 0.05), (-0.3, 0.05), (0.3, 0.45), (-0.3, 0.45), (0.3, 0.85), (-0.3, 0.85)]
    feet = [(0.4, 0.97), (0.5, 0.95), (0.28, 0.93), (-0.4, 0.97), (-0.5, 0.95), (-0.28, 0.93)]
    turns = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    face = np.stack([0.15 * np.cos(turns), -0.85 + 0.1 * np.sin(turns)], axis=1)
    steps = np.linspace(0, 1, 21)
    hand = np.stack([0.89 + 0.1 * np.sin(9 * steps), 0.12 * steps], axis=1)
    return np.concatenate([body, feet, face, hand, hand * (-1, 1)]).astype(np.float32)


def point() -> NDArray[np.float32]:
    """All 133 keypoints in the middle of the rectangle; a layout as `figure` is."""
    return np.zeros((NUM_KEYPOINTS, 2), np.float32)


def write_pose(
    path: Path,
    *,
    colours: Sequence[Colour] = (PERSON,),
    layout: NDArray[np.floating] | None = None,
    width: int = 48,
    height: int = 64,
    batch: Literal["dynamic", 1] = "dynamic",
    num_keypoints: int = NUM_KEYPOINTS,
) -> Path:
    """A SimCC pose network: pictures [n, 3, height, width], RGB normalised as for RTMPose → simcc_x, simcc_y.

    Follows the colour that fills most of the picture. layout [133, 2]: where the keypoints lie in the rectangle,
    default `figure()`. Scores are near 1 for points within the picture, and 0 when no colour is seen.
    """
    graph = _Graph()
    pixels = graph.Add(graph.Mul("pictures", _plane(STD)), _plane(MEAN))
    area, centre, half = _rectangles(graph, pixels, colours, width, height)
    largest = graph.Cast(graph.Equal(area, graph.ReduceMax(area, axes=[1], keepdims=1)), to=TensorProto.FLOAT)
    presence = graph.ReduceMax(_presence(graph, area), axes=[1], keepdims=1)
    where = (figure() if layout is None else layout)[:num_keypoints]
    for axis, (name, side) in enumerate((("simcc_x", width), ("simcc_y", height))):
        middle, extent = (_summed(graph, graph.Mul(part[axis], largest), 1) for part in (centre, half))
        points = graph.Add(middle, graph.Mul(extent, where[None, :, axis, None].astype(np.float32)))
        bins = np.arange(2 * side, dtype=np.float32)[None, None] / 2
        heights = graph.Exp(graph.Mul(_square(graph, graph.Sub(bins, points)), np.float32(-0.5)))
        graph.output(name, graph.Mul(heights, presence), ["n", num_keypoints, 2 * side])
    return graph.save(path, "pictures", ["n" if batch == "dynamic" else 1, 3, height, width])


def write_detector(
    path: Path,
    *,
    colours: Sequence[Colour] = (PERSON,),
    form: Literal["boxes", "grid"] = "boxes",
    classes: Sequence[int] | None = None,
    width: int = 96,
    height: int = 96,
) -> Path:
    """A YOLOX detector: a picture [1, 3, height, width], BGR 0..255 → one box for every colour that is seen.

    form: "boxes" as after suppression, [1, N, 5], with `classes` also labels [1, N]; "grid" the raw output
    [1, N, 85], where many cells around its centre see each rectangle. For "grid", at most three colours, and sides
    that are multiples of 32. classes: of each colour, default all 0, people.
    """
    graph = _Graph()
    blue_first = [colour[::-1] for colour in colours]
    area, centre, half = _rectangles(graph, "pictures", blue_first, width, height)
    score = _presence(graph, area)
    if form == "grid":
        cells = sum((width // stride) * (height // stride) for stride in STRIDES)
        raw = _grid(graph, score, centre, half, classes or [0] * len(colours), width, height)
        graph.output("output", raw, [1, cells, 5 + NUM_CLASSES])
    else:
        # Coordinates between pixels' edges, as detectors give them.
        low = [graph.Add(graph.Sub(*pair), np.float32(0.5)) for pair in zip(centre, half, strict=True)]
        high = [graph.Add(graph.Add(*pair), np.float32(0.5)) for pair in zip(centre, half, strict=True)]
        graph.output("dets", graph.Concat(*low, *high, score, axis=2), [1, len(colours), 5])
        if classes is not None:
            graph.output("labels", graph.Identity(np.array([classes], np.int64)), [1, len(colours)], TensorProto.INT64)
    return graph.save(path, "pictures", [1, 3, height, width])


class _Graph:
    """Nodes by calling operators' names; numpy arrays among the arguments become constants."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: list[Any] = []

    def __getattr__(self, operator: str) -> Any:
        return lambda *inputs, **attributes: self._add(operator, inputs, attributes)

    def _add(self, operator: str, inputs: Sequence[Any], attributes: dict[str, Any]) -> str:
        name = f"{operator}_{len(self.nodes)}"
        names = [one if isinstance(one, str) else self._constant(one) for one in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], **attributes))
        return name

    def _constant(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def output(self, name: str, source: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> None:
        self.nodes.append(helper.make_node("Identity", [source], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def save(self, path: Path, name: str, shape: Sequence[int | str]) -> Path:
        pictures = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "tiny", [pictures], self.outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, str(path))
        return path


def _rectangles(
    graph: _Graph, pixels: str, colours: Sequence[Colour], width: int, height: int
) -> tuple[str, list[str], list[str]]:
    """Area [n, K, 1] in px of K colours, and x and y of the rectangles' centres and half sides, each [n, K, 1]."""
    wanted = np.array(colours, np.float32)[None, :, :, None, None]
    apart = graph.Abs(graph.Sub(graph.Unsqueeze(pixels, np.array([1])), wanted))
    distance = graph.ReduceSum(apart, np.array([2]), keepdims=0)
    share = graph.Relu(graph.Sub(np.float32(1), graph.Div(distance, np.float32(TOLERANCE))))
    profiles = [graph.ReduceSum(share, np.array([axis]), keepdims=0) for axis in (2, 3)]
    area = _summed(graph, profiles[0], 2)
    weight = graph.Max(area, np.float32(1e-6))
    centre, half = [], []
    for profile, side in zip(profiles, (width, height), strict=True):
        places = np.arange(side, dtype=np.float32)[None, None]
        centre.append(graph.Div(_summed(graph, graph.Mul(profile, places), 2), weight))
        spread = _square(graph, graph.Sub(places, centre[-1]))
        variance = graph.Div(_summed(graph, graph.Mul(profile, spread), 2), weight)
        # n even pixels have the variance (n² − 1) / 12.
        half.append(graph.Sqrt(graph.Add(graph.Mul(variance, np.float32(3)), np.float32(0.25))))
    return area, centre, half


def _grid(
    graph: _Graph,
    score: str,
    centre: Sequence[str],
    half: Sequence[str],
    classes: Sequence[int],
    width: int,
    height: int,
) -> str:
    """YOLOX's raw output [1, N, 85]: the k-th colour speaks at the k-th stride."""
    levels = []
    for level, stride in enumerate(STRIDES):
        rows, columns = np.indices((height // stride, width // stride)).reshape(2, 1, -1, 1).astype(np.float32)
        if level >= len(classes):
            levels.append(graph.Identity(np.zeros((1, columns.size, 5 + NUM_CLASSES), np.float32)))
            continue
        colour = np.array([level])
        seen, *sides = (graph.Gather(part, colour, axis=1) for part in (score, *centre, *half))
        offsets = [
            graph.Sub(graph.Div(graph.Add(side, np.float32(0.5)), np.float32(stride)), cells)
            for side, cells in zip(sides[:2], (columns, rows), strict=True)
        ]
        sizes = [graph.Log(graph.Mul(side, np.float32(2 / stride))) for side in sides[2:]]
        everywhere = np.ones_like(columns)
        away = graph.Add(*(_square(graph, graph.Sub(offset, np.float32(0.5))) for offset in offsets))
        objectness = graph.Mul(graph.Exp(graph.Mul(away, np.float32(-0.3))), seen)
        which = np.tile(np.eye(NUM_CLASSES, dtype=np.float32)[classes[level]], (1, columns.size, 1))
        parts = [*offsets, *(graph.Mul(size, everywhere) for size in sizes), objectness, which]
        levels.append(graph.Concat(*parts, axis=2))
    return graph.Concat(*levels, axis=1)


def _presence(graph: _Graph, area: str) -> str:
    """1 for a rectangle of enough pixels, falling to 0."""
    return graph.Clip(graph.Div(area, np.float32(LEAST_PIXELS)), np.float32(0), np.float32(1))


def _summed(graph: _Graph, values: str, axis: int) -> str:
    return graph.ReduceSum(values, np.array([axis]), keepdims=1)


def _square(graph: _Graph, values: str) -> str:
    return graph.Mul(values, values)


def _plane(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[None, :, None, None]
