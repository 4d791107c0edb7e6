"""Features of pen strokes against brute force, and what must not change them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.hwr.ink.features import (
    BINS,
    DEFAULTS,
    MEANS,
    NAMES,
    SPREADS,
    _at,
    _context,
    _moving_average,
    _vicinity,
    extract,
    flatten,
    frame_of_reference,
    in_one_row,
    resample,
    size,
    stroke_height,
)
from tests.conftest import corpus

COORDINATE = st.integers(-200, 200)
STROKES = st.lists(
    st.lists(st.tuples(COORDINATE, COORDINATE), min_size=1, max_size=12), min_size=1, max_size=5
)


def arrays(strokes):
    return [np.array(stroke, dtype=float) for stroke in strokes]


def wave(letters: int, height: float = 30.0, slope: float = 0.0) -> np.ndarray:
    """Something like cursive writing: (points, 2), y downwards."""
    t = np.linspace(0, letters, 40 * letters)
    x = 50 * t + 12 * np.sin(4 * np.pi * t)
    return np.stack([x, -height * np.cos(2 * np.pi * t) + slope * x], axis=1)


def moved(stroke: np.ndarray, x: float, y: float) -> np.ndarray:
    return stroke + np.array([x, y])


def raw(features: np.ndarray, name: str) -> np.ndarray:
    """A feature before it was centred and scaled."""
    column = NAMES.index(name)
    return features[:, column] * SPREADS[column] + MEANS[column]


@settings(max_examples=60, deadline=None)
@given(STROKES)
def test_any_ink_gives_finite_features_and_places_inside_it(strokes):
    features, places = extract(arrays(strokes), {})
    points = np.concatenate(arrays(strokes))
    assert features.dtype == places.dtype == np.float32
    assert features.shape == (len(places), size({}))
    assert np.isfinite(features).all()
    assert (places >= points.min(axis=0) - 0.01).all()
    assert (places <= points.max(axis=0) + 0.01).all()


@settings(max_examples=40, deadline=None)
@given(STROKES, st.sampled_from([0.001, 0.37, 40.0]), st.integers(-5000, 5000))
@example([[(0, 0)], [(0, 1)]], 0.001, 0)  # a colon
def test_size_and_place_of_the_ink_do_not_matter(strokes, scale, shift):
    strokes = arrays(strokes)
    if np.ptp(np.concatenate(strokes), axis=0).max() == 0:
        return  # a dot has no size that could be normalised
    features, places = extract(strokes, {})
    other, other_places = extract([stroke * scale + shift for stroke in strokes], {})
    if len(other) == len(features):  # rounding may add a frame where a length is just between two counts
        # the context map may count a point in the next bin
        smooth = [i for i, name in enumerate(NAMES) if i < NAMES.index("above_left")]
        np.testing.assert_allclose(other[:, smooth], features[:, smooth], atol=0.02)
        np.testing.assert_allclose(other_places, places * scale + shift, rtol=1e-4, atol=0.02 * scale + 1e-2)


def walk(stroke: np.ndarray, count: int) -> np.ndarray:
    """count + 1 points at equal steps along a polyline, by walking it in small steps."""
    total = sum(math.dist(a, b) for a, b in itertools.pairwise(stroke))
    result = []
    for target in np.linspace(0, total, count + 1):
        done = 0.0
        for a, b in itertools.pairwise(stroke):
            length = math.dist(a, b)
            if length > 0 and done + length >= target - 1e-9:
                result.append(a + (b - a) * min(max((target - done) / length, 0), 1))
                break
            done += length
    return np.array(result)


def test_resampling_is_a_walk_of_equal_steps_along_each_stroke():
    rng = np.random.default_rng(1)
    strokes = [rng.normal(size=(n, 2)).cumsum(axis=0) * 10 for n in (7, 2, 15)]
    strokes[0] = np.repeat(strokes[0], 2, axis=0)  # duplicates: the pen stood still
    points, pen_up = flatten(strokes)
    position, steps_up = resample(points, pen_up, 5.0, DEFAULTS)
    places = _at(position, points).T
    assert len(steps_up) == len(places) - 1
    runs = [list(group) for _, group in itertools.groupby(range(len(steps_up)), key=lambda i: steps_up[i])]
    inked = [run for run in runs if not steps_up[run[0]]]
    assert len(inked) == len(strokes)
    for run, stroke in zip(inked, strokes, strict=True):
        np.testing.assert_allclose(places[run[0] : run[-1] + 2], walk(stroke, len(run)), atol=1e-6)
        length = sum(math.dist(a, b) for a, b in itertools.pairwise(stroke))
        assert len(run) == max(1, round(length / 5.0 / DEFAULTS["spacing"]))
    for run in (run for run in runs if steps_up[run[0]]):
        assert len(run) <= DEFAULTS["pen_up_steps"]


def test_vicinity_against_its_definition():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(30, 2)).cumsum(axis=0)
    length = np.array([0.0, *(math.dist(a, b) for a, b in itertools.pairwise(points))])
    found = _vicinity(points.T, length, 3)
    for i in range(len(points)):
        window = [points[min(max(j, 0), len(points) - 1)] for j in range(i - 3, i + 4)]
        wide, high = np.ptp(window, axis=0)
        path = sum(math.dist(a, b) for a, b in itertools.pairwise(window))
        (x0, y0), (x1, y1) = window[0], window[-1]
        chord = math.hypot(x1 - x0, y1 - y0)
        apart = [((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / chord for x, y in window]
        expected = [
            (high - wide) / (high + wide),
            min(path / max(wide, high), 6) - 2,
            min(sum(d * d for d in apart) / 7, 4),
            (x1 - x0) / chord,
            (y1 - y0) / chord,
        ]
        np.testing.assert_allclose(found[:, i], expected, atol=1e-6)


@pytest.mark.parametrize("spread", [0.2, 3.0])
def test_context_map_against_counting(spread):
    rng = np.random.default_rng(3)
    points = rng.normal(size=(60, 2)) * spread
    inked = rng.random(60) < 0.8
    width = 0.3
    found = _context(points.T, inked, width)
    bins = np.floor((points - points.min(axis=0)) / width).astype(int)
    for i, (x, y) in enumerate(bins):
        cells = np.zeros((3, 3))
        above = below = 0
        for column, row in bins[inked]:
            across = (column - x + BINS + 1) // BINS  # 0, 1, 2 for the columns of the map
            down = (row - y + BINS + 1) // BINS
            if 0 <= across <= 2:
                if 0 <= down <= 2:
                    cells[down, across] += 1
                above += down < 0
                below += down > 2
        expected = np.sqrt(np.minimum([*cells.ravel(), above, below], 16))
        np.testing.assert_allclose(found[:, i], expected, atol=1e-4)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.integers(0, 12))
def test_moving_average_against_its_definition(values, reach):
    expected = [np.mean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
    np.testing.assert_allclose(_moving_average(np.array(values), reach), expected, atol=1e-6)


def test_direction_curvature_and_pen_of_a_simple_ink():
    """Right, then down, then a second stroke further right, drawn downwards."""
    corner = np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 60.0]])
    features, places = extract([corner, np.array([[90.0, 0.0], [90.0, 60.0]])], {"level": False})
    middle = np.argmin(np.hypot(*(places - (30, 0)).T))
    assert raw(features, "direction_cos")[middle] == pytest.approx(1, abs=1e-3)
    lower = np.argmin(np.hypot(*(places - (60, 30)).T))
    assert raw(features, "direction_sin")[lower] == pytest.approx(1, abs=1e-3)  # y grows downwards
    turn = np.argmin(np.hypot(*(places - (60, 0)).T))
    assert raw(features, "curvature_sin")[[turn - 1, turn, turn + 1]].max() > 0.5  # clockwise
    starts = raw(features, "stroke_start") > 0.5
    assert [tuple(place) for place in places[starts]] == [(0.0, 0.0), (90.0, 0.0)]
    assert (raw(features, "pen_up") > 0.5).sum() <= 1 + DEFAULTS["pen_up_steps"]


def test_curvature_is_the_change_of_direction():
    stroke = np.random.default_rng(4).normal(size=(40, 2)).cumsum(axis=0) * 10
    features, places = extract([stroke], {"level": False})
    steps = np.diff(places.astype(float), axis=0)
    turn = np.diff(np.arctan2(steps[:, 1], steps[:, 0]))
    np.testing.assert_allclose(raw(features, "curvature_cos")[1:-1], np.cos(turn), atol=1e-3)
    np.testing.assert_allclose(raw(features, "curvature_sin")[1:-1], np.sin(turn), atol=1e-3)


def test_height_of_strokes_is_that_of_the_pen_on_paper():
    heights = [
        30.0,
        10.0,
        20.0,
    ]  # down, up, down; then the pen is lifted far up, and a level step changes nothing
    first = [(0, 0), (1, 15), (2, 15), (3, 30), (4, 20), (5, 40)]
    second = [(9, -500), (10, -490)]
    points, pen_up = flatten(arrays([first, second]))
    heights.append(10.0)
    expected = sum(h * h for h in heights) / sum(heights)
    assert stroke_height(np.diff(points[:, 1]), pen_up) == pytest.approx(expected)
    for way in (1, -1):  # both down, or both up: two strokes, not one of 60
        points, pen_up = flatten(arrays([[(0, 0), (0, way * 30)], [(9, way * 30), (9, way * 60)]]))
        assert stroke_height(np.diff(points[:, 1]), pen_up) == pytest.approx(30)


def test_a_dot_set_later_is_seen_at_its_stem():
    stem = np.array([[0.0, 0.0], [0.0, 40.0]])
    rest = moved(wave(3), 25, 20)
    dot = np.array([[1.0, -18.0]])
    seen = []
    for late in (dot, moved(dot, 60, 0)):
        features, places = extract([stem, rest, late], {"level": False})
        at = (places[:, 0] == 0) & (places[:, 1] <= 40)
        assert at.sum() > 2
        seen.append((raw(features, "ascender") + raw(features, "above"))[at].mean())
    assert seen[0] > seen[1] + 0.3


@pytest.mark.parametrize("slope", [-0.15, 0.05, 0.15])
def test_a_sloping_line_is_levelled(slope):
    points, pen_up = flatten([wave(40, slope=slope)])
    assert frame_of_reference(points, pen_up, DEFAULTS)[2] == pytest.approx(math.atan(slope), abs=0.02)
    level, _ = extract([wave(40)], {})
    sloping, _ = extract([wave(40, slope=slope)], {})
    assert abs(raw(sloping, "y")).max() < 1.5 * abs(raw(level, "y")).max()


def test_a_stroke_that_slopes_stays_as_it_is():
    points, pen_up = flatten([np.array([[0.0, 60.0], [40.0, 0.0]])])  # a slash is no sloping line
    assert abs(frame_of_reference(points, pen_up, DEFAULTS)[2]) < 0.1


def test_rows_below_each_other_read_like_one_line():
    rows = [wave(12), moved(wave(10), 0, 150), moved(wave(11), 0, 300)]
    line = [wave(12), moved(wave(10), 650, 0), moved(wave(11), 1200, 0)]
    points, pen_up = flatten(rows)
    joined = in_one_row(points, pen_up)
    assert np.ptp(joined[:, 1]) == pytest.approx(np.ptp(wave(8)[:, 1]), rel=0.05)
    assert all(a[0] > b[0] for a, b in zip(joined[[480, 880]], joined[[479, 879]], strict=True))
    assert len(extract(rows, {})[0]) == pytest.approx(len(extract(line, {})[0]), abs=4)
    assert extract(rows, {})[1][:, 1].max() > 300  # places stay where the ink is


def test_delayed_strokes_are_no_row():
    points, pen_up = flatten([wave(14), np.array([[20.0, -60.0], [50.0, -60.0]])])  # the bar of a t
    np.testing.assert_array_equal(in_one_row(points, pen_up), points)
    points, pen_up = flatten([wave(14), np.array([[0.0, 60.0]])])  # a full stop far back
    np.testing.assert_array_equal(in_one_row(points, pen_up), points)


@pytest.mark.parametrize(
    ("strokes", "most"),
    [
        ([[[5.0, 5.0]]], 3),  # a dot
        ([[[5.0, 5.0]] * 40], 3),  # a pen that stood still
        ([[[5.0, 5.0]], [[5.0, 5.0]]], 5),
        ([[[0.0, 0.0], [30.0, 0.0]]], 40),  # a dash: no height
        ([[[0.0, 0.0], [0.0, 30.0]]], 40),  # a bar: no width
        ([[[0.0, 0.0], [1e9, 1e-9]]], 40),
        ([[[float(i % 2) * 1000, 0.0] for i in range(300)]], 5000),  # a scribble without height
    ],
)
def test_odd_ink_gives_few_and_finite_frames(strokes, most):
    features, places = extract(arrays(strokes), {})
    assert 2 <= len(features) == len(places) <= most
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    "strokes",
    [[], [np.zeros((0, 2))], [np.array([[np.nan, 0]])], [np.array([[0, np.inf]])], [np.array([[0, 1e300]])]],
)
def test_ink_that_cannot_be_used_is_named(strokes):
    with pytest.raises(InputError, match="ink holds"):
        extract(strokes, {})


def test_a_setting_that_does_nothing_is_refused():
    with pytest.raises(InputError, match="spacings"):
        extract([wave(2)], {"spacings": 0.2})


def test_unit_grows_with_the_writing():
    points, pen_up = flatten([wave(5)])
    _, unit, _ = frame_of_reference(points, pen_up, DEFAULTS)
    _, double, _ = frame_of_reference(points * 2, pen_up, DEFAULTS)
    assert double == pytest.approx(2 * unit)
    assert 15 < unit < 60  # strokes are 60 high


def test_real_words_are_centred_and_long_enough():
    folder = corpus("unipen-words")
    samples = list(itertools.islice(read_manifest(folder / "train.jsonl.gz"), 0, 4000, 20))
    features = [extract(sample.strokes, {})[0] for sample in samples]
    whole = np.concatenate(features)
    assert (abs(whole.mean(axis=0)) < 0.5).all()
    assert (abs(np.log(whole.std(axis=0))) < 0.5).all()
    frames = np.array([len(f) / len(s.text) for f, s in zip(features, samples, strict=True)])
    assert 10 < np.median(frames) < 20
