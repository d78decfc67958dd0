"""The page: complete, self-contained, safe against any name, and the same for the same store."""

import base64
import re
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from hia.data.store.clip_store import ClipStore, open_store
from hia.data.store.records import ClipInfo, Rejection
from hia.inspection import choose_clips, find_clips, inspect_store
from hia.inspection.report import render_page
from hia.inspection.summary import HandMeasures, hand_measures
from tests.data.tiny_store import write_store

HOSTILE = """<script>alert(1)</script>"' onload='x' & </td></table><img src=http://evil.example/x>\n\x1b.mp4"""
NO_HANDS = HandMeasures(np.zeros(0, np.float32), np.zeros(0, np.float32), 0)
VOID = {"meta", "img", "input"}

REJECTED = (
    Rejection(video="party.mp4", reason="several_people", message="two people", first_time=1.5, end_time=7.25),
    Rejection(video="walk 1.mp4", reason="hands", message="hands in 3 % of frames", first_time=0.0, end_time=4.0),
    Rejection(video="walk 2.mp4", reason="hands", message="hands in\n5 % of frames", first_time=9.0),
    Rejection(video=HOSTILE, reason=HOSTILE, message=HOSTILE),
)


class Page(HTMLParser):
    """A parsed page; fails on elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        assert len(attributes) == len(dict(attributes)), f"an attribute of {tag} is repeated"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        assert "svg" in self.open, f"{tag} cannot close itself in HTML"
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> within {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def altered(store: ClipStore, **changes) -> ClipStore:
    """The store with other values in its manifest."""
    rejected = changes.pop("rejected", ())
    changed = replace(store, **changes)
    changed.__dict__["rejected"] = rejected
    return changed


def inspected(store: ClipStore, output: Path) -> tuple[Page, str]:
    page = inspect_store(store, output, store.clips)
    text = Path(page).read_text("utf-8")
    return Page(text), text


@pytest.fixture(scope="module")
def page(store, tmp_path_factory) -> tuple[Page, str]:
    return inspected(altered(store, rejected=REJECTED), tmp_path_factory.mktemp("page"))


def many_clips(store: ClipStore, count: int) -> list[ClipInfo]:
    return [replace(store.clips[0], id=f"id{number:03d}") for number in range(count)]


def test_every_clip_is_listed_with_its_numbers(store, page):
    rows = {row[0] + row[1]: row for row in page[0].rows if len(row) == 16}
    for info in store.clips:
        row = rows[info.video + info.id[:10]]
        assert row[2] == info.split and f"{info.num_frames}" in row and f"{info.seconds:.2f} s" in row


def test_every_rejection_is_listed_under_its_reason_with_its_part_of_the_video(page):
    rows = page[0].rows
    assert ["party.mp4", "1.50 – 7.25 s", "two people"] in rows
    assert ["walk 1.mp4", "0.00 – 4.00 s", "hands in 3 % of frames"] in rows
    assert ["walk 2.mp4", "9.00 – end", "hands in 5 % of frames"] in rows
    assert len(page[0].attributes("details")) == 3
    assert re.search(r"<code>hands</code>.*<b>2</b></summary>", page[1])


def test_nothing_is_asked_of_a_network(page):
    parsed, text = page
    for tag, attributes in parsed.elements:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(key, "#")
            assert value.startswith(("#", "data:image/jpeg;base64,")), (tag, key, value)
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert style and "url(" not in style and "@import" not in style
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in parsed.elements}


def test_hostile_names_are_shown_as_text_and_do_nothing(store, tmp_path):
    clips = tuple(replace(info, video=HOSTILE + str(number)) for number, info in enumerate(store.clips))
    settings = {HOSTILE: {HOSTILE: [HOSTILE]}}
    statistics = store.statistics | {"ignored_files": {HOSTILE: 3}}
    hostile, _ = inspected(
        altered(store, clips=clips, settings=settings, statistics=statistics, rejected=REJECTED), tmp_path
    )
    harmless, _ = inspected(altered(store, settings={"a": {"b": ["c"]}}, rejected=REJECTED), tmp_path)
    more = Counter(tag for tag, _ in hostile.elements) - Counter(tag for tag, _ in harmless.elements)
    assert more == {"p": 1, "bdi": 1}  # the sentence about ignored files
    assert not [key for _, attributes in hostile.elements for key in attributes if key.startswith("on")]
    assert "".join(hostile.text).count("<script>alert(1)</script>\"' onload='x' & </td></table>") >= 4 + len(clips) * 2


def test_only_the_pages_own_script_may_run(page):
    parsed, text = page
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (policy,) = [meta["content"] for meta in parsed.attributes("meta") if meta.get("http-equiv")]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert not [attributes for _, attributes in parsed.elements if "style" in attributes]


def test_every_contact_sheet_is_in_the_page_and_beside_it(store, tmp_path):
    parsed, _ = inspected(store, tmp_path)
    images = parsed.attributes("img")
    assert len(images) == len(store.clips)
    for info, image in zip(store.clips, images, strict=True):
        beside = cv2.imread(str(tmp_path / "sheets" / f"{info.id}.png"))
        content = base64.b64decode(image["src"].partition(",")[2])
        embedded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        assert image["loading"] == "lazy" and (image["height"], image["width"]) == tuple(map(str, beside.shape[:2]))
        assert np.abs(embedded.astype(int) - beside).mean() < 3
        assert info.video in image["alt"]


def test_links_and_identifiers_of_the_page_fit_together(page):
    identifiers = [attributes["id"] for _, attributes in page[0].elements if attributes.get("id")]
    assert len(identifiers) == len(set(identifiers))
    links = [link["href"] for link in page[0].attributes("a")]
    assert len(links) >= 8 and {link.removeprefix("#") for link in links} <= set(identifiers)


def test_equal_stores_give_equal_bytes(store, tmp_path):
    contents = []
    for name in ("one", "two"):
        inspected(altered(store, rejected=REJECTED), tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]
    # And no temporary file is left.
    assert [path.suffix for path, _ in contents[0]] == [".html", *[".png"] * len(store.clips)]


def test_an_empty_store_has_a_page_too(store, tmp_path):
    empty = altered(store, clips=(), statistics={}, settings={}, rejected=REJECTED)
    parsed, text = inspected(empty, tmp_path)
    assert "The store has no clips." in text and not parsed.attributes("img")
    assert ["party.mp4", "1.50 – 7.25 s", "two people"] in parsed.rows


def test_a_store_without_rejections_says_so(store):
    assert "Nothing was rejected." in render_page(store, NO_HANDS, [])


def test_totals_are_those_of_the_clips(store, page):
    frames = sum(info.num_frames for info in store.clips)
    assert ["all", "2", "2", f"{frames}", f"{sum(info.seconds for info in store.clips) / 3600:.4f}"] in page[0].rows


@pytest.mark.parametrize(("rho", "said"), [(-0.314, "−0.31"), (0.2, "+0.20"), (None, "was not computed")])
def test_the_correlation_is_shown_if_it_is_known(store, rho, said):
    statistics = store.statistics | {"speed_sharpness_spearman": rho}
    assert said in render_page(altered(store, statistics=statistics), NO_HANDS, [])


def test_hands_are_counted_where_they_are_known(store):
    clips = [store.read(info) for info in store.clips]
    measures = hand_measures(clips)
    assert len(measures.sharpness) == sum((clip.hand_boxes[..., 0] >= 0).sum() for clip in clips)
    # The first frame's movement is a copy of the second's: not known.
    assert 0 < len(measures.speed) < len(measures.sharpness)


def test_a_page_that_cannot_be_written_is_an_error_that_names_its_place(store, tmp_path):
    (tmp_path / "file").write_text("here already")
    with pytest.raises(OSError, match="file: the page cannot be written there"):
        inspect_store(store, tmp_path / "file", store.clips)
    assert (tmp_path / "file").read_text() == "here already"


def test_a_damaged_clip_is_an_error_that_names_it(clips, tmp_path):
    folder = write_store(tmp_path / "store", clips)
    store = open_store(folder)
    (folder / store.clips[1].file).write_bytes(b"no clip")
    with pytest.raises(ValueError, match=store.clips[1].id):
        inspect_store(store, tmp_path / "page", store.clips[:1])
    assert not (tmp_path / "page" / "index.html").exists()


def test_clips_are_chosen_evenly_over_the_store(store):
    chosen = choose_clips(many_clips(store, 100), 4)
    assert [info.id for info in chosen] == ["id012", "id037", "id062", "id087"]


def test_clips_drawn_with_a_seed_are_the_same_again_and_in_order(store):
    clips = many_clips(store, 100)
    drawn = choose_clips(clips, 10, seed=3)
    assert drawn == choose_clips(clips, 10, seed=3) != choose_clips(clips, 10, seed=4)
    assert len({info.id for info in drawn}) == 10 and sorted(info.id for info in drawn) == [info.id for info in drawn]


@pytest.mark.parametrize("seed", [None, 1])
def test_more_clips_than_there_are_is_all_of_them(store, seed):
    assert choose_clips(store.clips, 9, seed) == store.clips
    assert choose_clips((), 9, seed) == choose_clips(store.clips, 0, seed) == ()


def test_a_negative_number_of_clips_is_refused(store):
    with pytest.raises(ValueError, match="at least 0, not -1"):
        choose_clips(store.clips, -1)


def test_clips_are_found_by_the_start_of_their_id(store):
    clips = tuple(replace(store.clips[0], id=name) for name in ("ab", "abc", "bcd"))
    changed = altered(store, clips=clips)
    assert find_clips(changed, ["bc", "ab", "bcd"]) == (clips[2], clips[0])
    with pytest.raises(ValueError, match="no clip has the id 'x'"):
        find_clips(changed, ["x"])
    with pytest.raises(ValueError, match="2 clips begin with 'a'"):
        find_clips(changed, ["a"])
