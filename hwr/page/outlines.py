"""Baselines of lines of which only polygons are known, and polygons of those of which only baselines are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from carousel.common.data.manifest import Sample, as_points
from carousel.common.errors import InputError
from carousel.hwr.page.layout import Line

BELOW = 0.25  # of a line's height is below its baseline
SAMPLES = 16  # columns at which a polygon's height is measured
LINE_SPACE = 0.04  # of a baseline's length: the height of a line that stands alone


def of_box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The four corners (4, 2) of a box."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


class Drawn(NamedTuple):
    """What a file tells of a line; each may lack."""

    baseline: np.ndarray | None  # (points, 2)
    polygon: np.ndarray | None  # (points, 2)
    text: str | None = None
    id: str | None = None


def completed(lines: Sequence[Drawn]) -> tuple[Line, ...]:
    """The lines with what they lack, float32; those with neither baseline nor polygon are left out."""
    baselines = [line.baseline for line in lines if line.baseline is not None and len(line.baseline) > 1]
    space = _spacing(baselines)
    found = []
    for baseline, polygon, text, name in lines:
        if polygon is not None and len(polygon) < 3:
            polygon = None
        if baseline is None or len(baseline) < 2:
            if polygon is None:
                continue
            baseline = below(polygon)
        if polygon is None:
            polygon = around(baseline, space)
        found.append(Line(baseline.astype(np.float32), polygon.astype(np.float32), text, name))
    return tuple(found)


def line_of(sample: Sample) -> Line:
    """The line of a page that a sample of a manifest is, in pixels of its picture. Raises InputError."""
    baseline, polygon = _given(sample, "baseline"), _given(sample, "polygon")
    drawn = completed([Drawn(baseline, polygon, sample.text)])
    if not drawn:
        raise InputError('its "baseline" needs two points, or its "polygon" three; draw the line again')
    return drawn[0]


def _given(sample: Sample, key: str) -> np.ndarray | None:
    row = sample.extra.get(key)
    if row is None:
        return None
    try:
        return as_points(row, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f'its "{key}" is not a list of points, [[x, y], …] in pixels of the picture'
        ) from None


def below(polygon: np.ndarray) -> np.ndarray:
    """A straight baseline (2, 2) of a polygon (n, 2): a quarter of its height above its lower edge."""
    left, right = polygon[:, 0].min(), polygon[:, 0].max()
    at = left + (right - left) * (np.arange(SAMPLES) + 0.5) / SAMPLES
    start, end = polygon, np.roll(polygon, -1, axis=0)
    width = end[:, 0] - start[:, 0]
    share = (at[:, None] - start[:, 0]) / np.where(width == 0, np.inf, width)  # (samples, edges)
    crosses = (width != 0) & (share >= 0) & (share <= 1)
    y = start[:, 1] + share * (end[:, 1] - start[:, 1])
    upper = np.where(crosses, y, np.inf).min(axis=1)
    lower = np.where(crosses, y, -np.inf).max(axis=1)
    if not np.isfinite(upper).all():  # a polygon without width
        return np.array([[left, polygon[:, 1].max()], [right, polygon[:, 1].max()]])
    slope, middle = np.polyfit(at, (upper + lower) / 2, 1)
    down = (0.5 - BELOW) * float((lower - upper).mean())
    return np.array([[x, slope * x + middle + down] for x in (left, right)])


def around(baseline: np.ndarray, space: float | None) -> np.ndarray:
    """A polygon (2 n, 2) around a baseline (n, 2). space: from one line to the next, where it is known."""
    ahead = baseline[-1] - baseline[0]
    length = float(np.hypot(*ahead))
    height = LINE_SPACE * length if space is None else space
    down = np.array([-ahead[1], ahead[0]]) / max(length, 1e-9)
    upper, lower = baseline - (1 - BELOW) * height * down, baseline + BELOW * height * down
    return np.concatenate([upper, lower[::-1]])


def _spacing(baselines: Sequence[np.ndarray]) -> float | None:
    """The median distance from a baseline's middle to the nearest other one's."""
    if len(baselines) < 2:
        return None
    middles = np.array([line.mean(axis=0) for line in baselines])
    gaps = np.hypot(*(middles[:, None] - middles).transpose(2, 0, 1))
    np.fill_diagonal(gaps, np.inf)
    return float(np.median(gaps.min(axis=1))) or None
