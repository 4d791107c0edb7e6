"""Reading order of lines given by their boxes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from carousel.hwr.page.layout import Line
from carousel.hwr.page.order import reading_order


def line(left: float, top: float, width: float, height: float = 30, slope: float = 0.0) -> Line:
    right, bottom = left + width, top + height
    tilt = np.array([[0, slope * (x - 500)] for x in (left, right, right, left)])
    polygon = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) + tilt
    return Line(polygon[[3, 2]] - [0, height / 4], polygon)


def column(left: float, top: float, lines: int, width: float = 300, slope: float = 0.0) -> list[Line]:
    return [line(left, top + 50 * n, width - 37 * (n % 3), slope=slope) for n in range(lines)]


def check(expected: list[Line], shuffle: np.random.Generator) -> None:
    given = [expected[i] for i in shuffle.permutation(len(expected))]
    places = {id(one): number for number, one in enumerate(expected)}
    assert [places[id(one)] for one in reading_order(given)] == list(range(len(expected)))


rngs = st.integers(0, 10**6).map(np.random.default_rng)
slopes = st.floats(-0.08, 0.08)


@given(rngs, slopes, st.integers(0, 30))
def test_one_column_is_read_from_the_top(rng, slope, count):
    check(column(100, 40, count, 800, slope), rng)


@given(rngs, slopes, st.lists(st.integers(4, 9), min_size=1, max_size=3))
def test_columns_are_read_from_the_left(rng, slope, counts):
    check(
        [one for n, count in enumerate(counts) for one in column(50 + 340 * n, 60, count, slope=slope)], rng
    )


@given(rngs)
def test_what_goes_over_all_columns_parts_them(rng):
    """Heading, two columns, a line over both, two columns again."""
    upper = [*column(50, 100, 4), *column(450, 100, 4)]
    lower = [*column(50, 420, 4), *column(450, 420, 4)]
    check([line(200, 30, 500), *upper, line(60, 340, 700), *lower], rng)


@given(rngs)
def test_a_margin_is_a_column_and_a_lone_note_a_part_of_its_row(rng):
    notes, body = column(10, 60, 4, 120), column(250, 50, 9, 600)
    check([*notes, *body], rng)
    lines = column(50, 50, 5, 400)
    lines.insert(3, line(600, lines[2].box[1] + 4, 90))
    check(lines, rng)
