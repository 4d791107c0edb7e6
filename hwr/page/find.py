"""The text lines of a page: from a grey picture to baselines, polygons and reading order.

Ink is found on a reduced picture (hwr/page/paper.py) and its slope sheared out. Blurred along the lines more
than across them, each line is a ridge, as in Bukhari, Shafait, Breuel, "Script-Independent Handwritten Textlines
Segmentation Using Active Contours", ICDAR 2009: where the second derivative across is negative is a piece of a
line, whatever its curve. Pieces that go on from each other are joined; ink belongs to the nearest line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from carousel.hwr.page.layout import Line, Page
from carousel.hwr.page.order import reading_order
from carousel.hwr.page.paper import Ink, page_ink

MAX_SLOPE = math.tan(math.radians(15))
PITCH = 16  # pixels from line to line in the picture in which ridges are looked for
ACROSS, ALONG = 0.2, 0.9  # standard deviations of the blur, in pitches
LEAST_INK = 0.12  # of the height of a pitch, per pitch of width: what a ridge has at least on average
GAP = 2.5  # pitches along: pieces of a line may be so far apart
STEP = 0.3  # pitches across: and so much above each other
SMALL = 0.5  # of the usual height of letters; smaller writing is print of a form, no handwriting


def find_lines(grey: np.ndarray) -> Page:
    """The lines of a page, (rows, columns) uint8, that stands upright. None where there is no writing."""
    ink = page_ink(grey)
    slope = page_slope(ink.mask)
    mask, shift = sheared(ink.mask, slope)
    pieces = _pieces(mask)
    lines = []
    if len(pieces.heights):
        pitch = line_pitch(mask, pieces)
        centres = _ridges(mask & pieces.mask, pitch)
        for found in _shaped(mask & pieces.mask, centres, pitch):
            lines.append(found)
    back = [_back(line, shift, ink.factor, grey.shape) for line in lines]
    return Page(grey.shape[1], grey.shape[0], tuple(reading_order(back)))


def page_slope(mask: np.ndarray) -> float:
    """Slope of the lines of a page, dy / dx: that with which the sheared row profile has most energy."""
    small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).reduce(2), np.float32)
    rows, columns = small.shape
    strips = np.stack([part.sum(axis=1) for part in np.array_split(small, min(48, columns), axis=1)])
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
    total = np.diff(total)  # of the profile itself, the energy also grows with the slope of a lone word
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

    mask: np.ndarray  # (rows, columns) bool, of these only
    heights: np.ndarray  # (n,) pixels
    areas: np.ndarray  # (n,)


def _pieces(mask: np.ndarray) -> Pieces:
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    found = ndimage.find_objects(labels)
    boxes = np.array([(y.start, y.stop, x.start, x.stop) for y, x in found]).reshape(-1, 4)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    heights, widths = (boxes[:, 1::2] - boxes[:, ::2]).T
    rows, columns = mask.shape
    letters = (heights >= 3) & (heights < rows / 4) & (areas >= 6)
    letters &= ~((widths > 8 * heights) & (heights <= 4))  # bits of ruled lines
    kept = np.concatenate([[False], letters])
    return Pieces(kept[labels], heights[letters], areas[letters])


def line_pitch(mask: np.ndarray, pieces: Pieces) -> float:
    """Pixels from line to line: where the autocorrelation of strips' profiles peaks near the size of letters."""
    order = np.argsort(pieces.heights)
    weight = np.cumsum(pieces.areas[order])
    height = float(pieces.heights[order][np.searchsorted(weight, weight[-1] / 2)])
    rows, columns = mask.shape
    strips = np.stack([part.sum(axis=1) for part in np.array_split(mask, min(12, columns), axis=1)]).astype(float)
    strips = ndimage.gaussian_filter1d(strips, height / 6, axis=1)
    strips -= ndimage.gaussian_filter1d(strips, 3 * height, axis=1)
    spectrum = np.abs(np.fft.rfft(strips, 2 * rows, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum.sum(axis=0))[:rows]
    low, high = int(1.0 * height), int(5 * height)
    peaks = [
        lag
        for lag in range(max(low, 2), min(high, rows - 1))
        if correlation[lag] >= max(correlation[lag - 1], correlation[lag + 1])
        and correlation[lag] > 0.15 * correlation[0]
    ]
    return float(peaks[0]) if peaks else 2.0 * height


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
    return [points / scale for points in _joined(centres)]


def _joined(pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Pieces of ridges joined where one goes on from another, the nearest first."""
    pieces = sorted(pieces, key=lambda points: points[0, 0])
    reach = GAP * PITCH
    while True:
        best = None
        for i, left in enumerate(pieces):
            for j, right in enumerate(pieces):
                gap = right[0, 0] - left[-1, 0]
                if i == j or not -PITCH / 2 < gap < reach:
                    continue
                step = abs(_level(left[-2 * PITCH :]) - _level(right[: 2 * PITCH]))
                if step < STEP * PITCH and (best is None or gap + 2 * step < best[0]):
                    best = gap + 2 * step, i, j
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
    profile = np.bincount(np.clip(np.rint(off).astype(int) - low, 0, int(2 * pitch)), minlength=int(2 * pitch) + 1)
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
