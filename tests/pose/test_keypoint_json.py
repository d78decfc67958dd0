"""Keypoints of OpenPose and COCO-WholeBody files arrive at their place in the 133, or the file is refused by name."""

import json

import numpy as np
import pytest

from hia.pose.keypoint_files import load_keypoints
from hia.pose.keypoint_json import MAX_BYTES, load_people
from hia.pose.keypoints import FACE, FEET, HANDS, JOINTS, LEFT_HAND, RIGHT_HAND

WIDTH, HEIGHT, FPS = 512, 896, 25.0

# OpenPose's numbering of the body, as its documentation gives it (BODY_25), and the one of 18 points (COCO).
BODY_25 = {
    **{0: "nose", 2: "right_shoulder", 3: "right_elbow", 4: "right_wrist"},
    **{5: "left_shoulder", 6: "left_elbow", 7: "left_wrist"},
    **{9: "right_hip", 10: "right_knee", 11: "right_ankle", 12: "left_hip", 13: "left_knee", 14: "left_ankle"},
    **{15: "right_eye", 16: "left_eye", 17: "right_ear", 18: "left_ear"},
    **{19: "left_big_toe", 20: "left_small_toe", 21: "left_heel"},
    **{22: "right_big_toe", 23: "right_small_toe", 24: "right_heel"},
}
BODY_18 = {number if number < 8 else number - 1: name for number, name in BODY_25.items() if number < 19}


def flat(keypoints, scores):
    return np.column_stack([keypoints, scores]).astype(float).ravel().tolist()


def openpose_person(keypoints, scores, body=BODY_25, face=70):
    points = np.column_stack([keypoints, scores]).astype(float)
    pose = np.zeros((len(body) + (1 if body is BODY_18 else 2), 3))
    for number, name in body.items():
        pose[number] = points[JOINTS[name]]
    faces = np.concatenate([points[FACE], np.ones((face - 68, 3))])
    return {
        "pose_keypoints_2d": pose.ravel().tolist(),
        "face_keypoints_2d": faces.ravel().tolist(),
        "hand_left_keypoints_2d": points[LEFT_HAND].ravel().tolist(),
        "hand_right_keypoints_2d": points[RIGHT_HAND].ravel().tolist(),
    }


def coco_person(keypoints, scores):
    points = np.column_stack([keypoints, scores]).astype(float)
    parts = {"keypoints": slice(0, 17), "foot_kpts": FEET, "face_kpts": FACE}
    parts |= {"lefthand_kpts": LEFT_HAND, "righthand_kpts": RIGHT_HAND}
    return {key: points[place].ravel().tolist() for key, place in parts.items()}


@pytest.fixture
def people():
    """Three frames with one person, nobody, and two people."""
    random = np.random.default_rng(0)
    return [
        (random.uniform(10, 500, (count, 133, 2)).astype(np.float32), random.random((count, 133)).astype(np.float32))
        for count in (1, 0, 2)
    ]


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def load(path, num_frames=None, fps=FPS):
    return load_people(path, num_frames, WIDTH, HEIGHT, fps)


def assert_same(loaded, people):
    assert len(loaded) == len(people)
    for (keypoints, scores), (expected, expected_scores) in zip(loaded, people, strict=True):
        assert keypoints.dtype == scores.dtype == np.float32 and keypoints.shape == expected.shape
        seen = expected_scores > 0
        np.testing.assert_allclose(keypoints[seen], expected[seen], atol=1e-3)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def openpose_frames(people, **options):
    return [
        {"people": [openpose_person(*person, **options) for person in zip(*frame, strict=True)]} for frame in people
    ]


def openpose_folder(folder, people):
    folder.mkdir()
    for number, frame in enumerate(openpose_frames(people), start=9):
        write(folder / f"clip_{number}_keypoints.json", frame)
    (folder / "notes.json").write_text("nothing of interest")
    return folder


def annotations(people):
    return [
        {"image_id": 100 - number, **coco_person(*person)}
        for number, frame in enumerate(people)
        for person in zip(*frame, strict=True)
    ]


def images(people):
    """Listed backwards: the names give the order."""
    listed = [{"id": 100 - number, "file_name": f"frame {number + 9}.jpg"} for number in range(len(people))]
    return listed[::-1]


def as_openpose_folder(tmp_path, people):
    return openpose_folder(tmp_path / "clip_keypoints", people)


def as_openpose_list(tmp_path, people):
    return write(tmp_path / "clip.json", openpose_frames(people))


