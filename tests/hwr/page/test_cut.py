"""Lines cut out of pages: straight, masked, and each pixel's place in the page."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from carousel.common.errors import InputError
from carousel.hwr.page.cut import cut, strip_of
from carousel.hwr.page.layout import Line

PAPER, INK = 220, 20


def page_of(line: np.ndarray, middle: tuple[float, float], angle: float, bend: float) -> np.ndarray:
    """A page (400, 500) onto which a line (rows, columns) is turned and bent."""
    rows, columns = line.shape
    y, x = np.mgrid[0:400, 0:500] + 0.5
    along = (x - middle[0]) * math.cos(angle) + (y - middle[1]) * math.sin(angle)
    across = (y - middle[1]) * math.cos(angle) - (x - middle[0]) * math.sin(angle) - bend * along**2
    at = np.stack([across + rows / 2 - 0.5, along + columns / 2 - 0.5])
    return ndimage.map_coordinates(line.astype(float), at, order=1, cval=PAPER).round().astype(np.uint8)


def drawn_line(shape: tuple[int, int], middle: tuple[float, float], angle: float, bend: float) -> Line:
    """Baseline and polygon of that line, its baseline in the middle."""
    rows, columns = shape
    along = np.linspace(-columns / 2, columns / 2, 17)

    def at(across: float) -> np.ndarray:
        down = across + bend * along**2
        x = middle[0] + along * math.cos(angle) - down * math.sin(angle)
        return np.stack([x, middle[1] + along * math.sin(angle) + down * math.cos(angle)], axis=1)

    polygon = np.concatenate([at(-rows / 2), at(rows / 2)[::-1]])
    return Line(at(0).astype(np.float32), polygon.astype(np.float32))


def strokes(shape: tuple[int, int] = (40, 240)) -> np.ndarray:
    line = np.full(shape, PAPER, np.uint8)
    for column in range(10, shape[1] - 8, 23):
        line[8 : 14 + column % 19, column : column + 4] = INK
    return line


@settings(max_examples=15)
@given(
    st.floats(-math.pi, math.pi), st.floats(-0.0007, 0.0007), st.floats(235, 265), st.floats(185, 215)
)  # fmt: skip
def test_a_bent_and_turned_line_is_straight_and_its_pixels_are_where_they_were(angle, bend, x, y):
    line = strokes()
    page = page_of(line, (x, y), angle, bend)
    found, strip = strip_of(page, drawn_line(line.shape, (x, y), angle, bend))
    assert found.shape == (strip.height, strip.width)
    assert abs(found.shape[0] - line.shape[0]) <= 4 and abs(found.shape[1] - line.shape[1]) <= 12
    # each stroke, from where the strip has it, is where the page has it
    labels, count = ndimage.label(found < 120)
    assert count == len(range(10, line.shape[1] - 8, 23))
    middles = np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1)))[:, ::-1] + 0.5
    of_page, number = ndimage.label(page < 120)
    assert number == count
    true = np.array(ndimage.center_of_mass(of_page > 0, of_page, range(1, count + 1)))[:, ::-1] + 0.5
    gaps = np.hypot(*(strip.places(middles)[:, None] - true).transpose(2, 0, 1)).min(axis=1)
    assert gaps.max() < 1.5
    # and the strokes stand in the order and at the distances of the line
    expected = np.array([12 + 23 * k for k in range(count)]) + 0.0
    got = np.sort(middles[:, 0])
    np.testing.assert_allclose(np.diff(got), np.diff(expected), atol=2.5)


def test_what_is_around_the_polygon_is_paper_and_what_is_in_it_is_kept():
    page = np.full((200, 400), PAPER, np.uint8)
    page[90:110, 100:300] = INK  # inside
    page[60:75, 100:300] = INK  # of the line above
    shape = [[50, 80], [350, 80], [350, 120], [250, 120], [250, 140], [50, 140]]
    page[125:140, 300:340] = INK  # beside the polygon's lower part, in its box
    found = cut(page, Line(np.array([[50, 110], [350, 110]], np.float32), np.array(shape, np.float32)))
    dark = found < 120
    assert abs(dark.sum() - 20 * 200) <= 300
    assert abs(int(found[0, 0]) - PAPER) <= 2 and abs(int(found[-3, -20]) - PAPER) <= 2


def test_a_line_is_reduced_to_the_height_and_never_enlarged():
    page = np.full((900, 900), PAPER, np.uint8)
    low, high = (drawn_line(shape, (450.0, 450.0), 0.0, 0.0) for shape in ((20, 300), (400, 800)))
    assert cut(page, low).shape[0] == 22
    assert cut(page, high).shape == (64, round(802 * 64 / 402))
    assert cut(page, high, height=30).shape[0] == 30


def test_a_line_that_leaves_the_picture_goes_on_as_its_edge_is():
    page = np.full((100, 300), PAPER, np.uint8)
    line = drawn_line((40, 300), (150.0, 95.0), 0.05, 0.0)
    assert (cut(page, line) == PAPER).all()


def test_boxes_are_as_high_as_the_polygon_is_there():
    page = np.full((200, 400), PAPER, np.uint8)
    shape = [[50, 100], [200, 100], [200, 80], [350, 80], [350, 130], [50, 130]]
    _, strip = strip_of(
        page, Line(np.array([[50, 120], [350, 120]], np.float32), np.array(shape, np.float32))
    )
    np.testing.assert_allclose(strip.box(11, 101), (60, 100, 150, 130), atol=2)
    np.testing.assert_allclose(strip.box(201, 251), (250, 80, 300, 130), atol=2)


@pytest.mark.parametrize(
    ("baseline", "polygon", "said"),
    [
        ([[0, 0], [0, 0]], [[0, 0], [9, 0], [9, 9]], "without length"),
        ([[0, 0]], [[0, 0], [9, 0], [9, 9]], "fewer than 2"),
        ([[0, 5], [9, 5]], [[0, 0], [9, 0]], "fewer than 3"),
        ([[0, np.nan], [9, 5]], [[0, 0], [9, 0], [9, 9]], "draw it again"),
        ([[500, 5], [600, 5]], [[500, 0], [600, 0], [600, 9]], "outside of the picture"),
        ([[0, 5]] * 5000, [[0, 0], [9, 0], [9, 9]], "more than 4,096"),
    ],
)
def test_lines_that_cannot_be_cut_are_told(baseline, polygon, said):
    line = Line(np.array(baseline, np.float32), np.array(polygon, np.float32))
    with pytest.raises(InputError, match=said):
        cut(np.full((50, 80), PAPER, np.uint8), line)
