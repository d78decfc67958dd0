"""Contact sheets: what is drawn over frames, and how a sheet is laid out."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from hia.conditions.blur import SharpnessScale
from hia.data.store.clip import Clip
from hia.data.store.clip_store import ClipStore
from hia.inspection.contact_sheet import contact_sheet, shown_frames
from hia.inspection.overlay import (
    FACE_COLOUR,
    FILLED_COLOUR,
    HAND_COLOURS,
    POINT_COLOUR,
    STRIPES,
    annotated_frame,
    hand_picture,
)
from hia.pose.keypoints import BODY, JOINTS

HEIGHT = 336  # three times the store's frames
WRIST = JOINTS["left_wrist"]


@pytest.fixture
def clip(store: ClipStore) -> Clip:
    return store.read(store.clips[0])


def has_colour(picture: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int = 0) -> bool:
    return bool((np.abs(picture.astype(int) - colour) <= tolerance).all(axis=-1).any())


def plain(clip: Clip, index: int) -> NDArray[np.uint8]:
    frame = clip.frame(index)
    return cv2.resize(frame, (frame.shape[1] * 3, frame.shape[0] * 3), interpolation=cv2.INTER_CUBIC)


def no_boxes(boxes: np.ndarray) -> np.ndarray:
    return np.full_like(boxes, -1)


def nothing_known(values: np.ndarray) -> np.ndarray:
    return np.full_like(values, np.nan)


def without_hands(altered) -> Clip:
    def unseen(scores: np.ndarray) -> np.ndarray:
        scores[:, 91:] = 0
        return scores

    return altered(scores=unseen, hand_boxes=no_boxes, sharpness=nothing_known, movement=np.zeros_like)


def test_the_frames_shown_are_spread_from_the_first_to_the_last():
    assert shown_frames(71) == [0, 10, 20, 30, 40, 50, 60, 70]


@pytest.mark.parametrize("num_frames", [1, 2, 7, 8])
def test_all_frames_of_a_short_clip_are_shown_once(num_frames):
    assert shown_frames(num_frames) == list(range(num_frames))


def test_boxes_lie_where_the_clip_says_in_the_colour_of_their_hand(clip):
    index = next(i for i in range(len(clip)) if (clip.hand_boxes[i, :, 0] >= 0).all())
    picture = annotated_frame(clip, index, HEIGHT)
    for hand in (0, 1):
        left, top, right, bottom = clip.hand_boxes[index, hand] * 3
        outline = np.zeros(picture.shape[:2], bool)
        outline[top:bottom, [left, right - 1]] = outline[[top, bottom - 1], left:right] = True
        # The other hand's box may cover a part of it.
        assert (picture[outline] == HAND_COLOURS[hand]).all(axis=1).mean() > 0.5
    assert has_colour(picture, FACE_COLOUR) and has_colour(picture, POINT_COLOUR)


def test_without_hands_neither_colour_is_in_the_frame(altered):
    picture = annotated_frame(without_hands(altered), 0, HEIGHT)
    assert not has_colour(picture, HAND_COLOURS[0]) and not has_colour(picture, HAND_COLOURS[1])


def test_a_frame_without_anything_measured_is_shown_as_it_is(altered):
    bare = altered(
        scores=np.zeros_like, hand_boxes=no_boxes, face_boxes=no_boxes, five_points=nothing_known, filled=np.zeros_like
    )
    np.testing.assert_array_equal(annotated_frame(bare, 3, HEIGHT), plain(bare, 3))


def test_the_frame_shines_through_the_skeleton(altered):
    boxless = altered(hand_boxes=no_boxes, face_boxes=no_boxes, five_points=nothing_known)
    shoulder, elbow = (boxless.keypoints.keypoints[0, JOINTS[f"left_{part}"]] for part in ("shoulder", "elbow"))
    column, row = ((shoulder + elbow) / 2 * 3 + 1).round().astype(int)
    drawn, frame = annotated_frame(boxless, 0, HEIGHT)[row, column], plain(boxless, 0)[row, column].astype(float)
    limb = (drawn - 0.15 * frame) / 0.85  # what was laid over it, if 15 % of the frame are left
    assert np.abs(drawn - frame).max() > 20
    assert limb.min() >= -3 and limb.max() <= 0.6 * 255 + 3  # one of the limbs' colours, which are dimmed


def test_an_interpolated_keypoint_is_a_hollow_ring(altered):
    def only_wrist(filled: np.ndarray) -> np.ndarray:
        filled[:] = False
        filled[:, WRIST] = True
        return filled

    none = {"hand_boxes": no_boxes, "face_boxes": no_boxes, "five_points": nothing_known}
    index = 10
    solid = annotated_frame(altered(**none), index, HEIGHT)
    hollow_clip = altered(**none, filled=only_wrist)
    hollow = annotated_frame(hollow_clip, index, HEIGHT)
    column, row = (hollow_clip.keypoints.keypoints[index, WRIST] * 3 + 1).round().astype(int)
    around = np.s_[row - 8 : row + 9, column - 8 : column + 9]
    frame = plain(hollow_clip, index).astype(int)
    assert np.abs(hollow - frame)[row, column].max() <= 10 < 30 < np.abs(solid - frame)[row, column].max()
    # The ring is thin and has smooth edges.
    assert has_colour(hollow[around], FILLED_COLOUR, 60) and not has_colour(solid[around], FILLED_COLOUR, 60)
    outside = np.ones(hollow.shape[:2], bool)
    outside[around] = False
    np.testing.assert_array_equal(hollow[outside], solid[outside])


def test_a_low_score_hides_an_interpolated_keypoint(altered):
    def low(scores: np.ndarray) -> np.ndarray:
        scores[:] = 0.29
        return scores

    pictures = [
        annotated_frame(altered(filled=filled, scores=low), 0, HEIGHT) for filled in (np.ones_like, np.zeros_like)
    ]
    np.testing.assert_array_equal(*pictures)


def test_padding_is_striped_and_nothing_else(altered):
    none = {"hand_boxes": no_boxes, "face_boxes": no_boxes, "five_points": nothing_known, "scores": np.zeros_like}
    picture = annotated_frame(altered({"content": (8, 0, 64, 100)}, **none), 0, HEIGHT)
    whole = annotated_frame(altered(**none), 0, HEIGHT)
    padded = np.ones(picture.shape[:2], bool)
    padded[: 100 * 3, 8 * 3 :] = False
    assert {tuple(colour) for colour in np.unique(picture[padded], axis=0).tolist()} == set(STRIPES)
    np.testing.assert_array_equal(picture[~padded], whole[~padded])


def test_a_face_that_cannot_be_compared_has_a_dashed_box(altered):
    usable, unusable = (
        annotated_frame(altered(face_usable=change), 0, HEIGHT) for change in (np.ones_like, np.zeros_like)
    )
    pixels = [(picture == FACE_COLOUR).all(axis=-1).sum() for picture in (usable, unusable)]
    assert 0.3 * pixels[0] < pixels[1] < 0.7 * pixels[0]


def test_a_hands_picture_is_its_box_without_overlays(clip):
    left, top, right, bottom = clip.hand_boxes[0, 0].tolist()
    side = 4 * max(right - left, bottom - top)
    enlarged = np.repeat(np.repeat(clip.frame(0)[top:bottom, left:right], 4, axis=0), 4, axis=1)
    picture = hand_picture(clip, 0, 0, side)
    y, x = (side - enlarged.shape[0]) // 2, (side - enlarged.shape[1]) // 2
    np.testing.assert_array_equal(picture[y : y + enlarged.shape[0], x : x + enlarged.shape[1]], enlarged)


@pytest.mark.parametrize("hand", [0, 1])
def test_a_sheet_shows_the_hands_of_its_frames_enlarged(clip, hand):
    side = (206 - 4) // 2  # half a tile of 206 px, less the space between
    above_the_numbers = hand_picture(clip, 0, hand, side)[5 : side // 2, 5:-5]
    differences = cv2.matchTemplate(contact_sheet(clip), above_the_numbers, cv2.TM_SQDIFF)
    assert differences.min() < 100  # in its float32, of values up to 1e8


def test_there_is_no_picture_of_a_hand_without_a_box(altered):
    assert hand_picture(altered(hand_boxes=no_boxes), 0, 0, 100) is None


def test_a_sheet_of_a_clip_without_any_hand_has_their_colours_in_the_legend_only(altered, clip):
    scale = SharpnessScale(1.0, 3.0, 5.0)
    sheet, with_hands = contact_sheet(without_hands(altered), scale), contact_sheet(clip, scale)
    assert sheet.shape == with_hands.shape
    for colour in HAND_COLOURS:
        assert (sheet == colour).all(axis=-1).sum() < 150 < (with_hands == colour).all(axis=-1).sum()


def test_points_far_outside_the_frame_do_no_harm(altered):
    def far(keypoints: np.ndarray) -> np.ndarray:
        keypoints[:, BODY] = 1e7
        return keypoints

    contact_sheet(altered(keypoints=far, filled=np.ones_like))


def test_eight_frames_of_a_portrait_clip_stand_in_one_row(clip):
    height, width = contact_sheet(clip).shape[:2]
    assert 8 * 200 < width < 1900 and height < 1000


@pytest.mark.parametrize("size", [(896, 504), (512, 512), (1000, 100), (64, 640)])
def test_sheets_of_any_shape_of_frame_stay_readable(altered, size):
    width, height = size

    def other_frames(_: np.ndarray) -> np.ndarray:
        return np.tile(jpeg, 20)

    def other_offsets(_: np.ndarray) -> np.ndarray:
        return np.arange(21) * len(jpeg)

    jpeg = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].ravel()
    info = {"width": width, "height": height, "content": (0, 0, width, height)}
    sheet = contact_sheet(altered(info, jpeg=other_frames, offsets=other_offsets))
    assert 1200 <= sheet.shape[1] <= 1900 and sheet.shape[0] < 1600


def test_any_name_of_a_video_has_its_place(altered):
    names = ("a" * 500 + ".mp4", "line\nbreak\x00\x1b[31m.mp4", "\udcff.mp4", "舞蹈 – «été».mp4", "")
    shapes = {contact_sheet(altered({"video": name})).shape for name in names}
    assert len(shapes) == 1


def test_equal_clips_give_equal_sheets(clip):
    np.testing.assert_array_equal(contact_sheet(clip), contact_sheet(clip))
