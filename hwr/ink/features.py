"""Pen strokes → one feature vector a point, after the online systems of Graves and Liwicki.

The ink is levelled, scaled by an estimate of its own size, and resampled at equal steps along the pen's path
(equal in space, so that neither the pen's sampling rate nor the writer's speed matters). Each point then
tells where the pen goes, where it is in the line, the shape of the path around it, and what ink lies around
it whenever that was written: so the dot of an i that was set at the end of the word is seen again beside its
stem.

Papers: A. Graves, M. Liwicki, S. Fernández, R. Bertolami, H. Bunke, J. Schmidhuber, "A Novel Connectionist
System for Unconstrained Handwriting Recognition", PAMI 31(5), 2009, section 2 (online data: the pen-up flag,
hat feature, high-passed x, normalised y, writing direction, curvature, vicinity aspect, slope, curliness,
linearity, ascenders, descenders and context map); M. Liwicki, H. Bunke, "HMM-based on-line recognition of
handwritten whiteboard notes", IWFHR 2006, section 3, where these features come from.

Pen-up moves. A move with the pen in the air is a straight line of 1 to `pen_up_steps` steps of at most
`pen_up_spacing` each; a short one therefore costs no frame of its own (the next stroke's first point carries
the jump), a long one, as to the next word or back to a delayed stroke, up to `pen_up_steps - 1` frames.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from carousel.common.errors import InputError
from carousel.common.settings.features import PenStrokes
from carousel.common.settings.field import check, defaults
from carousel.hwr.ink.strays import without_strays

DEFAULTS: dict[str, Any] = defaults(PenStrokes)

NAMES = (
    "dx", "dy", "y", "x_high_passed", "y_high_passed", "pen_up", "stroke_start",
    "direction_cos", "direction_sin", "curvature_cos", "curvature_sin",
    "aspect", "curliness", "linearity", "slope_cos", "slope_sin",
    "above_left", "above", "above_right", "left", "here", "right", "below_left", "below", "below_right",
    "ascender", "descender",
)  # fmt: skip

# Mean and spread of each feature over UNIPEN words and lines (train): fixed, so that the features of a sample
# depend on that sample alone.
_MEANS_AND_SPREADS = (
    (0.3, 0.85), (0.0, 0.85), (0.0, 0.7), (0.0, 0.85), (0.0, 0.67), (0.1, 0.32), (0.07, 0.26),
    (0.27, 0.64), (0.08, 0.72), (0.6, 0.59), (-0.1, 0.5),
    (0.0, 0.36), (-0.3, 0.43), (0.12, 0.13), (0.47, 0.6), (0.07, 0.65),
    (0.8, 0.9), (1.0, 0.93), (0.8, 0.9), (1.4, 0.9), (2.0, 0.5), (1.4, 0.9),
    (0.8, 0.9), (1.0, 0.93), (0.8, 0.9),
    (0.6, 1.0), (0.6, 1.0),
)  # fmt: skip
MEANS, SPREADS = np.array(_MEANS_AND_SPREADS).T[:, :, None]

LARGEST = 1e12  # coordinates beyond this are not ink, and their squares would cost precision
MOST_FRAMES = 20_000  # the longest of 8,401 UNIPEN lines has 1,287
TINY = 1e-9
FARTHEST = 6.0  # no feature is further than this from its mean, in spreads
STROKE = 1.5  # height of an up or down stroke, in units
BINS = 3  # bins a context cell has on each side
EDGES = np.array([[-5], [-2], [1], [4]])  # from a point's bin: the last bin before each cell, and of the last
MARGIN = 5  # empty bins around the ink, so that no edge falls outside
MOST_BINS = [[8191], [1023]]  # across and down; ink further out counts in the outermost bin


def size(settings: Mapping[str, Any]) -> int:
    """Number of features a point has."""
    return len(NAMES)


def extract(strokes: Sequence[np.ndarray], settings: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Features of pen strokes.

    strokes: arrays (points, 2) of x, y in any unit, y downwards, in the order of writing.
    settings: as `DEFAULTS`; what is missing there is taken from them.

    Returns features (frames, size) float32 and places (frames, 2) float32: x, y in the coordinates of the
    input.
    Raises InputError where the strokes hold no point, or a coordinate that is not a finite number.
    """
    check(PenStrokes, settings, "features", partial=True)
    options = {**DEFAULTS, **settings}
    written, pen_up = flatten(strokes)
    points = in_one_row(written, pen_up) if options["one_row"] else written
    centre, unit, angle = frame_of_reference(points, pen_up, options)
    position, steps_up = resample(points, pen_up, unit, options)
    if position[-1] > MOST_FRAMES:
        raise InputError(f"the ink is {position[-1]:,.0f} steps long, too long for a line; cut it up")
    cos, sin = np.cos(angle) / unit, np.sin(angle) / unit
    turned = np.array([[cos, sin], [-sin, cos]]) @ (_at(position, points) - centre[:, None])
    features = (_features(turned, steps_up, options) - MEANS) / SPREADS
    features = np.clip(features, -FARTHEST, FARTHEST, dtype=np.float32, casting="same_kind")
    return np.ascontiguousarray(features.T), np.ascontiguousarray(_at(position, written).T, dtype=np.float32)


