"""Lines are found on drawn pages however these are turned and lit, and on pages of a corpus."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from carousel.hwr.page.find import find_lines
from carousel.recipes.lines_of_pages.evaluate import measured, paired
from carousel.recipes.lines_of_pages.phone import photographed
from tests.conftest import corpus
from tests.hwr.drawn_pages import LEFT, SIZE, TEXT, written


def lit(grey: np.ndarray) -> np.ndarray:
    return (grey * np.linspace(0.5, 1, grey.shape[1])).astype(np.uint8)


@pytest.mark.parametrize("ruled", [False, True])
@pytest.mark.parametrize(
    "alter", [lambda g: g, lambda g: 255 - g, lit], ids=["as it is", "light on dark", "shaded"]
)
def test_all_lines_and_no_others(alter, ruled):
    grey, boxes = written(ruled=ruled)
    page = find_lines(alter(grey))
    assert (page.width, page.height, page.angle) == (760, 700, 0)
    assert paired([line.box for line in page.lines], boxes) == {n: n for n in range(len(TEXT))}
    for line, box in zip(page.lines, boxes, strict=True):
        start, end = line.baseline[0], line.baseline[-1]
        assert abs(start[0] - box[0]) < 12 and abs(end[0] - box[2]) < 12
        assert np.abs(line.baseline[:, 1] - (box[1] + 0.75 * SIZE)).max() < 0.3 * SIZE


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_is_read_in_its_own_direction(quarters):
    """The lines are those of the page that stands upright, turned with it."""
    grey, boxes = written()
    page = find_lines(np.rot90(grey, quarters))  # anticlockwise
    assert page.angle == 90 * quarters
    rows, columns = grey.shape
    back = {
        1: lambda x, y: (columns - y, x),
        2: lambda x, y: (columns - x, rows - y),
        3: lambda x, y: (y, rows - x),
    }
    found = [np.stack(back[quarters](*line.polygon.T), axis=1) for line in page.lines]
    found = [(*points.min(axis=0), *points.max(axis=0)) for points in found]
    assert paired(found, boxes) == {n: n for n in range(len(TEXT))}
    starts = [back[quarters](*line.baseline[0])[0] for line in page.lines]
    assert np.abs(np.array(starts) - LEFT).max() < 12


def test_a_skewed_page_on_a_dark_table():
    grey, _ = written()
    picture = Image.fromarray(grey).rotate(5, Image.Resampling.BICUBIC, expand=True, fillcolor=40)
    page = find_lines(np.pad(np.asarray(picture), 60, constant_values=40))
    assert len(page.lines) == len(TEXT)
    slopes = [
        np.subtract(*line.baseline[[-1, 0], 1]) / np.subtract(*line.baseline[[-1, 0], 0])
        for line in page.lines
    ]
    assert np.abs(np.degrees(np.arctan(slopes)) + 5).max() < 1


def test_two_columns_are_read_one_after_the_other():
    left, boxes = written()
    right, more = written(TEXT[::-1])
    page = find_lines(np.concatenate([left, right], axis=1))
    every = np.concatenate([boxes, more + [left.shape[1], 0] * 2])
    assert paired([line.box for line in page.lines], every) == {n: n for n in range(2 * len(TEXT))}


def test_paper_without_writing_has_no_lines():
    rng = np.random.default_rng(0)
    noise = np.clip(rng.normal(230, 6, (900, 700)), 0, 255).astype(np.uint8)
    ruled = np.full((900, 700), 250, np.uint8)
    ruled[100::60, 60:640] = 90
    for sheet in (noise, ruled, np.zeros((300, 300), np.uint8), ruled[:1], ruled[:, :1], ruled[:5, :5]):
        assert find_lines(sheet).lines == ()


def test_small_print_of_a_form_is_no_writing():
    grey, boxes = written()
    picture = Image.fromarray(grey)
    font = ImageFont.load_default(11)
    words = "I have read the conditions and agree that what I write here may be used for research and shared"
    ImageDraw.Draw(picture).text((60, 30), words, font=font, fill=0)
    page = find_lines(np.asarray(picture))
    assert paired([line.box for line in page.lines], boxes) == {n: n for n in range(len(TEXT))}


def test_points_of_a_photo_lie_where_they_are_on_the_page():
    """Dots drawn on the page are found in the photo at the places that the matrix tells."""
    page = np.full((600, 500), 255, np.uint8)
    dots = np.array([[100, 100], [400, 120], [250, 300], [90, 500], [420, 480]])
    for x, y in dots:
        page[y - 4 : y + 4, x - 4 : x + 4] = 0
    shot = photographed(page, np.random.default_rng(3))
    y, x = np.mgrid[: shot.grey.shape[0], : shot.grey.shape[1]]
    places = shot.on_page(np.stack([x.ravel() + 0.5, y.ravel() + 0.5], axis=1)).reshape(*shot.grey.shape, 2)
    for dot in dots:
        near = np.hypot(*(places - dot).transpose(2, 0, 1))
        assert shot.grey[near < 3].max() < shot.grey[(near > 12) & (near < 20)].min()


@pytest.mark.parametrize(("photo", "least"), [(False, 0.95), (True, 0.9)])
def test_lines_of_a_corpus(photo, least):
    """Two pages; recipes/lines_of_pages/README.md has all of them."""
    folder = corpus("copiste-pages") / "valid"
    pages = [measured(folder / f"{name}.xml", None, photo) for name in ("wikitexte_0017", "wikitexte_0249")]
    total = pages[0] + pages[1]
    assert total.pairs >= least * total.known and total.pairs >= least * total.found and total.ordered == 2
