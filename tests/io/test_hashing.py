"""Digests: equal for equal content, and the same in every version."""

import hashlib

from hia.io.hashing import content_sha256, json_digest, key_digest


def test_a_folders_content_is_that_of_its_files_and_their_names(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "1.png").write_bytes(b"one")
        (folder / "2.png").write_bytes(b"two")
    (second / ".hidden").write_bytes(b"?")
    assert content_sha256(first) == content_sha256(second)
    (second / "2.png").rename(second / "3.png")
    renamed = content_sha256(second)
    (second / "3.png").write_bytes(b"three")
    assert len({content_sha256(first), renamed, content_sha256(second)}) == 3


def test_a_fingerprint_is_that_of_the_values_and_not_of_their_order_in_a_mapping():
    assert key_digest({"b": 1, "a": [1.5, None]}, "x") == key_digest({"a": [1.5, None], "b": 1}, "x")
    assert key_digest("ab", "c") != key_digest("a", "bc")
    assert key_digest(1, "é") == hashlib.sha256(b'[1, "\\u00e9"]').hexdigest(), "as in every other run and version"
    assert json_digest(1, {"é": [0.5, None]}) == hashlib.sha256('[1,{"é":[0.5,null]}]'.encode()).hexdigest(), "as ever"
