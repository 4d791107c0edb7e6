"""The text lines of a page: from a grey picture to baselines, polygons and reading order.

Ink is found on a reduced picture (hwr/page/paper.py) and its slope sheared out. Blurred along the lines more
than across them, each line is a ridge, as in Bukhari, Shafait, Breuel, "Script-Independent Handwritten Textlines
Segmentation Using Active Contours", ICDAR 2009: where the second derivative across is negative is a piece of a
line, whatever its curve. Pieces that go on from each other are joined; ink belongs to the nearest line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from carousel.hwr.page.layout import Line, Page
from carousel.hwr.page.order import reading_order
from carousel.hwr.page.paper import page_ink, without_rules

MAX_SLOPE = math.tan(math.radians(15))
STRAIGHT, LONG = 1.3, 24  # pixels: a piece that is longer and no thicker (a deviation) is a ruled line
SOLID, BLOT = 0.7, 24  # of its box, pixels: a piece that is higher and fills more is no writing
PITCH = 16  # pixels from line to line in the picture in which ridges are looked for
ACROSS, ALONG = 0.2, 0.9  # standard deviations of the blur, in pitches
LEAST_INK = 0.12  # of the height of a pitch, per pitch of width: what a ridge has at least on average
GAP = 2.5  # pitches along: pieces of a line may be so far apart
OVERLAP = 1.5  # pitches along: or overlap by so much
STEP = 0.4  # pitches across: and so much above each other
BESIDE = 0.7  # pitches: a ridge so close to one more than four times as long is a part of its line
STRAY = 2.0  # pitches: or a ridge so short
SMALL = 0.6  # of the height of large letters; rows of nothing larger are the print of a form
PRINT = 25  # heights of letters: the length of such a row
EVEN = 0.25  # standard deviation of the heights of print; of handwriting it is more
LEAST_REST = 0.1  # of the ink that is left without print; otherwise it was none
USUAL_PITCH, PITCH_SPREAD = 1.75, 0.35  # heights of large letters, and the deviation of its logarithm


def find_lines(grey: np.ndarray) -> Page:
    """The lines of a page, (rows, columns) uint8, that stands upright. None where there is no writing."""
    ink = page_ink(grey)
    slope = page_slope(ink.mask)
    mask, shift = sheared(ink.mask, slope)
    pieces = pieces_of(without_rules(mask))
    lines = []
    if len(pieces.areas):
        pitch = line_pitch(pieces)
        lines = _shaped(pieces.mask, _ridges(pieces.mask, pitch), pitch)
    back = [_back(line, shift, ink.factor, grey.shape) for line in lines]
    return Page(grey.shape[1], grey.shape[0], tuple(reading_order(back)))


def page_slope(mask: np.ndarray) -> float:
    """Slope of the lines of a page, dy / dx: that with which the sheared row profile has most energy."""
    small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).reduce(2), np.float32)
    rows, columns = small.shape
    strips = np.stack([part.sum(axis=1) for part in np.array_split(small, min(48, columns), axis=1)])
    strips = ndimage.gaussian_filter1d(strips, 1.5, axis=1) - ndimage.gaussian_filter1d(strips, 12, axis=1)
    middles = ((np.arange(len(strips)) + 0.5) / len(strips) - 0.5) * columns
    slopes = np.linspace(-MAX_SLOPE, MAX_SLOPE, 61)
    for _ in range(2):
        energy = [_energy(strips, middles * slope) for slope in slopes]
        best = float(slopes[int(np.argmax(energy))])
        step = slopes[1] - slopes[0]
        slopes = best + step * np.linspace(-1, 1, 11)
    return best


def _energy(strips: np.ndarray, shifts: np.ndarray) -> float:
    pad = int(np.abs(shifts).max()) + 1
    total = np.zeros(strips.shape[1] + 2 * pad)
    for strip, shift in zip(strips, np.rint(shifts).astype(int), strict=True):
        total[pad - shift : pad - shift + len(strip)] += strip
    return float(total @ total)


def sheared(mask: np.ndarray, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """The mask with columns moved so that lines of the slope lie flat, and by how much each went up."""
    rows, columns = mask.shape
    shift = np.rint(slope * (np.arange(columns) - columns / 2)).astype(int)
    pad = int(np.abs(shift).max())
    padded = np.pad(mask, ((2 * pad, 2 * pad), (0, 0)))
    at = np.arange(rows + 2 * pad)[:, None] + pad + shift
    return padded[at, np.arange(columns)], shift - pad


@dataclass(frozen=True)
class Pieces:
    """Connected pieces of ink that may be letters or words."""

    labels: np.ndarray  # (rows, columns) int: the number of a piece and 1, or 0
    boxes: np.ndarray  # (n, 4) top, bottom, left, right
    areas: np.ndarray  # (n,) pixels

    @property
    def heights(self) -> np.ndarray:
        return self.boxes[:, 1] - self.boxes[:, 0]

    @property
    def mask(self) -> np.ndarray:
        return self.labels > 0

    def only(self, kept: np.ndarray) -> Pieces:
        """Those of which `kept`, (n,) bool, is true."""
        number = np.concatenate([[0], np.where(kept, np.cumsum(kept), 0)])
        return Pieces(number[self.labels], self.boxes[kept], self.areas[kept])

    def height(self, share: float) -> float:
        """The quantile of their heights, by ink."""
        order = np.argsort(self.heights)
        total = np.cumsum(self.areas[order])
        return float(self.heights[order][np.searchsorted(total, share * total[-1])])


def pieces_of(mask: np.ndarray) -> Pieces:
    """The pieces of ink (rows, columns) bool, without grain, bits of ruled lines and what is too large."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    found = ndimage.find_objects(labels)
    boxes = np.array([(y.start, y.stop, x.start, x.stop) for y, x in found]).reshape(-1, 4)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    heights, widths = (boxes[:, 1::2] - boxes[:, ::2]).T
    letters = (heights >= 3) & (heights < mask.shape[0] / 6) & (areas >= 6)
    at_edge = (boxes[:, ::2] == 0).any(axis=1) | (boxes[:, 1::2] == mask.shape).any(axis=1)
    letters &= ~at_edge | (heights < BLOT)
    letters &= (areas < SOLID * heights * widths) | (heights < BLOT)
    letters &= (_thickness(labels, count) > STRAIGHT) | (widths < LONG)
    return without_print(Pieces(labels, boxes, areas).only(letters))