def flatten(strokes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All points (n, 2) float64 of the ink, and for each step between two of them (n - 1,) whether the pen
    was up.

    A stroke of one point, a dot, is given twice, so that every stroke has a step with the pen down. Stray
    points (hwr/ink/strays.py) are left out.
    """
    arrays = [np.asarray(stroke, dtype=np.float64).reshape(-1, 2) for stroke in strokes]
    arrays = [array for array in arrays if len(array)]
    if not arrays:
        raise InputError("the ink holds no point; write something, or leave the sample out")
    if not (np.abs(np.concatenate(arrays)) <= LARGEST).all():  # false for NaN too
        raise InputError(f"the ink holds a coordinate that is not a number or above {LARGEST:.0e}; repair it")
    arrays = [array if len(array) > 1 else array.repeat(2, axis=0) for array in without_strays(arrays)]
    points = np.concatenate(arrays)
    pen_up = np.zeros(len(points) - 1, dtype=bool)
    pen_up[np.cumsum([len(array) for array in arrays])[:-1] - 1] = True
    return points, pen_up


def frame_of_reference(
    points: np.ndarray, pen_up: np.ndarray, options: Mapping[str, Any]
) -> tuple[np.ndarray, float, float]:
    """Centre (2,), unit of length and angle (radians) of the line of writing, each weighted by length of ink.

    The unit is the geometric mean of two estimates of the size of writing: the standard deviation of y, and
    the mean height (weighted by height) of the up and down strokes. Within one writer's words its spread
    (24 %) is below that of the word's height (31 %), as it depends less on whether there are ascenders and
    descenders. The angle is that of the regression of y on x with a ridge that keeps short words, where it
    would follow single letters, nearly as they are.
    """
    step = points[1:] - points[:-1]
    length = np.hypot(step[:, 0], step[:, 1])
    length[pen_up] = 0
    total = length.sum()
    if total == 0:  # dots alone, as of a colon: only their distance tells a size
        return points.mean(axis=0), float(np.ptp(points, axis=0).max()) / 2 or 1.0, 0.0
    weight = length / total
    middle = points[:-1] + step / 2
    centre = weight @ middle
    x, y = (middle - centre).T
    # Variances of ink spread evenly along each step, so that sparse points tell the same as dense ones.
    dx, dy = step.T
    xx = weight @ (x * x + dx * dx / 12)
    yy = weight @ (y * y + dy * dy / 12)
    xy = weight @ (x * y + dx * dy / 12)
    slope, rest = 0.0, yy
    for _ in range(4 if options["level"] else 0):  # the ridge is of what the slope leaves of y
        slope = xy / (xx + 16 * rest + TINY)
        rest = max(yy - 2 * slope * xy + slope * slope * xx, 0.0)
    height = stroke_height(dy - slope * dx, pen_up)
    # Limits from below: a dash has no height to speak of, and a scribble must not give endless frames.
    across = np.abs(dx[~pen_up]).sum()
    dash = 0.15 * across / (np.count_nonzero(pen_up) + 1) * (across / total) ** 8
    scribble = total / (options["spacing"] * (4 * len(points) + 64))
    return centre, max((math.sqrt(rest) * height) ** 0.5, dash, scribble), math.atan(slope)


def stroke_height(rise: np.ndarray, pen_up: np.ndarray) -> float:
    """Mean height of the up and down strokes, weighted by height, from the rise of each step (n,)."""
    rise = np.where(pen_up, 0.0, rise)
    # A level step neither ends an upstroke nor begins a downstroke; a raised pen does.
    told = pen_up | (rise != 0)
    way = np.where(pen_up, 2, rise > 0)[told]
    if not len(way):
        return 0.0
    heights = np.abs(np.add.reduceat(rise[told], _starts(way)))
    return float((heights @ heights) / (heights.sum() + TINY))


def _starts(values: np.ndarray) -> np.ndarray:
    """Index at which each run of equal values starts."""
    return np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))


def in_one_row(points: np.ndarray, pen_up: np.ndarray) -> np.ndarray:
    """The points (n, 2) with the second and further rows of writing moved behind the first: a line that ran
    out of paper, or a small page, becomes one line. Ink of one row is returned as it is.

    A row starts where the pen goes far back and down, if what follows lies below what was written and both
    are more than a dot or a bar.
    """
    at = np.flatnonzero(pen_up)
    if not len(at):
        return points
    width = np.ptp(points[:, 0])
    move = points[at + 1] - points[at]
    back = (move[:, 0] < -0.4 * width) & (move[:, 1] > 0)
    if not back.any():
        return points
    # The deviation of y would be that of all rows.
    unit = stroke_height(np.diff(points[:, 1]), pen_up) / STROKE
    back &= move[:, 1] > 1.5 * unit
    if not back.any() or width < 12 * unit:
        return points
    edges = [0, *(at[back] + 1).tolist(), len(points)]
    rows = [points[edges[0] : edges[1]]]
    for start, end in pairwise(edges[1:]):
        after = points[start:end]
        if _is_below(rows[-1], after, unit):
            rows.append(after)
        else:  # a delayed stroke, still of this row
            rows[-1] = points[start - len(rows[-1]) : end]
    moved = rows[:1]
    for row in rows[1:]:
        right = moved[-1][:, 0].max() + 1.5 * unit - row[:, 0].min()
        down = np.median(rows[0][:, 1]) - np.median(row[:, 1])
        moved.append(row + np.array([right, down]))
    return np.concatenate(moved)


def _is_below(before: np.ndarray, after: np.ndarray, unit: float) -> bool:
    """Whether the points of `after` (n, 2) are a row of writing under those of `before`."""
    deep = np.median(after[:, 1]) - np.median(before[:, 1]) > 2 * unit
    wide = np.ptp(after[:, 0]) > 3 * unit and np.ptp(before[:, 0]) > 5 * unit
    return bool(deep and wide and len(before) > 10)


def resample(
    points: np.ndarray, pen_up: np.ndarray, unit: float, options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Equal steps along each stroke and each pen-up move.

    points (n, 2), pen_up (n - 1,) as of `flatten`. Returns the position of each point among the frames (n,),
    rising from 0 to the number of the last frame, and for each step between frames (frames - 1,) whether the
    pen was up. First and last point of every stroke have whole positions, so they are frames.
    """
    step = points[1:] - points[:-1]
    length = np.hypot(step[:, 0], step[:, 1]) / unit + TINY
    starts = _starts(pen_up)
    up = pen_up[starts]
    total = np.add.reduceat(length, starts)
    count = np.where(
        up,
        np.minimum(np.ceil(total / options["pen_up_spacing"]), options["pen_up_steps"]),
        np.maximum(np.rint(total / options["spacing"]), 1),
    ).astype(np.int64)
    run = np.zeros(len(step), dtype=np.int64)  # which run each step is of
    run[starts[1:]] = 1
    position = np.zeros(len(points))
    np.add.accumulate(length * (count / total)[np.add.accumulate(run)], out=position[1:])
    return position, up.repeat(count)


def _at(position: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where the frames are (2, frames), from the positions (n,) of the points (n, 2)."""
    grid = np.arange(round(position[-1]) + 1)
    return np.array([np.interp(grid, position, points[:, 0]), np.interp(grid, position, points[:, 1])])


def _features(points: np.ndarray, steps_up: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Raw features (size, frames) float64 of points (2, frames) in units, centred and level.

    Frames are the last axis here, which is what makes numpy fast on short inner loops.
    """
    frames = points.shape[1]
    x, y = points
    step = np.zeros((2, frames + 1))  # step[:, i] leads to point i
    step[:, 1:-1] = points[:, 1:] - points[:, :-1]
    length = np.hypot(step[0], step[1])
    up = np.ones(frames + 1, dtype=bool)
    up[1:-1] = steps_up
    come, go = up[:-1], up[1:]
    heading = step / (length + TINY)
    before, after = heading[:, :-1], heading[:, 1:]
    result = np.empty((len(NAMES), frames))
    result[0:2] = 4 * np.tanh(step[:, :-1] / (4 * options["spacing"]))  # long pen-up moves are squashed
    result[2] = y
    result[3] = x - _moving_average(x, 20)
    result[4] = y - _moving_average(y, 60)
    result[5] = come
    result[6] = come & ~go
    result[7:9] = _unit_vectors(step[:, :-1] + step[:, 1:])
    result[9] = before[0] * after[0] + before[1] * after[1]
    result[10] = before[0] * after[1] - before[1] * after[0]
    result[11:16] = _vicinity(points, length[:-1], options["vicinity"])
    result[16:27] = _context(points, ~(come & go), options["context_cell"] / BINS)
    return result


def _unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Vectors (2, n) at length 1; those of no length stay zero."""
    return vectors / (np.hypot(vectors[0], vectors[1]) + TINY)


def _moving_average(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over each value and up to `reach` neighbours on either side."""
    frames = len(values)
    sums = np.zeros(frames + 1)
    np.add.accumulate(values, out=sums[1:])
    index = np.arange(frames)
    first, last = np.maximum(index - reach, 0), np.minimum(index + reach + 1, frames)
    return (sums[last] - sums[first]) / (last - first)


def _vicinity(points: np.ndarray, length: np.ndarray, reach: int) -> np.ndarray:
    """Shape of the path from `reach` points before to `reach` points after each of points (2, frames): (5,
    frames).

    Aspect (Δy − Δx) / (Δy + Δx) of its box, curliness (length over the longer side, − 2), linearity (mean
    squared distance from the chord), cosine and sine of the chord. length (frames,) of the steps that lead to
    the points.
    """
    last = points.shape[1] - 1
    index = np.arange(-reach, reach + 1)[:, None] + np.arange(last + 1)
    np.maximum(index, 0, out=index)
    np.minimum(index, last, out=index)
    window = points[:, index]  # (2, window, frames)
    wide, high = np.maximum.reduce(window, axis=1) - np.minimum.reduce(window, axis=1)
    path = np.add.accumulate(length)
    path = path[index[-1]] - path[index[0]]
    chord = _unit_vectors(window[:, -1] - window[:, 0])
    apart = window - window[:, :1]
    distance = apart[0] * chord[1] - apart[1] * chord[0]
    result = np.empty((5, last + 1))
    result[0] = (high - wide) / (high + wide + TINY)
    result[1] = np.minimum(path / (np.maximum(wide, high) + TINY), 6) - 2
    result[2] = np.minimum(np.add.reduce(distance * distance, axis=0) / len(index), 4)
    result[3:5] = chord
    return result


def _context(points: np.ndarray, inked: np.ndarray, width: float) -> np.ndarray:
    """Ink around each of points (2, frames), whenever it was written: (11, frames).

    The 3×3 context map (cells of BINS×BINS bins of this width in units, row by row), then the ink higher up
    and further down than the map, within its three columns: what the papers call ascenders and descenders,
    and what shows the hat (dot, bar) above a stem. Counts are compressed by the square root.
    """
    bins = np.minimum((points - points.min(axis=1, keepdims=True)) / width, MOST_BINS)
    x, y = bins.astype(np.int64) + MARGIN
    columns, rows = int(x.max()) + MARGIN + 1, int(y.max()) + MARGIN + 1
    place = y * columns + x
    counts = np.bincount(place[inked], minlength=rows * columns).reshape(rows, columns).astype(np.float32)
    np.add.accumulate(counts, axis=0, out=counts)
    np.add.accumulate(counts, axis=1, out=counts)  # now: ink above and left of each bin, and in it
    row = np.empty((6, 1, len(x)), dtype=np.int64)
    row[0] = 0
    row[1:5, 0] = (y + EDGES) * columns
    row[5] = (rows - 1) * columns
    corners = counts.ravel()[row + (x + EDGES)]  # (6, 4, frames)
    bands = corners[1:] - corners[:-1]
    cells = bands[:, 1:] - bands[:, :-1]  # (5, 3, frames)
    result = np.empty((11, len(x)))
    result[:9] = cells[1:4].reshape(9, -1)
    result[9] = bands[0, 3] - bands[0, 0]
    result[10] = bands[4, 3] - bands[4, 0]
    return np.sqrt(np.minimum(result, 16, out=result), out=result)
