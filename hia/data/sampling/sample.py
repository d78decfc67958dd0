"""A training sample and its extraction from a clip: pictures or latents, control images, regions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hia.conditions.blur import SharpnessScale, clip_ranks
from hia.conditions.control import flip_conditions
from hia.conditions.driving import DrivingSignal
from hia.conditions.regions import box_mask, face_box, five_points, hand_boxes
from hia.config import ConditionsConfig
from hia.data.sampling.draw import Draw
from hia.data.store.clip import Clip
from hia.images import REDUCED, Frame
from hia.pose.keypoints import KeypointSequence, flip_horizontal

Size = tuple[int, int]  # width and height in px

# Black stays below this value after JPEG compression; of a normal, at least one component is larger.
DARKEST_NORMAL = 48


@dataclass(frozen=True)
class Regions:
    """Targets of the regional losses (paper sec. 3.1) besides the images, for F frames; in a batch [B, F, ...].

    face_mask, hand_mask: bool [F, 1, H, W], empty where nothing is seen; five_points: float32 [F, 5, 2] px, the
    target's face points, 0 where they are not known; face_usable: bool [F], the target's face can be compared, and the
    reference's too where there is an identity loss; reference_embedding: float32 [D] of the reference's face, 0
    where it has none; None without identity loss.
    """

    face_mask: Tensor
    hand_mask: Tensor
    five_points: Tensor
    face_usable: Tensor
    reference_embedding: Tensor | None = None


@dataclass(frozen=True)
class Sample:
    """One training sample of F frames of W × H px, or B of them stacked (each tensor [B, ...]); tensors on the CPU.

    sample_ids: one for each sample. control: float16 [F, K, H, W], see `control_images`; half precision halves what
    goes from process to process. latents: float16 [F, C, h, w] and reference_latents [C, h, w] where the store has
    them, else None. images: uint8 [F, H, W, 3] and reference_image [H, W, 3], None where nothing needs them.
    image_token: float16 [D] of the reference, None where the store has none or the model reads none. regions: None
    without regional losses.
    """

    sample_ids: tuple[str, ...]
    control: Tensor
    latents: Tensor | None
    reference_latents: Tensor | None
    images: Tensor | None
    reference_image: Tensor | None
    image_token: Tensor | None
    regions: Regions | None


def cut_driving_signal(
    clip: Clip, draw: Draw, size: Size, scale: SharpnessScale | None, conditions: ConditionsConfig
) -> DrivingSignal:
    """The driving signal of a draw's targets, mirrored where the draw is. scale: of sharpness; None: ranks in the clip.

    Movement is between consecutive stored frames, whatever the stride of the window is; in a still it is zero.
    """
    frames, info = list(draw.targets), clip.info
    sharpness = (clip_ranks(clip.sharpness) if scale is None else scale.normalise(clip.sharpness))[frames]
    movement = np.zeros((len(frames), 2, 2), np.float32) if draw.still else clip.movement[frames]
    keypoints, scores = clip.keypoints.keypoints[frames], clip.keypoints.scores[frames]
    if draw.mirrored:
        keypoints, scores = flip_horizontal(keypoints, scores, info.width)
        movement, sharpness = flip_conditions(movement, sharpness)
    sequence = KeypointSequence(keypoints, scores, info.width, info.height, info.fps)

    def maps(frame: int) -> NDArray[np.float32]:
        return cut_maps(clip, [frames[frame]], size, draw.mirrored, conditions.maps)[0].float().numpy()

    return DrivingSignal(sequence.resized(*size), movement, sharpness, conditions, maps if conditions.maps else None)


def control_images(signal: DrivingSignal, still: bool) -> Tensor:
    """Control images of all frames, float16 [F, K, H, W]; a still is drawn once."""
    frames = len(signal.keypoints)
    drawn = [torch.from_numpy(signal.control_image(frame)).half() for frame in range(1 if still else frames)]
    return torch.stack(drawn * frames if still else drawn)


def cut_maps(clip: Clip, frames: Sequence[int], size: Size, mirrored: bool, names: Sequence[str]) -> Tensor:
    """M maps of frames at a size, float16 [F, 3·M, H, W] in [0, 1]; a map that the clip lacks is black.

    Mirrored normals point the other way: the red of `normals` is inverted, except in the black background.
    """
    width, height = size
    maps = torch.zeros(len(frames), len(names), height, width, 3, dtype=torch.uint8)
    for place, name in enumerate(names):
        if name not in clip.info.maps:
            continue
        pictures = _cut(partial(clip.map_frame, name), clip, frames, size, mirrored)
        if mirrored and name == "normals":
            seen = pictures.amax(dim=-1) >= DARKEST_NORMAL
            pictures[..., 0] = torch.where(seen, 255 - pictures[..., 0], pictures[..., 0])
        maps[:, place] = pictures
    return maps.permute(0, 1, 4, 2, 3).flatten(1, 2).half() / 255


def cut_regions(clip: Clip, draw: Draw, signal: DrivingSignal, identity: bool) -> Regions:
    """Masks, face points and embeddings of a draw. identity: faces are compared with the reference's face."""
    people, (width, height) = signal.keypoints, (signal.keypoints.width, signal.keypoints.height)
    persons = list(zip(people.keypoints, people.scores, strict=True))
    faces = [box_mask([face_box(*person, width, height)], width, height) for person in persons]
    hands = [box_mask(hand_boxes(*person, width, height), width, height) for person in persons]
    points = [five_points(*person) for person in persons]
    unknown = np.zeros((5, 2), np.float32)
    embedding, known = _reference_embedding(clip, draw) if identity else (None, True)
    return Regions(
        face_mask=torch.from_numpy(np.stack(faces)).bool(),
        hand_mask=torch.from_numpy(np.stack(hands)).bool(),
        five_points=torch.from_numpy(np.stack([unknown if five is None else five for five in points])),
        face_usable=torch.from_numpy(clip.face_usable[list(draw.targets)] & known),
        reference_embedding=embedding,
    )


