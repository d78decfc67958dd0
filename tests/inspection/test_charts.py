"""Charts: the curves of a contact sheet, and the page's histograms."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from hia.inspection.curves import LEFT_MARGIN, RIGHT_MARGIN, Curves, draw_curves
from hia.inspection.overlay import HAND_COLOURS
from hia.visualization.charts import Histogram, dots_chart, histogram_chart
from hia.visualization.html import environment
from hia.visualization.text import Style, printable, shortened, text_width

WIDTH, HEIGHT = 600, 130


def columns_of(picture, hand):
    return np.flatnonzero((picture == HAND_COLOURS[hand]).all(axis=2).any(axis=0))


def rows_of(picture, hand):
    return np.flatnonzero((picture == HAND_COLOURS[hand]).all(axis=2).any(axis=1))


def curves(values, **options):
    return draw_curves(Curves("title", np.array(values, np.float32), [], **options), WIDTH, HEIGHT)


def test_a_curve_has_a_gap_where_there_is_no_hand():
    values = np.full((101, 2), 5.0)
    values[40:61, 0] = np.nan
    picture = curves(values)
    # The hand that comes second lies on top: look at the first alone.
    values[:, 1] = np.nan
    left, right = LEFT_MARGIN, WIDTH - RIGHT_MARGIN
    drawn = (columns_of(curves(values), 0) - left) / (right - left)
    assert drawn.min() < 0.01 and drawn.max() > 0.99
    assert not ((drawn > 0.41) & (drawn < 0.59)).any()
    assert len(columns_of(picture, 1)) > 0.9 * (right - left)


def test_a_single_frame_between_gaps_is_a_dot():
    values = np.full((21, 2), np.nan)
    values[10, 1] = 3
    drawn = columns_of(curves(values), 1)
    middle = (LEFT_MARGIN + WIDTH - RIGHT_MARGIN) / 2
    assert 2 <= len(drawn) <= 6 and abs(drawn.mean() - middle) <= 1


def test_sharpness_ten_times_as_high_lies_as_far_above_at_every_height():
    rows = [rows_of(curves([[low, np.nan]] * 5 + [[10000, 0.0]], logarithmic=True), 0).max() for low in (10, 100, 1000)]
    assert rows[0] > rows[1] > rows[2]
    assert abs((rows[0] - rows[1]) - (rows[1] - rows[2])) <= 3


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("value", [0.0, 1e-6, 3.0, 1e6])
def test_any_values_stay_inside_the_chart(value, logarithmic):
    picture = curves([[np.nan, value]] * 3, logarithmic=logarithmic, levels={"p5": 0.0, "p95": 1e5})
    assert rows_of(picture, 1).min() >= 20 and rows_of(picture, 1).max() < HEIGHT - 4


def test_without_any_hand_the_chart_says_so():
    nothing = np.full((10, 2), np.nan)
    left = np.s_[30:-10, LEFT_MARGIN + 5 : LEFT_MARGIN + 200]
    assert curves(nothing)[left].std() > 0
    assert curves(nothing[:1]).shape == (HEIGHT, WIDTH, 3)


def histogram(values, low=0, high=10, **options):
    svg = histogram_chart(Histogram("T", np.array(values, float), low, high, "unit", "things", **options)).svg
    return svg, ElementTree.fromstring(svg)


def shapes(root, css):
    return [shape for shape in root if shape.get("class") == css]


def texts(root):
    return [text.text for text in root.iter("text")]


def corners(shape):
    """Points of a path, [N, 2] px."""
    return np.array(re.findall(r"-?[\d.]+", shape.get("d")), float).reshape(-1, 2)


def counts_of(root):
    return [int(bar.find("title").text.split()[0]) for bar in shapes(root, "column")]


@pytest.mark.parametrize("extent", [4, 7, 19, 0.04, 3e5])
def test_steps_are_one_two_or_five(extent):
    _, root = histogram([], high=extent)
    ticks = [float(text) for text in texts(root) if re.fullmatch(r"[\d.e+-]+", text)]
    (step,) = {float(f"{value:.6g}") for value in np.diff(ticks)}
    assert 3 <= len(ticks) <= 7 and f"{step:e}"[0] in "125" and ticks[0] == 0


def test_every_value_is_counted_also_beyond_the_axis():
    _, root = histogram([-5, 0.1, 5, 5, 9.9, 200])
    counts = counts_of(root)
    assert (sum(counts), counts[0], counts[15], counts[-1]) == (6, 2, 2, 2)


def test_bars_are_as_high_as_their_counts():
    _, root = histogram([1] * 4 + [5] * 2 + [9])
    heights = sorted((np.ptp(corners(bar)[:, 1]) for bar in shapes(root, "column")), reverse=True)[:3]
    np.testing.assert_allclose(np.array(heights) / heights[0], [1, 0.5, 0.25], atol=0.01)


def test_marks_stand_at_their_place_on_the_axis():
    _, root = histogram([1, 9], marks={"p5": 0.0, "p50": 5.0, "p95": 10.0})
    places = [corners(line)[0, 0] for line in shapes(root, "mark")]
    assert len(places) == 3 and places[1] == pytest.approx((places[0] + places[2]) / 2, abs=0.1)
    assert {"p5", "p50", "p95"} <= set(texts(root))


def test_a_histogram_of_nothing_says_so():
    svg, root = histogram([])
    assert "nothing to count" in svg and not shapes(root, "column")


def test_dots_are_as_high_as_their_values_and_named_after_their_video():
    values = {"ours": [1.0, 3.0, 2.0], "theirs": [None, 2.0, None]}
    chart = dots_chart("PSNR", "videos", ["a", "b", "c"], values)
    root = ElementTree.fromstring(chart.svg)
    low, high, middle = (float(dot.get("cy")) for dot in shapes(root, "series-0"))
    assert low > high and middle == pytest.approx((low + high) / 2, abs=0.1)
    (other,) = shapes(root, "series-1")
    assert float(other.get("cy")) == middle and other.find("title").text == "b · theirs: 2"
    assert chart.note == "3 videos"


def test_dots_of_equal_values_lie_beside_each_other_within_the_chart():
    root = ElementTree.fromstring(dots_chart("T", "videos", ["a"], {"one": [5.0], "other": [5.0]}).svg)
    (one,), (other,) = (shapes(root, f"series-{number}") for number in (0, 1))
    assert one.get("cy") == other.get("cy") and 1 < float(other.get("cx")) - float(one.get("cx")) < 10


def test_charts_take_all_colours_from_the_page_and_are_the_same_again():
    svg, root = histogram([1, 5, 9], marks={"p": 2.0})
    attributes = {key for element in root.iter() for key in element.attrib}
    assert not attributes & {"style", "fill", "stroke", "id", "clip-path"}
    assert {element.tag for element in root} == {"path", "text"} and svg == histogram([1, 5, 9], marks={"p": 2.0})[0]


def test_what_stands_on_a_chart_is_escaped_and_never_a_formula():
    svg = histogram_chart(Histogram('<b>"', np.ones(3), 0, 2, "<u> $x$", "<t>", marks={"<m>": 1.0})).svg
    assert not re.search("<[butm]>", svg)
    assert "<u> $x$" in texts(ElementTree.fromstring(svg))
    hostile = dots_chart("<b>", "<u>", ["<m>\x1b"], {"<t>": [1.0]}).svg
    assert not re.search("<[butm]>", hostile)
    assert ElementTree.fromstring(hostile).find(".//title").text == "<m>� · <t>: 1"


def test_a_bar_is_as_long_as_its_share():
    macros = environment().get_template("visualization/macros.html").module
    bars = [float(bar.get("width")) for bar in ElementTree.fromstring(macros.share_bar(0.25)).iter("rect")]
    assert bars == [100, 25]


def test_shortened_text_fits_and_keeps_both_ends():
    style = Style(size=20)
    text = shortened("beginning" + "x" * 300 + "end.mp4", 300, style)
    assert text_width(text, style) <= 300 < text_width(text + "xxx", style)
    assert text.startswith("beginning") and "…" in text and text.endswith("end.mp4")


def test_text_that_fits_stays_whole():
    assert shortened("short.mp4", 300, Style()) == "short.mp4"


def test_control_characters_become_visible_and_wide_spaces_plain():
    assert printable("a\nb\x1b\u202ec\u202f\u3000d\udcff é舞") == "a�b��c  d� é舞"
