"""Rendering of a dancer: sub-frames over the shutter, each with its depth buffer, averaged in linear light."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hia.images import Frame
from hia.synthetic.appearance import Appearance
from hia.synthetic.atlas import FACE, Texture
from hia.synthetic.body import HAND_PARTS, add_body
from hia.synthetic.camera import Camera
from hia.synthetic.face import Canvas, Expression, paint_face
from hia.synthetic.figure import Channels, Pose, pose_figure
from hia.synthetic.hands import add_hands
from hia.synthetic.head import add_head
from hia.synthetic.keypoints import keypoint_scores, keypoints_in_space
from hia.synthetic.kinematics import Array, unit
from hia.synthetic.mesh import Mesh, MeshBuilder
from hia.synthetic.motion import Dance
from hia.synthetic.raster import Floats, rasterise
from hia.synthetic.scene import Scene

# Sub-frames also smooth edges (each is moved by a part of a pixel), so even frames without movement have some. Their
# number is odd: the middle one is at the frame's time.
LEAST_SUBFRAMES, MOST_SUBFRAMES = 7, 33
# Brightness of surfaces that face away from the viewer, which gives an outline.
BODY_OUTLINE, HAND_OUTLINE = 0.45, 0.18
# The largest movement between two sub-frames, px.
LARGEST_STEP = 0.9


@dataclass(frozen=True, eq=False)
class Dancer:
    """A person who dances in a room, with everything that rendering needs."""

    look: Appearance
    mesh: Mesh
    atlas: Texture
    complexion: Canvas
    dance: Dance
    camera: Camera
    scene: Scene
    light: Array

    @cached_property
    def texels(self) -> NDArray[np.complex64]:
        """Texture coordinates of the mesh's points in the atlas [V]: column + i · row."""
        return (self.mesh.texture @ (1, 1j)).astype(np.complex64)

    @cached_property
    def outlines(self) -> Floats:
        """Brightness of the mesh's points when they face away from the viewer [V]: darkest on fingers."""
        outlines = np.full(len(self.mesh.points), BODY_OUTLINE, np.float32)
        outlines[self.mesh.triangles[np.isin(self.mesh.parts, HAND_PARTS)]] = HAND_OUTLINE
        return outlines


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """A frame, RGB uint8 [H, W, 3]; keypoints float32 [133, 2] px and scores float32 [133] at its time."""

    frame: Frame
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]