def _thickness(labels: np.ndarray, count: int) -> np.ndarray:
    """Of each piece the standard deviation across the straight line through it, (n,) pixels."""
    y, x = np.nonzero(labels)
    label = labels[y, x]
    size = np.maximum(np.bincount(label, minlength=count + 1), 1)[1:]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, weights=values, minlength=count + 1)[1:] / size

    x_mean, y_mean = mean(x), mean(y)
    across, along = mean(x * x) - x_mean**2, mean(x * y) - x_mean * y_mean
    left = mean(y * y) - y_mean**2 - along**2 / np.maximum(across, 1e-6)
    return np.sqrt(np.maximum(left, 0))


def without_print(pieces: Pieces) -> Pieces:
    """Without the small print of a form: long rows of pieces, all much lower than the page's larger letters."""
    if not len(pieces.areas):
        return pieces
    small = pieces.heights < SMALL * pieces.height(0.9)
    low = pieces.only(small)
    if not len(low.areas):
        return pieces
    height = low.height(0.5)
    size = int(2 * height) // 2 * 2 + 1  # spaces between words are smeared over
    rows = ndimage.maximum_filter1d(low.mask, size, axis=1)
    rows = ndimage.minimum_filter1d(rows, size, axis=1)
    runs, count = ndimage.label(rows)
    printed = np.zeros(count + 1, dtype=bool)
    for number, place in enumerate(ndimage.find_objects(runs), 1):
        high, wide = runs[place].shape
        if wide < PRINT * height or high > 2 * height:
            continue
        tall = np.count_nonzero(pieces.labels[place]) - np.count_nonzero(low.labels[place])
        own = low.heights[np.unique(low.labels[place][runs[place] == number])[1:] - 1]
        own = own[own > 0.6 * np.median(own)]  # without dots and commas
        even = own.std() < EVEN * own.mean()
        printed[number] = even and tall < 0.03 * np.count_nonzero(low.labels[place])
    inside = np.bincount(pieces.labels.ravel(), weights=printed[runs].ravel(), minlength=len(small) + 1)[1:]
    rest = pieces.only(inside < pieces.areas / 2)
    return rest if rest.areas.sum() > LEAST_REST * pieces.areas.sum() else pieces


