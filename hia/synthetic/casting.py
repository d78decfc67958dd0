"""Casting: a whole dancer from a seed, with a dance, a room, and a camera that keeps them in the frame."""

from dataclasses import dataclass

import numpy as np

from hia.pose.keypoints import FEET, JOINTS
from hia.synthetic.appearance import Appearance, random_appearance
from hia.synthetic.atlas import paint_atlas
from hia.synthetic.camera import fit_camera
from hia.synthetic.face import paint_complexion
from hia.synthetic.figure import BONE, pose_figure
from hia.synthetic.head import head_size
from hia.synthetic.keypoints import keypoints_in_space
from hia.synthetic.kinematics import Array, unit
from hia.synthetic.motion import Dance, DanceStyle, choreograph
from hia.synthetic.render import Dancer, build_mesh, expressions_at, to_linear
from hia.synthetic.scene import paint_scene

LEGS = [
    *(JOINTS[f"{side}_{joint}"] for side in ("left", "right") for joint in ("knee", "ankle")),
    *range(FEET.start, FEET.stop),
]
HIPS = [JOINTS["left_hip"], JOINTS["right_hip"]]
# Of an average head: the top of its hair, and hair at its sides, from the base of the skull (m).
HEAD_RIM = np.array([[0, 0.235, 0], [0.12, 0.10, 0], [-0.12, 0.10, 0]])


@dataclass(frozen=True)
class Framing:
    """A camera framing: keypoints in the frame besides head, arms and hands, a suitable dance, the distance in m."""

    needed: tuple[int, ...]
    style: DanceStyle
    distance: float


FRAMINGS = {
    "full": Framing((*HIPS, *LEGS), DanceStyle(reach=0.80, low=0.78, steps=0.55, energy=1.0), 5.0),
    "knees": Framing((*HIPS,), DanceStyle(reach=0.50, low=0.60, steps=0.35, energy=0.8), 4.0),
    "half": Framing((), DanceStyle(reach=0.36, low=0.30, steps=0.2, energy=0.6), 3.2),
}
FRAMING_CHANCES = (0.35, 0.3, 0.35)


def cast_dancer(generator: np.random.Generator, width: int, height: int, times: Array) -> Dancer:
    """Draw a dancer who stays inside frames of width × height px at the times [T] in seconds."""
    look = random_appearance(generator)
    framing = FRAMINGS[str(generator.choice(list(FRAMINGS), p=FRAMING_CHANCES))]
    dance = choreograph(generator, look.body, framing.style, float(times[-1]))
    points = _needed_points(look, dance, framing, times)
    eye_height = look.body.height * float(generator.uniform(0.6, 0.85))
    camera = fit_camera(points, width, height, eye_height, framing.distance, from_top=LEGS[0] not in framing.needed)
    light = unit(np.array([generator.uniform(-0.6, 0.6), generator.uniform(0.5, 0.9), generator.uniform(0.6, 0.9)]))
    # Finer surfaces for larger people in the picture: faces of about four pixels.
    sides = int(np.clip(round(0.07 * camera.scale + 8), 12, 36)) // 2 * 2
    return Dancer(
        look=look,
        mesh=build_mesh(look, sides),
        atlas=to_linear(paint_atlas(generator, look)),
        complexion=paint_complexion(look),
        dance=dance,
        camera=camera,
        scene=paint_scene(generator, camera, width, height, light),
        light=light,
    )


def _needed_points(look: Appearance, dance: Dance, framing: Framing, times: Array) -> Array:
    """Everything that must be in the frame at the times.   → [N, 3] m"""
    channels = dance.at(times)
    pose = pose_figure(look.body, channels)
    points = keypoints_in_space(pose, look, expressions_at(channels))
    kept = [index for index in range(points.shape[1]) if index not in {*LEGS, *HIPS} - set(framing.needed)]
    rim = pose.place("head", pose.rest[BONE["head"]] + HEAD_RIM * head_size(look))
    return np.concatenate([points[:, kept].reshape(-1, 3), rim.reshape(-1, 3)])
