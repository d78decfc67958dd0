"""Charts: the curves of a contact sheet, and the page's histograms."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from hia.inspection.curves import LEFT_MARGIN, RIGHT_MARGIN, Curves, draw_curves, nice_step
from hia.inspection.overlay import HAND_COLOURS
from hia.visualization.charts import Histogram, histogram_svg, share_bar
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


def test_steps_are_one_two_or_five():
    assert [nice_step(extent, 4) for extent in (4, 7, 19, 0.04)] == [1, 2, 5, 0.01]


def histogram(values, **options):
    svg = histogram_svg(Histogram("T", np.array(values, float), 0, 10, "unit", "things", **options))
    return svg, ElementTree.fromstring(svg)


def counts_of(root):
    return [int(bar.find("title").text.split()[0]) for bar in root.iter("rect")]


def test_every_value_is_counted_also_beyond_the_axis():
    _, root = histogram([-5, 0.1, 5, 5, 9.9, 200])
    counts = counts_of(root)
    assert (sum(counts), counts[0], counts[15], counts[-1]) == (6, 2, 2, 2)


def test_bars_are_as_high_as_their_counts():
    _, root = histogram([1] * 4 + [5] * 2 + [9])
    heights = sorted((float(bar.get("height")) for bar in root.iter("rect")), reverse=True)[:3]
    np.testing.assert_allclose(np.array(heights) / heights[0], [1, 0.5, 0.25], atol=0.01)


def test_marks_stand_at_their_place_on_the_axis():
    _, root = histogram([1, 9], marks={"p5": 0.0, "p50": 5.0, "p95": 10.0})
    places = [float(line.get("x1")) for line in root.iter("line") if line.get("class") == "mark"]
    assert len(places) == 3 and places[1] == pytest.approx((places[0] + places[2]) / 2, abs=0.1)
    assert {"p5", "p50", "p95"} <= {text.text for text in root.iter("text")}


def test_a_histogram_of_nothing_says_so():
    svg, root = histogram([])
    assert "nothing to count" in svg and not list(root.iter("rect"))


def test_what_stands_on_a_chart_is_escaped():
    svg = histogram_svg(Histogram('<b>"', np.ones(3), 0, 2, "<u>", "<t>", marks={"<m>": 1.0}))
    assert not re.search("<[butm]>", svg)
    ElementTree.fromstring(svg)


def test_a_bar_is_as_long_as_its_share():
    bars = [float(bar.get("width")) for bar in ElementTree.fromstring(share_bar(0.25)).iter("rect")]
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
