"""Dark edges of a line's picture: features of what is drawn, error rates of real lines, as without them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from carousel.common.cli.failures import Failures
from carousel.common.cli.measuring import read_samples
from carousel.common.cli.report import rates
from carousel.common.data.manifest import Sample, read_manifest
from carousel.common.errors import InputError
from carousel.common.model.catalogue import open_model
from carousel.common.model.file import Model
from carousel.hwr import features
from carousel.hwr.image.columns import extract_image, normalise_line, read_image
from carousel.hwr.image.edges import clear, lighten
from carousel.recipes.images import write_like_a_pen
from tests.conftest import corpus
from tests.hwr.image.test_columns import SETTINGS, close, drawn

Picture = np.ndarray
SIDES = {
    "top": ((1, 0), (0, 0)),
    "bottom": ((0, 1), (0, 0)),
    "left": ((0, 0), (1, 0)),
    "right": ((0, 0), (0, 1)),
}


def bar(grey: Picture, side: str, thick: int, shade: int = 0) -> Picture:
    return np.pad(grey, np.array(SIDES[side]) * thick, constant_values=shade)


def turned(grey: Picture, degrees: float, shade: int = 0, expand: bool = True) -> Picture:
    picture = Image.fromarray(grey)
    return np.array(picture.rotate(degrees, Image.Resampling.BICUBIC, expand=expand, fillcolor=shade))


def polygon(grey: Picture, shade: int = 0) -> Picture:
    """The neighbourhood of a line as page readers cut it, the rest in one shade."""
    rows, columns = grey.shape
    x = np.arange(columns)
    top = np.interp(x, np.linspace(0, columns, 7), np.array([0.1, 0.02, 0.12, 0.05, 0.1, 0, 0.08]) * rows)
    bottom = np.interp(x, np.linspace(0, columns, 6), np.array([0.9, 1, 0.86, 0.9, 0.98, 0.87]) * rows)
    y = np.arange(rows)[:, None]
    return np.where((y < top) | (y >= bottom), shade, grey).astype(np.uint8)


def shadow(grey: Picture, side: str, reach: float, dark: float = 0.3, hard: bool = False) -> Picture:
    """Light that grows from `dark` at an edge to 1 at `reach` of the picture, or does so there at once."""
    axis = 0 if side in ("top", "bottom") else 1
    ramp = np.clip((np.arange(grey.shape[axis]) + 0.5) / (reach * grey.shape[axis]), 0, 1)
    light = dark + (1 - dark) * (ramp >= 1 if hard else ramp)
    if side in ("bottom", "right"):
        light = light[::-1]
    return (grey * (light[:, None] if axis == 0 else light)).astype(np.uint8)


def jpeg(grey: Picture, path: Path, quality: int = 50) -> Picture:
    Image.fromarray(grey).save(path, quality=quality)
    return read_image(path)


def alike(a: Picture, b: Picture, least: float = 0.93) -> bool:
    """Whether two normalised lines show the same, perhaps at another scale (cut higher or lower)."""
    stretched = np.asarray(Image.fromarray(b).resize((a.shape[1], a.shape[0]), Image.Resampling.BILINEAR))
    same = np.corrcoef(a.ravel(), stretched.ravel())[0, 1]
    return abs(a.shape[1] - b.shape[1]) <= 0.15 * b.shape[1] and same > least


def same_as_clean(grey: Picture, least: float = 0.97) -> bool:
    return close(normalise_line(grey, SETTINGS), normalise_line(drawn(), SETTINGS), least)


@pytest.mark.parametrize("shade", [0, 70])
@pytest.mark.parametrize("thick", [1, 4, 15, 28])
@pytest.mark.parametrize("side", SIDES)
def test_bars_are_cut_off(side: str, thick: int, shade: int) -> None:
    assert same_as_clean(bar(drawn(), side, thick, shade))
    assert same_as_clean(255 - bar(drawn(), side, thick, shade))  # light on dark, light bars


@pytest.mark.parametrize("thick", range(1, 9))
def test_frames_are_cut_off(thick: int) -> None:
    assert same_as_clean(np.pad(drawn(), thick))
    assert same_as_clean(np.pad(255 - drawn(), thick, constant_values=255))
    board = 60 + (255 - drawn()) // 2
    assert alike(normalise_line(np.pad(board, thick), SETTINGS), normalise_line(drawn(), SETTINGS), 0.93)


def test_a_bar_within_a_frame_is_cut_off() -> None:
    assert same_as_clean(np.pad(bar(drawn(), "top", 6), 3, constant_values=90))


@pytest.mark.parametrize("side", SIDES)
def test_noise_jpeg_and_blur_do_not_hide_a_bar(side: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    barred = bar(drawn(), side, 9, 20)
    noisy = np.clip(barred + rng.normal(0, 7, barred.shape), 0, 255).astype(np.uint8)
    assert same_as_clean(noisy, 0.95)
    assert same_as_clean(jpeg(barred, tmp_path / "a.jpg"), 0.95)
    half = Image.fromarray(barred).reduce(2).resize(barred.shape[::-1], Image.Resampling.BICUBIC)
    assert same_as_clean(np.array(half), 0.85)


def test_specks_of_dust_do_not_hide_a_bar() -> None:
    barred = bar(drawn(), "top", 9)
    barred[3:5, 50::90] = 255
    assert same_as_clean(barred)


def test_a_large_picture_keeps_neither_frame() -> None:
    assert same_as_clean(np.pad(drawn(9), 40), 0.9)


@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize("degrees", [-3, -2, -1, -0.5, 0.5, 1, 2, 3])
def test_corners_of_a_turned_picture_become_paper(degrees: float, expand: bool) -> None:
    on_paper = normalise_line(turned(drawn(), degrees, 255, expand), SETTINGS)
    filled = turned(drawn(), degrees, 0, expand)
    assert alike(normalise_line(filled, SETTINGS), on_paper, 0.87)  # black tells the line's height, paper not
    assert alike(normalise_line(255 - filled, SETTINGS), on_paper, 0.87)


@pytest.mark.parametrize("shade", [0, 60])
def test_the_surroundings_of_a_polygon_become_paper(shade: int) -> None:
    wanted = normalise_line(polygon(drawn(), 255), SETTINGS)
    assert alike(normalise_line(polygon(drawn(), shade), SETTINGS), wanted)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("reach", [0.2, 0.4])
@pytest.mark.parametrize("side", SIDES)
def test_shadows_are_divided_out(side: str, reach: float, hard: bool) -> None:
    shaded = shadow(drawn(), side, reach, 0.3, hard)  # without ink in it, one with a hard edge is cut off
    assert alike(
        normalise_line(shaded, SETTINGS), normalise_line(drawn(), SETTINGS), 0.9 if reach > 0.3 else 0.75
    )


def test_a_shadow_beside_a_bar() -> None:
    assert same_as_clean(bar(shadow(drawn(), "left", 0.3), "left", 6), 0.93)


def test_shadows_at_two_edges() -> None:
    assert same_as_clean(shadow(shadow(drawn(), "left", 0.3), "bottom", 0.3), 0.9)


def clipped(grey: Picture) -> Picture:
    return grey[20:52]


def long_stroke(grey: Picture) -> Picture:
    image = Image.fromarray(grey)
    ImageDraw.Draw(image).line([(0, 70), (90, 20), (91, 0)], fill=0, width=4)
    return np.array(image)


def ruled(grey: Picture) -> Picture:
    grey = grey.copy()
    grey[52:54] = grey[20] = 100
    return grey


def underlined(grey: Picture) -> Picture:
    grey = grey.copy()
    grey[70:74, 100:500] = 0
    return grey


@pytest.mark.parametrize("change", [clipped, long_stroke, ruled, underlined])
def test_ink_that_reaches_the_edge_is_kept(change: Callable[[Picture], Picture]) -> None:
    for grey in change(drawn()), change(255 - drawn() // 3 * 2), 255 - change(drawn()):
        assert clear(grey).grey is grey
    assert np.array_equal(lighten(change(drawn())), change(drawn()))


def test_a_line_drawn_along_the_edge_takes_no_letters_with_it() -> None:
    grey = drawn()[:67]
    grey[65:] = 0
    assert same_as_clean(np.pad(grey[:65], ((0, 15), (0, 0)), constant_values=255), 0.97)
    kept = clear(grey).grey
    assert np.array_equal(kept, drawn()[: len(kept)])
    assert len(kept) >= 63


def test_transparent_edges_are_paper(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    alpha = np.pad(np.full((80, 600), 255, np.uint8), 6)
    black = np.pad(drawn(), 6)
    Image.merge("LA", [Image.fromarray(black), Image.fromarray(alpha)]).save(path)
    on_paper = np.pad(drawn(), 6, constant_values=255)
    assert np.array_equal(read_image(path), on_paper)
    assert clear(on_paper).grey is on_paper


def test_places_are_those_of_the_whole_picture() -> None:
    features_of, places = extract_image(drawn(), SETTINGS)
    barred = bar(bar(bar(drawn(), "left", 21), "top", 12), "right", 9)
    again, moved = extract_image(barred, SETTINGS)
    assert again.shape == features_of.shape
    assert np.abs(moved - places - (21, 12)).max() < 0.1
    places_of_large = extract_image(np.pad(drawn(9), 90), SETTINGS)[1]
    assert (
        np.abs(places_of_large[[0, -1]] / 9 - extract_image(drawn(9), SETTINGS)[1][[0, -1]] / 9 - 10).max()
        < 3
    )


@pytest.mark.parametrize("side", SIDES)
def test_nothing_but_a_bar_is_no_ink(side: str) -> None:
    blank = np.full((64, 300), 250, np.uint8)
    with pytest.raises(InputError, match="no ink found"):
        extract_image(bar(blank, side, 8), SETTINGS)


MODELS = Path(str(resources.files("hwr"))) / "models"
EDGES: dict[str, Callable[[Picture], Picture]] = {
    "plain": lambda grey: grey,
    "bar": lambda grey: bar(grey, "top", 4),
    "frame": lambda grey: np.pad(grey, 3),
    "corners": lambda grey: turned(grey, 1),
    "shadow": lambda grey: shadow(grey, "bottom", 0.3),
    "gutter": lambda grey: bar(shadow(grey, "left", 0.2), "left", 8),
}


def error_rate(model: Model, samples: list[Sample], change: Callable[[Picture], Picture]) -> float:
    """CER in percent of the samples, each picture changed, by what `hwr evaluate` runs."""

    def read(sample: Sample) -> np.ndarray:
        assert sample.image is not None
        return features.extract(change(read_image(sample.image)), model.features)[0]

    failures = Failures()
    items = read_samples(samples, model, read, failures, 20_000, decoder="greedy")
    assert failures.count == 0
    return 100 * float(rates(items)["cer"])


def test_error_rates_of_real_lines_stay_with_dark_edges() -> None:
    """Within a tenth of the plain rate; it was 34 % with the bar, 91 with the frame, 97 with the corners."""
    samples = [
        replace(sample, text=write_like_a_pen(sample.text, Counter()))
        for sample in list(read_manifest(corpus("copiste-lines") / "valid.jsonl"))[::8]
    ]
    model = open_model("lines-latin", MODELS, ("image",), "cpu", features.size)
    found = {name: error_rate(model, samples, change) for name, change in EDGES.items()}
    assert found["plain"] < 13
    assert max(found.values()) <= 1.1 * found["plain"], found
