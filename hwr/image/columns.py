"""Line images: one grey line to the columns that the network reads (hwr/image/file.py reads the file).

A line is made upright and equally dark and high before the network sees it: the paper's shade is divided
out, light-on-dark is inverted, the slope of the baseline removed (projection profiles over strips), and the
height set by the moments of the ink's rows, as in Kozielski, Doetsch, Ney, "Improvements in RWTH's System for
Off-Line Handwriting Recognition", ICDAR 2013: moments hardly notice a stray ascender of the next line, where
the ink's bounding box doubles. The steps which measure work on small projections, so that a line of 64 x 900
pixels takes about two milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from carousel.common.errors import InputError
from carousel.common.settings.features import LineImage
from carousel.common.settings.field import check, defaults
from carousel.hwr.image import edges
from carousel.hwr.image.file import read_image as read_image  # the way in and the way on stand in one place

DEFAULTS: dict[str, Any] = defaults(LineImage)

MAX_OVERSIZE = 4  # larger pictures are reduced by a whole factor before anything is measured
BLOCK = 4  # pixels: the paper's brightness is looked for on a grid of this step
MIN_CONTRAST = 0.08  # reflectance; below it there is no ink (pencil reaches 0.2)
DIM = 60  # grey levels; in deeper shade than this, differences count as much as there
LIGHTER = 0.25  # what is lighter than paper by more than this is not told apart
BINS = 255 / (1 + LIGHTER)  # bins of the histogram of darkness to a darkness of 1
MAX_GRAIN = 0.08  # paper with more of it is not paper but ink that fills the picture
MIN_RATIO = 4.5  # ink is this many times darker than the paper's own grain
MAX_SLOPE = math.tan(math.radians(8))
MAX_SLANT = math.tan(math.radians(45))
MIN_SHARPER = 1.03  # a slope is believed when it makes the row profile's energy grow by 3 %
MIN_WINDOW = 0.2  # of the picture's height: a lone dash is not blown up to the height of a letter
CROP_TIGHT, CROP_LOOSE = 0.6, 1.5  # picture's height / height by the moments; beyond, the crop says nothing
LONG_LINE = 2.5  # width / height; shorter lines give no evidence of a slope
RULED = 0.7  # of the columns: a row with more ink is a ruled line
MOSTLY = 0.45  # of the middle rows: with no more that is dark, it is ink and shadow
INK = 0.4  # darker than this counts as ink where rows and columns are measured


def size(settings: dict[str, Any]) -> int:
    """Numbers in a frame: the height of the normalised line in pixels."""
    return int(settings.get("height", DEFAULTS["height"]))


def extract_image(grey: np.ndarray, settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the normalised line and where they are in the picture.

    grey: (rows, columns) uint8, dark on light or light on dark
    returns: features (frames, height) float32, 0 paper ... 1 ink; places (frames, 2) float32: x, y of the
        middle of each column in the pixel coordinates of `grey`
    Raises InputError for a picture without ink.
    """
    line, geometry = _normalise(grey, settings)
    columns = np.arange(line.shape[1], dtype=np.float64) + 0.5
    places = geometry.places(columns, line.shape[0] / 2)
    return np.ascontiguousarray(line.T), places.astype(np.float32)


