"""Records as lines of JSON: they are read back unchanged, and errors name a damaged one."""

import dataclasses
import json

import pytest

from hia.data.store.records import Rejection, VideoResult, from_json, to_json

REJECTION = Rejection(video='a "b"\n舞.mp4', reason="too_short", message="0.5 s", first_time=0.1, end_time=1 / 3)
RESULT = VideoResult(
    key="k", name="a.mp4", group="a", split="test", seconds=1.5, clips=(), rejected=(REJECTION, REJECTION)
)


@pytest.mark.parametrize("record", [REJECTION, RESULT], ids=["rejection", "result"])
def test_a_record_is_one_line_and_comes_back_as_it_was(record):
    text = to_json(record)
    assert "\n" not in text and from_json(type(record), text, "here") == record
    assert to_json(from_json(type(record), text, "here")) == text


@pytest.mark.parametrize(
    ("change", "key"),
    [({"reason": 5}, "reason"), ({"end_time": "soon"}, "end_time"), ({"colour": "red"}, "colour")],
)
def test_wrong_and_unknown_values_are_named(change, key):
    text = json.dumps(dataclasses.asdict(REJECTION) | change)
    with pytest.raises(ValueError, match=rf"^rejected\.jsonl, line 3 is damaged: {key}: "):
        from_json(Rejection, text, "rejected.jsonl, line 3")


@pytest.mark.parametrize("text", ["", "{", '{"video": "a"}', "[]", "null"])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ValueError, match="here is damaged"):
        from_json(Rejection, text, "here")


def test_numbers_that_json_does_not_know_are_refused():
    with pytest.raises(ValueError, match="first_time"):
        dataclasses.replace(REJECTION, first_time=float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(_Loose(float("nan")))


@dataclasses.dataclass(frozen=True)
class _Loose:
    value: float