def comparable_faces(clip: Clip) -> NDArray[np.int64]:
    """Numbers of the frames with a face embedding and a comparable face, int64 [K]."""
    return clip.face_frames[clip.face_usable[clip.face_frames]]


def cut_images(clip: Clip, frames: Sequence[int], size: Size, mirrored: bool) -> Tensor:
    """Frames at a size, uint8 [F, H, W, 3]; each is read once.

    JPEGs decode directly to a half and a quarter of the stored size; for other sizes frames are resized by pixel areas.
    """
    return _cut(clip.frame, clip, frames, size, mirrored)


def _cut(read: Callable[[int, int], Frame], clip: Clip, frames: Sequence[int], size: Size, mirrored: bool) -> Tensor:
    reduction = next((r for r in REDUCED if (size[0] * r, size[1] * r) == (clip.info.width, clip.info.height)), 1)
    pictures = {frame: _sized(read(frame, reduction), size, mirrored) for frame in set(frames)}
    return torch.from_numpy(np.stack([pictures[frame] for frame in frames]))


def _sized(picture: Frame, size: Size, mirrored: bool) -> Frame:
    if picture.shape[:2] != (size[1], size[0]):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return cv2.flip(picture, 1).astype(np.uint8, copy=False) if mirrored else picture


def _reference_embedding(clip: Clip, draw: Draw) -> tuple[Tensor, bool]:
    """Embedding [D] of the reference's face, mirrored or not as in the draw, and True if it can be compared."""
    place = np.flatnonzero(comparable_faces(clip) == draw.reference)
    known = bool(len(place))
    if not known:
        return torch.zeros(clip.face_embeddings.shape[-1]), False
    row = np.flatnonzero(clip.face_frames == draw.reference)[0]
    return torch.from_numpy(clip.face_embeddings[row, int(draw.mirrored)].copy()), True