def normalise_line(grey: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """The normalised line as a picture (height, width) float32, 0 paper ... 1 ink; InputError without ink."""
    return _normalise(grey, settings)[0]


@dataclass(frozen=True)
class _Geometry:
    """How the normalised line maps to the picture: offset and scale, then shear, then reduction."""

    left: float  # of the cut window, in sheared pixels
    top: float
    scale: float  # sheared pixels per pixel of the normalised line
    slope: float  # y += slope * (x - middle_x)
    slant: float  # x += slant * (y - middle_y)
    middle: tuple[float, float]  # x, y
    corner: tuple[int, int]  # x, y of the measured pixels in the reduced picture
    reduced: int  # picture pixels per pixel measured on

    def places(self, x: np.ndarray, y: float) -> np.ndarray:
        """x (columns,) and y in the normalised line to (columns, 2) x, y in the picture."""
        sheared_x, sheared_y = self.left + x * self.scale, self.top + y * self.scale
        back = _unshear(sheared_x, np.full_like(sheared_x, sheared_y), self.slope, self.slant, self.middle)
        return (np.stack(back, axis=1) + self.corner) * self.reduced


def _unshear(x: Any, y: Any, slope: float, slant: float, middle: tuple[float, float]) -> tuple[Any, Any]:
    """Where a point of the deskewed and deslanted line was before."""
    x = x + slant * (y - middle[1])
    return x, y + slope * (x - middle[0])


def _normalise(grey: np.ndarray, settings: dict[str, Any]) -> tuple[np.ndarray, _Geometry]:
    options = _options(settings)
    if grey.ndim != 2 or 0 in grey.shape:
        raise InputError(f"a grey line has two dimensions and some pixels, not the shape {grey.shape}")
    height = int(options["height"])
    grey, reduced = _reduce(np.asarray(grey, dtype=np.uint8), MAX_OVERSIZE * height)
    inside = edges.clear(grey)
    ink = ink_of(inside.grey)  # (rows, columns) float32
    slope = find_slope(ink) if options["deskew"] else 0.0
    slant = find_slant(ink) if options["deslant"] else 0.0
    middle = (ink.shape[1] / 2, ink.shape[0] / 2)
    picture = _shear(Image.fromarray(np.rint(ink * 255).astype(np.uint8)), slope, slant, middle)
    left, top, right, bottom = _window(np.asarray(picture), float(options["spread"]), inside.height)
    scale = (bottom - top) / height
    margin = float(options["margin"]) * height
    width = max((right - left) / scale + 2 * margin, float(options["min_width"]) * height)
    left = (left + right - width * scale) / 2
    columns = round(width)
    line = _cut(picture, (left, top, left + columns * scale, bottom), (columns, height))
    return line, _Geometry(left, top, scale, slope, slant, middle, (inside.left, inside.top), reduced)


def _options(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings over the defaults; InputError for one that would do nothing."""
    check(LineImage, settings, "features", partial=True)
    return DEFAULTS | settings


def _reduce(grey: np.ndarray, limit: int) -> tuple[np.ndarray, int]:
    """Very large lines averaged down by a whole factor; returns the line and the factor."""
    factor = min(grey.shape[0] // limit, grey.shape[1])
    if factor < 2:
        return grey, 1
    return np.asarray(Image.fromarray(grey).reduce(factor)), factor


def ink_of(grey: np.ndarray) -> np.ndarray:
    """Grey line (rows, columns) uint8 to ink, float32, 0 paper ... 1 ink: polarity, shade, contrast evened.

    Darkness is the share of the light that the paper around reflects and this pixel does not. The paper's
    grain is taken away below, and the median of all pixels darker than half the darkest becomes 1.
    Raises InputError where nothing stands out.
    """
    if _light_on_dark(grey, _blocks(grey)):
        grey = 255 - grey
    else:
        grey = edges.lighten(grey)
    coarse = _blocks(grey)
    paper = _paper(coarse, grey.shape)
    dark = (paper - grey) / np.maximum(paper, DIM)
    bins = ((np.clip(dark, -LIGHTER, 1) + LIGHTER) * BINS).astype(np.uint8)
    histogram = np.bincount(bins.ravel(), minlength=256)
    quarter, half, darkest = _quantiles(histogram, 0.25, 0.5, 0.998)
    grain = (half - quarter) / 0.674  # standard deviation of the paper's lighter half
    if darkest < MIN_CONTRAST or (grain < MAX_GRAIN and darkest - half < MIN_RATIO * grain):
        raise InputError("no ink found in the picture; scan it with more contrast")
    strong = np.arange(256) > (darkest / 2 + LIGHTER) * BINS
    level = _quantiles(np.where(strong, histogram, 0), 0.5)[0]
    floor = min(half + grain, 0.25 * level)
    return np.clip((dark - floor) / (level - floor), 0, 1)


def _blocks(grey: np.ndarray) -> np.ndarray:
    """Means of the blocks of a grey line, float32."""
    return np.asarray(Image.fromarray(grey).reduce(BLOCK), dtype=np.float32)


def _quantiles(histogram: np.ndarray, *shares: float) -> list[float]:
    """Quantiles, in -LIGHTER ... 1, of a histogram of 256 bins over this range."""
    total = np.cumsum(histogram)
    return [float(np.searchsorted(total, share * total[-1])) / BINS - LIGHTER for share in shares]


def _light_on_dark(grey: np.ndarray, coarse: np.ndarray) -> bool:
    """Whether strokes are lighter than what surrounds them: the sign of the local contrast's third moment.

    Strokes are the rare side of the distribution; against the mean around, shade over the line drops out.
    Where most of the middle is light, a shadow with a sharp edge is not taken for dark paper.
    """
    middle = coarse[len(coarse) // 4 : len(coarse) - len(coarse) // 4]
    low, usual, high = np.quantile(middle, (0.05, MOSTLY, 0.95))
    if usual > (low + high) / 2:
        return False
    around = ndimage.uniform_filter(coarse, max(3, min(coarse.shape)), mode="nearest")
    local = grey - _enlarge(around, grey.shape)
    return float(np.mean(local * local * local)) > 0


def _paper(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The paper's brightness, (rows, columns) float32: block means without thin dark things.

    A closing (maxima, then minima of these) leaves a steady shade as it is, where maxima alone lighten it.
    """
    reach = max(3, coarse.shape[0] // 2)
    widened = ndimage.maximum_filter(coarse, reach, mode="nearest")
    closed = ndimage.minimum_filter(widened, reach, mode="nearest")
    return _enlarge(ndimage.uniform_filter(closed, reach, mode="nearest"), shape)


def _enlarge(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Block values 0 ... 255 back to the size of the line, bilinear, float32 (8 bits on the way: faster)."""
    picture = Image.fromarray(np.rint(coarse).astype(np.uint8))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), dtype=np.float32)


# --- slope, slant, window ---


def find_slope(ink: np.ndarray) -> float:
    """Slope of the text line, dy / dx in pixels, 0 where the evidence is weak.

    The slope is the one whose sheared row profile has most energy (the sum of squares), the classic
    projection profile search (Postl 1986) on strips: ink (rows, columns) -> 32 strips, shifted by whole rows.
    """
    rows, columns = ink.shape
    if columns < LONG_LINE * rows or columns < 24:
        return 0.0
    slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, 29)  # steps of 0.57 degrees
    return _sharpest(_strips(ink, 32), columns, slopes)


def find_slant(ink: np.ndarray) -> float:
    """Slant of the writing, dx / dy in pixels (negative leans right), by the energy of its column profile."""
    slants = np.linspace(-MAX_SLANT, MAX_SLANT, 31)
    return _sharpest(_strips(ink.T, 16), len(ink), slants)


def _strips(ink: np.ndarray, count: int) -> np.ndarray:
    """Profiles along the rows of up to `count` vertical strips, (strips, rows)."""
    edges = np.unique(np.linspace(0, ink.shape[1], count + 1).astype(int))[:-1]
    return np.add.reduceat(np.where(ink > INK, ink, 0), edges, axis=1).T


def _sharpest(strips: np.ndarray, length: int, candidates: np.ndarray) -> float:
    """The candidate shear that makes the summed profile sharpest, refined between its neighbours.

    Returns 0 where the best is hardly sharper than no shear at all.
    """
    middles = ((np.arange(len(strips)) + 0.5) / len(strips) - 0.5) * length
    energy = _energies(strips, middles, candidates)
    best, level = int(np.argmax(energy)), energy[len(candidates) // 2]
    step = candidates[1] - candidates[0]
    finer = candidates[best] + step * np.linspace(-0.75, 0.75, 7)
    energy = _energies(strips, middles, finer)
    best = int(np.argmax(energy))
    return float(finer[best]) if energy[best] > MIN_SHARPER * level else 0.0


def _energies(strips: np.ndarray, middles: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(candidates,) sum of squares of the profile of strips (count, size) shifted by candidate * middle."""
    count, size = strips.shape
    shifts = np.rint(candidates[:, None] * middles).astype(np.int32)  # (candidates, count)
    pad = int(np.abs(shifts).max())
    padded = np.pad(strips, ((0, 0), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)  # (count, 2 * pad + 1, size)
    profiles = windows[np.arange(count), pad + shifts].sum(axis=1)  # (candidates, size)
    return np.einsum("ij,ij->i", profiles, profiles)


def _shear(picture: Image.Image, slope: float, slant: float, middle: tuple[float, float]) -> Image.Image:
    """The ink with slope and slant taken out, in a frame of the same size, paper around."""
    if slope == 0 and slant == 0:
        return picture
    x0, y0 = _unshear(0.0, 0.0, slope, slant, middle)
    x1, y1 = _unshear(1.0, 0.0, slope, slant, middle)
    x2, y2 = _unshear(0.0, 1.0, slope, slant, middle)
    matrix = (x1 - x0, x2 - x0, x0, y1 - y0, y2 - y0, y0)
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _window(ink: np.ndarray, spread: float, cut: float) -> tuple[float, float, float, float]:
    """The box that is kept, (left, top, right, bottom): all inked columns, `spread` deviations of rows.

    cut: pixels, how high the line was cut out of its page.

    The moments know nothing of the spacing of lines, which whoever cut the picture saw. The geometric mean of
    both heights varies 6 % less over the lines of a page than the moments alone (four French corpora), and a
    third less where ink of the next line reaches in. Ink over most of a row is a ruled line, not counted.
    """
    rows, columns = ink.shape
    dark = ink > 255 * INK  # (rows, columns)
    filled = dark.sum(axis=1, dtype=np.float64)
    weights = np.where(filled > RULED * columns, np.median(filled), filled)
    if weights.sum() == 0:
        weights = np.ones(rows)
    at = np.arange(rows) + 0.5
    centre = float((weights * at).sum() / weights.sum())
    deviation = math.sqrt(float((weights * (at - centre) ** 2).sum() / weights.sum()) + 1 / 12)
    window = spread * deviation
    window *= math.sqrt(min(max(cut / window, CROP_TIGHT), CROP_LOOSE))
    half = max(window, MIN_WINDOW * rows, 4) / 2
    top, bottom = centre - half, centre + half
    inked = np.flatnonzero(dark[max(0, int(top)) : int(bottom) + 1].any(axis=0))
    left, right = (inked[0], inked[-1] + 1) if len(inked) else (0, columns)
    return float(left), top, float(right), bottom


def _cut(picture: Image.Image, box: tuple[float, float, float, float], shape: tuple[int, int]) -> np.ndarray:
    """The box of the picture, which may reach beyond it onto paper, as (height, width) float32."""
    left, top, right, bottom = box
    beyond = (-left, -top, right - picture.width, bottom - picture.height)
    room = tuple(max(0, math.ceil(pixels)) for pixels in beyond)
    if any(room):
        picture = ImageOps.expand(picture, room, fill=0)
    box = (left + room[0], top + room[1], right + room[0], bottom + room[1])
    scaled = picture.resize(shape, Image.Resampling.BICUBIC, box=box)
    return np.asarray(scaled, dtype=np.float32) / 255
