"""A grey line to columns: against pictures whose content is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw

from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.hwr.image.columns import (
    extract_image,
    find_slant,
    find_slope,
    ink_of,
    normalise_line,
    read_image,
    size,
)
from tests.conftest import corpus

SETTINGS = {"kind": "image", "height": 48}


def drawn(scale: int = 1, slope: float = 0.0, slant: float = 0.0) -> np.ndarray:
    """Letter-like strokes on white, (80, 600) x scale, with slope dy / dx and slant dx / dy."""
    image = Image.new("L", (600 * scale, 80 * scale), 255)
    pen = ImageDraw.Draw(image)
    rng = np.random.default_rng(7)

    def place(x: float, y: float) -> tuple[float, float]:
        x, y = x + slant * (y - 40), y
        return x * scale, (y + slope * (x - 300)) * scale

    for x in range(40, 560, 14):
        top = 14 if rng.random() < 0.25 else 30
        bottom = 64 if rng.random() < 0.15 else 50
        pen.line([place(x, top), place(x, bottom)], fill=0, width=3 * scale)
        if rng.random() < 0.6:
            pen.line([place(x, 31), place(x + 9, 31)], fill=0, width=2 * scale)
            pen.line([place(x + 9, 31), place(x + 9, 50)], fill=0, width=3 * scale)
    return np.array(image)


def close(a: np.ndarray, b: np.ndarray, least: float = 0.9) -> bool:
    """Whether two lines show the same: widths within 3 %, correlation when one is stretched to the other."""
    stretched = np.asarray(Image.fromarray(b).resize((a.shape[1], b.shape[0]), Image.Resampling.BILINEAR))
    same = np.corrcoef(a.ravel(), stretched.ravel())[0, 1]
    return abs(a.shape[1] - b.shape[1]) <= 0.03 * b.shape[1] + 1 and same > least


@pytest.mark.parametrize("height", [32, 48, 64])
def test_shape_range_and_size(height: int) -> None:
    wanted = SETTINGS | {"height": height}
    features, places = extract_image(drawn(), wanted)
    assert size(wanted) == height == features.shape[1]
    assert features.dtype == places.dtype == np.float32
    assert places.shape == (len(features), 2)
    assert features.min() >= 0
    assert features.max() <= 1
    assert np.mean(features > 0.9) > 0.03
    assert np.mean(features < 0.1) > 0.5
    assert np.array_equal(normalise_line(drawn(), wanted).T, features)


def test_light_on_dark_gives_the_same() -> None:
    assert close(normalise_line(255 - drawn(), SETTINGS), normalise_line(drawn(), SETTINGS), 0.99)


@pytest.mark.parametrize("factor", [0.25, 0.5])
def test_pale_ink_gives_the_same(factor: float) -> None:
    pale = (200 - (255 - drawn().astype(float)) * factor).clip(0).astype(np.uint8)
    assert close(normalise_line(pale, SETTINGS), normalise_line(drawn(), SETTINGS), 0.98)


def test_shaded_paper_gives_the_same() -> None:
    light = np.linspace(0.45, 1, 600) * np.linspace(1, 0.8, 80)[:, None]
    shaded = (drawn() * light).astype(np.uint8)
    assert close(normalise_line(shaded, SETTINGS), normalise_line(drawn(), SETTINGS), 0.97)


def test_grain_of_the_paper_is_taken_away() -> None:
    rng = np.random.default_rng(2)
    noisy = np.clip(drawn() * 0.8 + rng.normal(0, 8, (80, 600)), 0, 255).astype(np.uint8)
    line = normalise_line(noisy, SETTINGS)
    assert close(line, normalise_line(drawn(), SETTINGS), 0.95)
    assert np.median(line) < 0.03


@pytest.mark.parametrize("scale", [2, 3, 9])
def test_resolution_does_not_matter(scale: int) -> None:
    assert close(normalise_line(drawn(scale), SETTINGS), normalise_line(drawn(), SETTINGS), 0.9)


def test_empty_margins_do_not_matter() -> None:
    wide = np.pad(drawn(), ((0, 0), (400, 150)), constant_values=255)
    assert close(normalise_line(wide, SETTINGS), normalise_line(drawn(), SETTINGS), 0.98)


def test_a_ruled_line_is_tolerated() -> None:
    ruled = drawn().copy()
    ruled[51:53] = np.minimum(ruled[51:53], 120)
    line = normalise_line(ruled, SETTINGS)
    assert abs(line.shape[1] - normalise_line(drawn(), SETTINGS).shape[1]) < 0.1 * line.shape[1] + 30


@pytest.mark.parametrize("degrees", [-6, -3, -1, 1, 3, 6])
def test_slope_is_found_and_removed(degrees: float) -> None:
    slope = math.tan(math.radians(degrees))
    sloped = drawn(slope=slope)
    grey = np.pad(sloped, ((20, 20), (0, 0)), constant_values=255)
    assert math.degrees(math.atan(find_slope(ink_of(grey)))) == pytest.approx(degrees, abs=0.4)
    assert close(normalise_line(sloped, SETTINGS), normalise_line(drawn(), SETTINGS), 0.75)


def test_no_slope_without_evidence() -> None:
    assert find_slope(ink_of(drawn())) == 0
    assert find_slope(ink_of(drawn(slope=0.05)[:, :150])) == 0  # too short


@pytest.mark.parametrize("slant", [-0.6, -0.3, 0.3])
def test_slant_is_found(slant: float) -> None:
    assert find_slant(ink_of(drawn(slant=slant))) == pytest.approx(slant, abs=0.06)
    upright = normalise_line(drawn(slant=slant), SETTINGS | {"deslant": True})
    assert close(upright, normalise_line(drawn(), SETTINGS), 0.75)


@pytest.mark.parametrize(("scale", "slope", "deslant"), [(1, 0.0, False), (1, 0.06, True), (8, -0.05, False)])
def test_places_are_where_the_ink_is(scale: int, slope: float, deslant: bool) -> None:
    """Of a line whose letters are known, the columns with the most ink are places of upright strokes."""
    grey = np.pad(drawn(scale, slope), ((15 * scale, 15 * scale), (0, 0)), constant_values=255)
    features, places = extract_image(grey, SETTINGS | {"deslant": deslant})
    assert (np.diff(places[:, 0]) > 0).all()
    strokes = np.flatnonzero(features.sum(axis=1) > 0.6 * features.sum(axis=1).max())
    x = places[strokes, 0] / scale
    nearest = np.abs((x - 40 + 7) % 14 - 7)  # upright strokes stand at 40 + 14 n, and some 9 further
    assert np.minimum(nearest, np.abs((x - 49 + 7) % 14 - 7)).max() <= 2.5
    middle = places[:, 1] / scale - 15
    assert np.abs(middle - (40 + slope * (places[:, 0] / scale - 300))).max() < 8


def test_places_of_a_dot() -> None:
    grey = np.full((64, 400), 255, dtype=np.uint8)
    grey[20:44, 30:33] = 0
    grey[20:44, 300:303] = 0
    features, places = extract_image(grey, SETTINGS)
    inked = features.max(axis=1) > 0.8
    centres = places[inked, 0]
    assert np.abs(centres[centres < 150].mean() - 31.5) < 0.5
    assert np.abs(centres[centres > 150].mean() - 301.5) < 0.5
    assert np.abs(places[:, 1] - 32).max() < 0.5


BLANK = {
    "white": np.full((64, 300), 255, np.uint8),
    "black": np.zeros((64, 300), np.uint8),
    "grey": np.full((64, 300), 77, np.uint8),
    "shade": np.tile(np.linspace(200, 250, 300), (64, 1)).astype(np.uint8),
    "grain": np.random.default_rng(3).normal(200, 5, (64, 300)).astype(np.uint8),
    "pixel": np.full((1, 1), 0, np.uint8),
}


@pytest.mark.parametrize("name", BLANK)
def test_no_ink(name: str) -> None:
    with pytest.raises(InputError, match=r"no ink found.*; scan"):
        extract_image(BLANK[name], SETTINGS)


def test_narrow_ink_is_padded_with_paper() -> None:
    grey = np.full((64, 64), 255, dtype=np.uint8)
    grey[16:48, 30:33] = 0
    features, places = extract_image(grey, SETTINGS | {"min_width": 1.5})
    assert len(features) == 72
    assert features[:20].max() < 0.05
    assert places[len(places) // 2, 0] == pytest.approx(31.5, abs=1)


@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 90)),
        elements=st.sampled_from([0, 9, 130, 250, 255]),
    ),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_picture_gives_columns_or_a_sentence(grey: np.ndarray, both: bool) -> None:
    try:
        features, places = extract_image(grey, SETTINGS | {"deslant": both})
    except InputError:
        return  # any other exception fails the test
    assert features.shape[1] == 48
    assert len(features) >= 48
    assert len(features) < 60 * 90
    assert features.min() >= 0
    assert features.max() <= 1
    assert np.isfinite(places).all()


@pytest.mark.parametrize("name", ["copiste-lines", "poilus-lines", "mss19-lines", "peraire-lines"])
def test_real_lines(name: str) -> None:
    """CTC can work with every line: at least 6 columns for each character of its text."""
    samples = list(read_manifest(corpus(name) / "valid.jsonl"))[::8]
    few = 0
    for sample in samples:
        assert sample.image is not None
        features, _ = extract_image(read_image(sample.image), SETTINGS)
        few += len(features) < 6 * len(sample.text)
    assert few <= 0.02 * len(samples)


def test_a_setting_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="hieght"):
        extract_image(drawn(), {"kind": "image", "hieght": 32})
