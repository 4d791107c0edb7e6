"""Drawn ink against the distance from the pen's path, and what the random pen may and may not do."""

from itertools import pairwise

import numpy as np
import pytest

from carousel.common.errors import InputError
from carousel.hwr.ink import render as module
from carousel.hwr.ink.render import render

WORD = [
    np.stack([np.linspace(0, 300, 90), 40 * np.sin(np.linspace(0, 25, 90))], axis=1),
    np.array([[50.0, -80.0], [60.0, -82.0]]),
]


def distances(lines: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Distance of each pixel's centre from the nearest segment of the polylines."""
    rows, columns = np.indices(shape)
    pixels = np.stack([columns + 0.5, rows + 0.5], axis=-1)
    nearest = np.full(shape, np.inf)
    for line in lines:
        for a, b in pairwise(line):
            along = np.clip(((pixels - a) @ (b - a)) / max(float((b - a) @ (b - a)), 1e-12), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(pixels - a - along[..., None] * (b - a), axis=-1))
    return nearest


@pytest.mark.parametrize("pen_width", [0.15, 0.4])
def test_pixels_are_dark_where_the_pen_was(pen_width):
    options = {**module.DEFAULTS, "pen_width": pen_width}
    lines, width, pen = module._place(WORD, 64, options, 0.0)
    picture = render(WORD, 64, pen_width=pen_width)
    assert picture.shape == (64, width)
    far = distances(lines, picture.shape) - pen / 2
    assert (picture[far > 1.2] == 255).all()
    assert (picture[far < -1.2] == 0).all()
    assert picture[abs(far) < 0.2].mean() == pytest.approx(127, abs=60)  # antialiased


def test_the_ink_keeps_its_shape():
    square = [np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 100.0], [0.0, 100.0], [0.0, 0.0]])]
    rows, columns = np.nonzero(render(square, 100) < 128)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)
    rows, columns = np.nonzero(render(square, 100, stretch=2.0) < 128)
    assert np.ptp(columns) == pytest.approx(2 * np.ptp(rows), rel=0.15)


def test_slant_leans_to_the_right():
    bar = [np.array([[0.0, 0.0], [0.0, 100.0]])]
    rows, columns = np.nonzero(render(bar, 64, slant=0.5, size=0.4) < 128)
    assert columns[rows < 20].mean() > columns[rows > 44].mean() + 5


@pytest.mark.parametrize("seed", range(8))
def test_a_random_pen_leaves_the_ink_legible(seed):
    picture = render(WORD, 48, np.random.default_rng(seed))
    assert picture.dtype == np.uint8
    assert picture.shape[0] == 48
    dark, light = np.percentile(picture, [2, 75])
    assert light - dark > 40
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert np.median(np.concatenate(edges)) > (dark + light) / 2  # ink does not run off the paper


def test_the_seed_decides():
    first, again, other = (render(WORD, 48, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize(
    "strokes",
    [
        [[[3.0, 3.0]]],
        [[[3.0, 3.0]] * 5],
        [[[0.0, 0.0], [50.0, 0.0]]],
        [[[0.0, 0.0], [0.0, 50.0]]],
        [[[1e9, 1e9], [1e9 + 50, 1e9 + 50]]],
        [[[float(i), float(i % 2)] for i in range(6000)]],  # too long for its height
    ],
)
@pytest.mark.parametrize("seed", [None, 0])
def test_odd_ink_is_drawn(strokes, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    picture = render([np.array(stroke) for stroke in strokes], 32, rng)
    assert picture.shape[0] == 32
    assert 1 <= picture.shape[1] <= module.WIDEST + 8
    assert picture.min() < picture.max()


def test_errors():
    with pytest.raises(InputError, match="no point"):
        render([])
    with pytest.raises(InputError, match="pen_widht"):
        render(WORD, pen_widht=0.1)