def as_openpose_frames(tmp_path, people):
    return write(tmp_path / "clip.json", {"fps": FPS, "frames": openpose_frames(people, face=68)})


def as_coco(tmp_path, people):
    return write(tmp_path / "clip.json", {"images": images(people), "annotations": annotations(people)})


def as_flat_coco(tmp_path, people):
    flats = [
        {"image_id": f"frame {number + 9}", "keypoints": flat(*person)}
        for number, frame in enumerate(people)
        for person in zip(*frame, strict=True)
    ]
    listed = [{"id": f"frame {number + 9}"} for number in range(len(people))]
    return write(tmp_path / "clip.json", {"images": listed, "annotations": flats})


FORMATS = [as_openpose_folder, as_openpose_list, as_openpose_frames, as_coco, as_flat_coco]


@pytest.mark.parametrize("as_format", FORMATS)
def test_all_people_of_all_frames_return(tmp_path, people, as_format):
    assert_same(load(as_format(tmp_path, people), num_frames=3), people)


@pytest.mark.parametrize("as_format", FORMATS)
def test_a_real_sidecar_returns_from_each_format(tmp_path, sample_data, as_format):
    real = load_keypoints(sample_data / "keypoints" / "gesture_man_kitchen.npz")
    frames = [(real.keypoints[n : n + 1], real.scores[n : n + 1]) for n in range(30)]
    loaded = load_people(as_format(tmp_path, frames), 30, real.width, real.height, real.fps)
    assert_same(loaded, frames)


def test_results_without_images_are_ordered_by_their_image(tmp_path, people):
    shown = {"10.jpg": people[2], "2.jpg": people[0]}
    results = [
        {"image_id": name, "keypoints": flat(*person), "score": 0.9}
        for name, frame in shown.items()
        for person in zip(*frame, strict=True)
    ]
    assert_same(load(write(tmp_path / "clip.json", results)), [people[0], people[2]])


def test_the_older_body_of_18_points_has_no_feet(tmp_path, people):
    [(keypoints, scores)] = load(write(tmp_path / "clip.json", openpose_frames(people[:1], body=BODY_18)))
    expected = people[0][1].copy()
    expected[:, FEET] = 0
    assert_same([(keypoints, scores)], [(people[0][0], expected)])


def test_missing_null_and_empty_parts_have_score_0(tmp_path, people):
    person = openpose_person(people[0][0][0], people[0][1][0])
    person |= {"hand_left_keypoints_2d": None, "face_keypoints_2d": []}
    del person["hand_right_keypoints_2d"]
    [(_, scores)] = load(write(tmp_path / "clip.json", {"people": [person]}))
    assert not scores[:, FACE].any() and not any(scores[:, hand].any() for hand in HANDS)
    assert scores[:, :23].all()


def test_keys_of_old_openpose_versions_are_known(tmp_path, people):
    person = {key.removesuffix("_2d"): part for key, part in openpose_person(*(one[0] for one in people[0])).items()}
    assert_same(load(write(tmp_path / "clip.json", {"people": [person]})), people[:1])


def test_visibility_flags_become_scores(tmp_path, people):
    keypoints, scores = people[0][0][0], np.ones(133)
    scores[:4] = (2, 1, 0, 2)
    content = {"images": [{"id": 1}], "annotations": [{"image_id": 1, **coco_person(keypoints, scores)}]}
    [(_, loaded)] = load(write(tmp_path / "clip.json", content))
    assert loaded[0, :5].tolist() == [1, 0.5, 0, 1, 0.5] and (loaded[0, 23:] == 1).all()


def test_scores_above_1_are_cut(tmp_path, people):
    keypoints, scores = people[0][0][:1], np.full((1, 133), 7.5)
    [(_, loaded)] = load(write(tmp_path / "clip.json", openpose_frames([(keypoints, scores)])))
    assert (loaded == 1).all()


def test_points_are_scaled_from_the_size_that_the_file_states(tmp_path, people):
    keypoints, scores = people[0][0] / 2, people[0][1]
    frame = openpose_frames([(keypoints, scores)])[0] | {"canvas_width": WIDTH / 2, "canvas_height": HEIGHT / 2}
    assert_same(load(write(tmp_path / "clip.json", [frame])), [((keypoints + 0.5) * 2 - 0.5, scores)])
    frame["canvas_height"] = HEIGHT
    with pytest.raises(ValueError, match=r"clip\.json: frame 0: it is for pictures of 256×896 px, not 512×896"):
        load(write(tmp_path / "clip.json", [frame]))


