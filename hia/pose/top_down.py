"""The top-down estimator: YOLOX finds people, RTMPose their 133 keypoints, DWPose those of the feet (paper A.4).

The networks run on ONNX Runtime; cropping, decoding and non-maximum suppression are rtmlib's. Frames are RGB
uint8 [H, W, 3]. YOLOX was trained on BGR; RTMPose, RTMW and DWPose on RGB (`bgr_to_rgb=True` in the configurations
of MMPose), and get RGB here: rtmlib's own demonstrations give them BGR.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rtmlib import YOLOX, RTMPose, Wholebody
from rtmlib.tools.object_detection.post_processings import multiclass_nms

from hia.images import Frame
from hia.pose.keypoints import FEET, NUM_KEYPOINTS
from hia.pose.onnx_session import OnnxModel, model_file

Mode = Literal["performance", "balanced", "lightweight"]

# DWPose's students, trained on COCO-WholeBody and UBody, as MMPose exported them.
DWPOSE = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/onnx_sdk/"
DEFAULT_FEET: dict[str, str] = {
    "performance": DWPOSE + "rtmpose-l_simcc-ucoco_dw-ucoco_270e-384x288-2438fd99_20230728.zip",
    "balanced": DWPOSE + "rtmpose-l_simcc-ucoco_dw-ucoco_270e-256x192-4d6dfc62_20230728.zip",
    "lightweight": DWPOSE + "rtmpose-m_simcc-ucoco_dw-ucoco_270e-256x192-c8b76419_20230728.zip",
}

# RTMPose was trained on person boxes enlarged by this, normalised with these (RGB), and with two bins a pixel.
CROP_PADDING = 1.25
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
BINS_PER_PIXEL = 2
SIMCC = ["simcc_x", "simcc_y"]

NMS_OVERLAP = 0.45
GRID_STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class PoseModels:
    """The locations of the networks: each a local .onnx path, a URL, or None for the default of `mode`.

    detector: YOLOX, by default the one that was trained on HumanArt. pose: 133 keypoints as SimCC, by default
    RTMW, the RTMPose for whole bodies. feet: 133 keypoints too, by default of DWPose; only its points 17..22 are used.
    The defaults of detector and pose are rtmlib's for `mode`. They are downloaded on first use into rtmlib's cache,
    unless they lie in a folder of `$HIA_WEIGHTS` under the URL's file name ending in .onnx.
    """

    detector: str | None = None
    pose: str | None = None
    feet: str | None = None
    mode: Mode = "performance"

    def __post_init__(self) -> None:
        if self.mode not in DEFAULT_FEET:
            raise ValueError(f"mode must be {', '.join(DEFAULT_FEET)}, not {self.mode!r}")

    def places(self) -> dict[str, str]:
        """Path or URL of the detector, the pose and the feet model."""
        defaults = Wholebody.MODE[self.mode]
        return {
            "detector": self.detector or defaults["det"],
            "pose": self.pose or defaults["pose"],
            "feet": self.feet or DEFAULT_FEET[self.mode],
        }


class TopDownEstimator:
    """A `PoseEstimator` of two steps: a detector of people, and pose networks on a crop around each.

    device: "auto" (CUDA if ONNX Runtime offers it), "cpu" or "cuda"; threads: of ONNX Runtime within an operator;
    least_score: of a detection. Raises MissingWeights for a model that is not there and cannot be downloaded, and
    ValueError naming the file for one with other inputs or outputs, and for "cuda" where there is none.

    fingerprint: SHA-256 of the models' bytes and `least_score`.
    """

    def __init__(
        self, models: PoseModels, device: str = "auto", threads: int | None = None, least_score: float = 0.5
    ) -> None:
        files = {role: model_file(place, f"give a path as `{role}`") for role, place in models.places().items()}
        detector_size = Wholebody.MODE[models.mode]["det_input_size"]
        self._detector = _Detector(OnnxModel.open(files["detector"], device, threads, detector_size), least_score)
        self._pose = self._feet = _PoseNetwork(OnnxModel.open(files["pose"], device, threads))
        feet = OnnxModel.open(files["feet"], device, threads)
        # One model in both roles runs once.
        if feet.digest != self._pose.model.digest:
            self._feet = _PoseNetwork(feet)
        digests = [part.model.digest for part in (self._detector, self._pose, self._feet)]
        self.fingerprint: str = sha256(json.dumps([*digests, least_score]).encode()).hexdigest()

    def detect(self, frame: Frame) -> NDArray[np.float32]:
        """See `PoseEstimator`."""
        return self._detector.find(frame)

    def estimate(self, frames: Sequence[Frame], boxes: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `PoseEstimator`. Scores are the mean height of the two SimCC peaks, clipped to [0, 1]."""
        checked = _checked_boxes(boxes, len(frames))
        if len(frames) == 0:
            return np.zeros((0, NUM_KEYPOINTS, 2), np.float32), np.zeros((0, NUM_KEYPOINTS), np.float32)
        crops = self._pose.crop(frames, checked)
        keypoints, scores = self._pose.locate(crops)
        if self._feet is not self._pose:
            same_size = self._feet.model_input_size == self._pose.model_input_size
            feet, feet_scores = self._feet.locate(crops if same_size else self._feet.crop(frames, checked))
            keypoints[:, FEET], scores[:, FEET] = feet[:, FEET], feet_scores[:, FEET]
        return keypoints, scores

    def views(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """See `PoseEstimator`: the boxes padded, of the aspect of the pose model's input."""
        return self._pose.views(boxes)


class _Detector(YOLOX):
    """A detector: rtmlib's letterboxing around a session of our own, and decoding that keeps scores and people only.

    The model gives [1, N, 5] boxes and scores after its own suppression, perhaps with labels [1, N], in which 0 is a
    person; or the raw grid [1, N, 5 + classes], in which the first class is people.
    """

    def __init__(self, model: OnnxModel, least_score: float) -> None:
        # rtmlib's constructor would open a session with its own options, and print.
        self.model, self.least_score = model, least_score
        self.model_input_size = (model.height, model.width)
        shapes = [output.shape for output in self._run(np.full((*self.model_input_size, 3), 114, np.uint8))]
        cells = len(_grid(model.height, model.width)[0])
        suppressed = len(shapes[0]) == 3 and shapes[0][2] == 5
        raw = len(shapes[0]) == 3 and shapes[0][2] > 5 and shapes[0][1] == cells
        if not (suppressed or raw):
            raise ValueError(
                f"{model.file}: a detector must give [1, N, 5] or YOLOX's grid [1, {cells}, 6 or more], "
                f"not {', '.join(map(str, shapes))}"
            )

    def find(self, frame: Frame) -> NDArray[np.float32]:
        """See `PoseEstimator.detect`."""
        picture, ratio = self.preprocess(frame[..., ::-1])
        first, *others = self._run(picture)
        if first.shape[2] == 5:
            labels = others[0][0] if others else np.zeros(first.shape[1])
            people = first[0][(labels == 0) & (first[0, :, 4] > self.least_score)]
        else:
            people = self._suppressed(first[0])
        people[:, :4] = np.clip(people[:, :4] / ratio, 0, np.tile(frame.shape[1::-1], 2))
        people = people[(people[:, 2:4] > people[:, :2]).all(axis=1)]
        return people[np.argsort(-people[:, 4], kind="stable")].astype(np.float32)

    def _run(self, picture: Frame) -> list[NDArray]:
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)[None]
        return self.model.run(pixels, self.model.outputs[:2])

    def _suppressed(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes and scores [P, 5] of people from the raw grid [N, 5 + classes]."""
        cells, strides = _grid(self.model.height, self.model.width)
        centres = (raw[:, :2] + cells) * strides
        # Cells that see nothing may give any size.
        with np.errstate(over="ignore"):
            halves = np.exp(raw[:, 2:4]) * strides / 2
        boxes = np.concatenate([centres - halves, centres + halves], axis=1)
        kept, _ = multiclass_nms(boxes, raw[:, 4:5] * raw[:, 5:6], NMS_OVERLAP, self.least_score)
        return np.zeros((0, 5), np.float32) if kept is None else kept[:, :5]


class _Crops(NamedTuple):
    """Normalised pictures [n, 3, h, w] of boxes; centres and extents [n, 1, 2] of their views, px of the frames."""

    pictures: NDArray[np.float32]
    centres: NDArray[np.float64]
    extents: NDArray[np.float64]


class _PoseNetwork(RTMPose):
    """A top-down pose network: rtmlib's crops and decoding around a session of our own, over batches."""

    def __init__(self, model: OnnxModel) -> None:
        # As for the detector. Normalising is left to `crop`, which needs no double precision.
        self.model, self.mean, self.std = model, None, None
        self.model_input_size = (model.width, model.height)
        _require_simcc(model)

    def crop(self, frames: Sequence[Frame], boxes: NDArray[np.float64]) -> _Crops:
        """The model's pictures of boxes [n, 4] in n ≥ 1 frames."""
        crops, centres, extents = zip(*map(self.preprocess, frames, boxes), strict=True)
        pictures = np.empty((len(crops), 3, self.model.height, self.model.width), np.float32)
        for channel, crop in itertools.product(range(3), range(len(crops))):
            np.multiply(crops[crop][..., channel], 1 / STD[channel], out=pictures[crop, channel])
            pictures[crop, channel] -= MEAN[channel] / STD[channel]
        return _Crops(pictures, np.stack(centres)[:, None], np.stack(extents)[:, None])

    def locate(self, crops: _Crops) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Keypoints [n, 133, 2] px of the frames, and scores [n, 133], of the people in crops."""
        simcc = self.model.run(crops.pictures, SIMCC)
        keypoints, scores = self.postprocess(simcc, crops.centres, crops.extents, BINS_PER_PIXEL)
        return keypoints.astype(np.float32), np.clip(scores, 0, 1).astype(np.float32)

    def views(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """See `PoseEstimator.views`."""
        low, high = np.split(np.asarray(boxes, np.float64), 2, axis=-1)
        sides = np.array(self.model_input_size)
        scale = ((high - low) * CROP_PADDING / sides).max(axis=-1, keepdims=True)
        centre, half = (low + high) / 2, scale * sides / 2
        return np.concatenate([centre - half, centre + half], axis=-1).astype(np.float32)


def _require_simcc(model: OnnxModel) -> None:
    """Raise ValueError unless a model answers a picture with the SimCC of 133 keypoints."""
    expected = [(1, NUM_KEYPOINTS, BINS_PER_PIXEL * side) for side in (model.width, model.height)]
    shapes = {name: "" for name in model.outputs}
    if set(SIMCC) <= set(shapes):
        outputs = model.run(np.zeros((1, 3, model.height, model.width), np.float32), SIMCC)
        if [output.shape for output in outputs] == expected:
            return
        shapes |= {name: f" {output.shape}" for name, output in zip(SIMCC, outputs, strict=True)}
    raise ValueError(
        f"{model.file}: a pose model for {model.width}×{model.height} px must give simcc_x {expected[0]} and "
        f"simcc_y {expected[1]}, not {', '.join(name + shape for name, shape in shapes.items())}"
    )


def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row [N, 2] and stride [N, 1] of YOLOX's cells, in the order of its output."""
    cells, strides = [], []
    for stride in GRID_STRIDES:
        rows, columns = np.indices((height // stride, width // stride)).reshape(2, -1)
        cells.append(np.stack([columns, rows], axis=1))
        strides.append(np.full((len(rows), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _checked_boxes(boxes: ArrayLike, num_frames: int) -> NDArray[np.float64]:
    checked = np.asarray(boxes, np.float64).reshape(-1, 4) if np.size(boxes) == 0 else np.asarray(boxes, np.float64)
    if checked.shape != (num_frames, 4):
        raise ValueError(f"{num_frames} frames need boxes [{num_frames}, 4], not {list(checked.shape)}")
    wrong = ~(np.isfinite(checked).all(axis=1) & (checked[:, 2:] > checked[:, :2]).all(axis=1))
    if wrong.any():
        raise ValueError(
            f"box {wrong.argmax()} must be finite with x1 < x2 and y1 < y2, not {checked[wrong][0].tolist()}"
        )
    return checked