def line_pitch(pieces: Pieces) -> float:
    """Pixels from line to line: where the autocorrelation of strips' profiles peaks, near the size of letters."""
    height = pieces.height(0.75)
    rows, columns = pieces.labels.shape
    strips = np.stack([part.sum(axis=1) for part in np.array_split(pieces.mask, min(12, columns), axis=1)])
    smooth = ndimage.gaussian_filter1d(strips.astype(float), height / 6, axis=1)
    smooth -= ndimage.gaussian_filter1d(smooth, 3 * height, axis=1)
    spectrum = np.abs(np.fft.rfft(smooth, 2 * rows, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum.sum(axis=0))[:rows]
    lags = np.arange(max(2, int(height)), min(int(5 * height), rows - 1))
    if not len(lags):
        return USUAL_PITCH * height
    likely = np.exp(-0.5 * (np.log(lags / (USUAL_PITCH * height)) / PITCH_SPREAD) ** 2)
    best = int(lags[np.argmax((correlation[lags] / correlation[0] + 0.3) * likely)])
    half = lags[np.abs(lags - best / 2) <= best / 10]  # of double spacing, where some is not
    if len(half):
        lag = int(half[np.argmax(correlation[half])])
        around = correlation[lag - best // 6], correlation[lag + best // 6]
        if correlation[lag] > max(0.4 * correlation[best], *around):
            return float(lag)
    return float(best)


def _ridges(mask: np.ndarray, pitch: float) -> list[np.ndarray]:
    """The middle of each line, (points, 2) x, y from left to right, in pixels of the mask."""
    scale = PITCH / pitch
    shape = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = np.asarray(Image.fromarray(mask.astype(np.float32)).resize(shape, Image.Resampling.BOX))
    smooth = ndimage.gaussian_filter1d(small, ALONG * PITCH, axis=1, mode="constant")
    bent = ndimage.gaussian_filter1d(smooth, ACROSS * PITCH, axis=0, order=2, mode="constant")
    dense = ndimage.gaussian_filter1d(smooth, ACROSS * PITCH, axis=0, mode="constant")
    usual = np.quantile(dense[dense > 0.02], 0.75) if (dense > 0.02).any() else 1.0
    labels, count = ndimage.label((bent < 0) & (dense > 0.25 * usual), structure=np.ones((3, 3)))
    weight = np.where(labels > 0, -bent, 0)
    centres = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        own = np.where(labels[place] == number, weight[place], 0)
        total = own.sum(axis=0)
        x = np.flatnonzero(total > 0)
        y = (own * np.arange(own.shape[0])[:, None]).sum(axis=0)[x] / total[x]
        points = np.stack([x + place[1].start + 0.5, y + place[0].start + 0.5], axis=1)
        inked = small[place][:, x].sum()
        if len(points) >= PITCH / 2 and inked > 2:
            centres.append(points)
    return [points / scale for points in _without_strays(_joined(centres))]


def _without_strays(ridges: list[np.ndarray]) -> list[np.ndarray]:
    """Without short ridges close above or below a longer one: its accents, ascenders and descenders."""
    kept: list[np.ndarray] = []
    for ridge in sorted(ridges, key=len, reverse=True):
        x, y = ridge.T
        for longer in kept:
            near = np.interp(x, longer[:, 0], longer[:, 1], np.inf, np.inf)
            beside = np.isfinite(near)
            close = np.abs(near - y)[beside] < BESIDE * PITCH
            if close.sum() > len(x) / 2 and (len(x) < STRAY * PITCH or len(x) < len(longer) / 4):
                break
        else:
            kept.append(ridge)
    return kept


def _joined(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Pieces of ridges joined where one goes on from another, the nearest first."""
    pieces = sorted(pieces, key=lambda points: points[0, 0])
    reach = GAP * PITCH
    while True:
        best = None
        for i, left in enumerate(pieces):
            for j, right in enumerate(pieces):
                gap = right[0, 0] - left[-1, 0]
                if i == j or not -OVERLAP * PITCH < gap < reach:
                    continue
                step = abs(_level(left[-2 * PITCH :]) - _level(right[: 2 * PITCH]))
                cost = abs(gap) + 2 * step
                if step < STEP * PITCH and (best is None or cost < best[0]):
                    best = cost, i, j
        if best is None:
            return pieces
        _, i, j = best
        joined = np.concatenate([pieces[i], pieces[j][pieces[j][:, 0] > pieces[i][-1, 0]]])
        pieces = [p for k, p in enumerate(pieces) if k not in (i, j)] + [joined]


def _level(points: np.ndarray) -> float:
    return float(np.median(points[:, 1]))


@dataclass(frozen=True)
class _Found:
    baseline: np.ndarray  # (points, 2)
    polygon: np.ndarray  # (points, 2)


def _shaped(mask: np.ndarray, centres: list[np.ndarray], pitch: float) -> list[_Found]:
    """Baselines and polygons of lines of which the middles are given."""
    if not centres:
        return []
    owner = _owners(mask, centres, pitch)
    found = []
    for number, centre in enumerate(centres):
        y, x = np.nonzero(owner == number)
        if len(x) < 10:
            continue
        found.append(_shape(x, y, centre, pitch))
    return found


def _owners(mask: np.ndarray, centres: list[np.ndarray], pitch: float) -> np.ndarray:
    """The line of each pixel of ink, (rows, columns) int; -1 where there is none.

    A piece of ink goes with the line that most of its pixels are nearest to, unless it reaches over the
    middles of several."""
    rows, columns = mask.shape
    at = np.full((len(centres), columns), np.inf, dtype=np.float32)
    for number, centre in enumerate(centres):
        left, right = centre[0, 0] - pitch, centre[-1, 0] + pitch
        x = np.arange(max(0, int(left)), min(columns, int(right) + 1))
        at[number, x] = np.interp(x, centre[:, 0], centre[:, 1])
    y, x = np.nonzero(mask)
    order = np.argsort(at, axis=0)
    ranked = np.take_along_axis(at, order, axis=0)  # each column's middles from the top down
    nearest = np.zeros(len(x), dtype=np.int32)
    for k in range(len(centres) - 1):
        border = (ranked[k] + ranked[k + 1]) / 2
        nearest += y > border[x]
    own = order[nearest, x]
    away = np.abs(at[own, x] - y)
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    label = labels[y, x]
    # of each piece, the line that most of it is nearest to
    key = label.astype(np.int64) * len(centres) + own
    counts = np.bincount(key, minlength=(count + 1) * len(centres)).reshape(count + 1, len(centres))
    main = counts.argmax(axis=1)
    share = counts.max(axis=1) / np.maximum(counts.sum(axis=1), 1)
    whole = share[label] > 0.75
    own = np.where(whole, main[label], own)
    away = np.abs(at[own, x] - y)
    result = np.full(mask.shape, -1, dtype=np.int32)
    near = away < pitch
    result[y[near], x[near]] = own[near]
    return result


def _shape(x: np.ndarray, y: np.ndarray, centre: np.ndarray, pitch: float) -> _Found:
    middle = np.interp(x, centre[:, 0], centre[:, 1])
    off = y - middle
    left, right = int(x.min()), int(x.max()) + 1
    bins = max(1, round((right - left) / (pitch / 2)))
    edges = np.linspace(left, right, bins + 1)
    which = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    top = np.full(bins, np.inf)
    bottom = np.full(bins, -np.inf)
    np.minimum.at(top, which, off)
    np.maximum.at(bottom, which, off)
    base = _baseline_offset(off, pitch)
    core = base - 0.35 * pitch
    top, bottom = np.minimum(top, core), np.maximum(bottom + 1, base)
    top = ndimage.minimum_filter1d(top, 3, mode="nearest")
    bottom = ndimage.maximum_filter1d(bottom, 3, mode="nearest")
    at = (edges[:-1] + edges[1:]) / 2
    at[0], at[-1] = left, right
    level = np.interp(at, centre[:, 0], centre[:, 1])
    upper = np.stack([at, level + top], axis=1)
    lower = np.stack([at, level + bottom], axis=1)[::-1]
    points = np.linspace(left, right, max(2, bins // 4 + 1))
    smooth = np.stack([points, np.interp(points, centre[:, 0], centre[:, 1]) + base], axis=1)
    return _Found(smooth, np.concatenate([upper, lower]))


def _baseline_offset(off: np.ndarray, pitch: float) -> float:
    """Where the ink of a line falls off below its middle, relative to that."""
    low = int(-pitch)
    profile = np.bincount(
        np.clip(np.rint(off).astype(int) - low, 0, int(2 * pitch)), minlength=int(2 * pitch) + 1
    )
    profile = ndimage.gaussian_filter1d(profile.astype(float), pitch / 20)
    peak = int(profile.argmax())
    fall = np.diff(profile[peak : peak + int(0.6 * pitch)])
    return float(peak + int(fall.argmin()) + 1 + low) if len(fall) else 0.0


def _back(found: _Found, shift: np.ndarray, factor: int, shape: tuple[int, ...]) -> Line:
    """In pixels of the picture."""

    def back(points: np.ndarray) -> np.ndarray:
        columns = np.clip(points[:, 0].astype(int), 0, len(shift) - 1)
        moved = np.stack([points[:, 0], points[:, 1] + shift[columns]], axis=1) * factor
        return np.clip(moved, 0, (shape[1], shape[0])).astype(np.float32)

    return Line(back(found.baseline), back(found.polygon))