def person(**changes):
    return {"pose_keypoints_2d": [100.0, 100.0, 0.9] * 25, **changes}


def coco(images=({"id": 1},), **annotation):
    return {"images": list(images), "annotations": [{"image_id": 1, "keypoints": [100, 100, 1] * 17, **annotation}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON that can be read"),
        ("[" * 100_000, "no JSON that can be read"),
        ([], "neither OpenPose's `people` nor COCO's `annotations`"),
        ({"captions": []}, "neither OpenPose's `people` nor COCO's `annotations`"),
        ([{"people": []}, 7], "frame 1: it must be an object with `people`"),
        ([{"people": 7}], "frame 0: people must be a list"),
        ([{"people": [7]}], "frame 0, person 0: it must be an object"),
        ([{"people": [{}]}], "frame 0, person 0: it has none of pose_keypoints_2d"),
        ([{"people": [person(pose_keypoints_2d=[1.0] * 50)]}], "pose_keypoints_2d has 50 numbers, not 54 or 75"),
        (
            [{"people": [person(), person(face_keypoints_2d=[1] * 60)]}],
            "frame 0, person 1: face_keypoints_2d has 60 numbers, not 204 or 210",
        ),
        ([{"people": [person(hand_left_keypoints_2d="none")]}], "hand_left_keypoints_2d must be a list of numbers"),
        (
            [{"people": [person(hand_right_keypoints_2d=["1"] * 63)]}],
            "hand_right_keypoints_2d must be a list of numbers",
        ),
        ([{"people": [person(pose_keypoints_2d=[True] * 75)]}], "must be a list of numbers"),
        ([{"people": [person(pose_keypoints_2d=[float("nan")] * 75)]}], "values that are not finite"),
        ([{"people": [person(pose_keypoints_2d=[10**400] * 75)]}], "values that are not finite"),
        ({"frames": {}}, "frames must be a list"),
        ({"fps": 50, "frames": [{"people": []}]}, "fps is 50, the video has 25"),
        ({"fps": "25", "frames": [{"people": []}]}, "fps is '25', the video has 25"),
        ({"annotations": []}, "images must be a list"),
        (coco(image_id=[1]), "annotation 0: image_id must be a number or text"),
        (coco(image_id=2), "image_id 2, which is not among `images`"),
        (coco(images=({"id": 1}, {"id": 1})), "must have an `id` of its own"),
        (coco(images=({"id": [1]},)), "must have an `id` of its own"),
        (coco(images=({"id": 1, "width": 0, "height": 5},)), "width and height must be positive numbers"),
        (
            coco(images=({"id": 1, "file_name": "a.jpg"},), foot_kpts=[1]),
            "image a.jpg, person 0: foot_kpts has 1 numbers",
        ),
        ([{"image_id": 1}], "image 1, person 0: it has no keypoints"),
        ([{"people": [person(pose_keypoints_2d=[0.5, 0.2, 0.9] * 25)]}], "coordinates are shares of the picture"),
        ([{"people": [person(pose_keypoints_2d=[900, 900, 0.9] * 25)]}], "lie outside of the video's 512×896"),
    ],
)
def test_what_is_malformed_is_refused_by_file_frame_and_key(tmp_path, content, message):
    path = tmp_path / "clip.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=r"clip\.json") as caught:
        load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("as_format", FORMATS)
def test_another_number_of_frames_is_refused(tmp_path, people, as_format):
    with pytest.raises(ValueError, match="it has 3 frames, the video 4"):
        load(as_format(tmp_path, people), num_frames=4)


def test_a_frame_of_a_folder_is_named(tmp_path, people):
    folder = openpose_folder(tmp_path / "clip_keypoints", people)
    (folder / "clip_10_keypoints.json").write_text("{")
    with pytest.raises(ValueError, match=r"clip_keypoints: clip_10_keypoints\.json: it is no JSON"):
        load(folder)
    with pytest.raises(ValueError, match=r"holds no \*_keypoints\.json"):
        load(tmp_path)


def test_what_is_too_large_is_refused_unread(tmp_path):
    with open(tmp_path / "clip.json", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match="larger than 1 GiB"):
        load(tmp_path / "clip.json")
    folder = tmp_path / "clip_keypoints"
    folder.mkdir()
    for number in range(3):
        with open(folder / f"{number}_keypoints.json", "wb") as file:
            file.truncate(MAX_BYTES // 2)
    with pytest.raises(ValueError, match="larger than 1 GiB together"):
        load(folder)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        load(tmp_path / "absent.json")