def build_mesh(look: Appearance, sides: int) -> Mesh:
    """The mesh of the whole body. sides: of the trunk's cross-section; more give a finer mesh."""
    builder = MeshBuilder()
    add_body(builder, look, sides)
    add_head(builder, look, sides)
    add_hands(builder, look, max(6, sides // 3))
    return builder.build()


def render(dancer: Dancer, times: Array, exposure: float, workers: int = 1) -> Iterator[RenderedFrame]:
    """Frames at times [T] in seconds, each exposed for `exposure` seconds around its time, in order."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda time: _render_frame(dancer, float(time), exposure), times)


def expressions_at(channels: Channels) -> list[Expression]:
    """The expressions of the face at the channels' moments."""
    return [Expression(float(blink), float(mouth)) for blink, mouth in zip(channels.blink, channels.mouth, strict=True)]


def _render_frame(dancer: Dancer, time: float, exposure: float) -> RenderedFrame:
    look, scene, camera = dancer.look, dancer.scene, dancer.camera
    width, height = scene.width, scene.height
    count = _subframes(dancer, time, exposure)
    middle = count // 2
    channels = dancer.dance.at(time + exposure * ((np.arange(count) + 0.5) / count - 0.5))
    pose = pose_figure(look.body, channels)
    points, normals = dancer.mesh.posed(pose)
    picture = camera.project(points).astype(np.float32)
    picture[..., :2] += _jitter(count)[:, None]
    fragments = rasterise(picture, dancer.mesh.triangles, width, height)
    expression = expressions_at(channels)[middle]
    atlas = _with_face(dancer, expression)
    brightness = _brightness(normals, dancer.light, dancer.outlines)
    # Two coordinates as one complex number: one lookup instead of two.
    texels = fragments.interpolate(dancer.texels, dancer.mesh.triangles)
    light = fragments.interpolate(brightness, dancer.mesh.triangles)
    colours = atlas[texels.imag.astype(np.int64), texels.real.astype(np.int64)] * light[:, None]
    linear = _average(fragments.pixel, colours, count, scene.lit(camera, pose, middle))
    places = camera.project(keypoints_in_space(_moment(pose, middle), look, [expression]))[0]
    scores = keypoint_scores(places, fragments, middle, dancer.mesh.parts, width, height)
    return RenderedFrame(to_display(linear), places[:, :2].astype(np.float32), scores)


def _moment(pose: Pose, moment: int) -> Pose:
    return Pose(pose.rotations[moment : moment + 1], pose.positions[moment : moment + 1], pose.rest)


def _subframes(dancer: Dancer, time: float, exposure: float) -> int:
    """The number of sub-frames that keeps the fastest finger's steps below a pixel; odd."""
    ends = pose_figure(dancer.look.body, dancer.dance.at(time + exposure * np.array([-0.5, 0, 0.5])))
    moved = np.abs(np.diff(dancer.camera.project(ends.positions)[..., :2], axis=0)).sum(axis=0).max()
    count = int(np.clip(np.ceil(moved / LARGEST_STEP), LEAST_SUBFRAMES, MOST_SUBFRAMES))
    return count + 1 - count % 2


def _jitter(count: int) -> Floats:
    """Shifts of the picture within a pixel [count, 2]: spread evenly, symmetric about the middle one, which is 0."""
    steps = np.arange(1, count // 2 + 1)[:, None] * np.array([0.7548776662, 0.5698402910])
    half = (steps % 1.0) - 0.5
    return np.concatenate([-half[::-1], np.zeros((1, 2)), half]).astype(np.float32)


def _with_face(dancer: Dancer, expression: Expression) -> Texture:
    """The atlas with the face of an expression."""
    painted = dancer.atlas.copy()
    patch = (slice(FACE.top, FACE.top + FACE.height), slice(FACE.left, FACE.left + FACE.width))
    painted[patch] = BYTE_TO_LINEAR[paint_face(dancer.complexion, dancer.look, expression)]
    return painted


def _brightness(normals: Floats, light: Array, outlines: Floats) -> Floats:
    """Brightness of every point [T, V]: a key light, light from above, and darker outlines."""
    normals = unit(normals.astype(np.float32))
    key = np.maximum(0.78 * (normals @ light.astype(np.float32)) + 0.22, 0)
    sky = 0.5 + 0.5 * normals[..., 1]
    outline = outlines + (1 - outlines) * np.clip(2 * normals[..., 2], 0, 1)
    return ((0.24 + 0.22 * sky + 0.72 * key) * outline).astype(np.float32)


def _average(pixel: NDArray[np.int64], colours: Floats, count: int, background: Floats) -> Floats:
    """The mean of `count` sub-frames: at each pixel the person in some of them and the background in the others."""
    height, width = background.shape[:2]
    covered = np.bincount(pixel, minlength=height * width).reshape(height, width, 1)
    sums = [np.bincount(pixel, colours[:, channel], height * width) for channel in range(3)]
    person = np.stack(sums, axis=-1).reshape(height, width, 3)
    return ((person + background * (count - covered)) / count).astype(np.float32)


def to_linear(colours: NDArray) -> Floats:
    """sRGB in [0, 1] as linear light."""
    colours = np.asarray(colours, np.float32)
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4).astype(np.float32)


BYTE_TO_LINEAR = to_linear(np.arange(256) / 255)
BYTE_TO_LINEAR.flags.writeable = False
# The linear light at which one byte passes into the next.
BYTE_LIMITS = to_linear((np.arange(255) + 0.5) / 255)
BYTE_LIMITS.flags.writeable = False


def to_display(linear: Floats) -> Frame:
    """Linear light in [0, 1] (clipped) as sRGB uint8."""
    return np.searchsorted(BYTE_LIMITS, linear).astype(np.uint8)
