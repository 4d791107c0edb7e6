"""Stray points: what a pen or a driver sets far off the writing, such as (0, 0) before the first point.

One of them would set the size and the place of all the rest. Points are stray where they are few, close
together and further from the writing than any dot, comma or word of it: of 14,105 samples of UNIPEN and of
pendigits, on which the limits were chosen, none has any.
"""

from collections.abc import Sequence

import numpy as np

FAR, WIDE = 6.0, 0.5  # heights of the writing (its middle 80 % of points), or widths if that is more
TINY = 0.5  # heights: what is larger is writing, wherever it stands
FEW = 0.1  # of all points, or LEAST_FEW
LEAST_FEW = 3
LEAST_POINTS = 8  # with fewer nothing is sure


def without_strays(strokes: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Strokes (points, 2) without stray points; where these leave no point, without the stroke."""
    count = sum(map(len, strokes))
    if count < LEAST_POINTS:
        return strokes
    points = np.concatenate(strokes)
    ranked = np.sort(points, axis=0)
    low, high = ranked[count // 10], ranked[-1 - count // 10]
    width, height = high - low
    far = max(FAR * height, WIDE * width)
    if (ranked[-1] - high <= far / 2).all() and (low - ranked[0] <= far / 2).all():
        return strokes  # nothing is far off
    stroke_of = np.repeat(np.arange(len(strokes)), [len(stroke) for stroke in strokes])
    step = points[1:] - points[:-1]
    apart = (np.hypot(step[:, 0], step[:, 1]) > far) | (stroke_of[1:] != stroke_of[:-1])
    pieces = np.split(np.arange(count), np.flatnonzero(apart) + 1)
    tiny = [_is_tiny(points[piece], count, height) for piece in pieces]
    if all(tiny):
        return strokes
    writing = points[np.concatenate([piece for piece, small in zip(pieces, tiny, strict=True) if not small])]
    keep = np.ones(count, dtype=bool)
    for piece, small in zip(pieces, tiny, strict=True):
        if small:
            away = writing - points[piece[0]]
            keep[piece] = np.hypot(away[:, 0], away[:, 1]).min() <= far
    return [points[keep & (stroke_of == number)] for number in np.unique(stroke_of[keep])]


def _is_tiny(piece: np.ndarray, count: int, height: float) -> bool:
    return len(piece) <= max(FEW * count, LEAST_FEW) and bool((np.ptp(piece, axis=0) <= TINY * height).all())
