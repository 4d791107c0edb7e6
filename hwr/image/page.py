"""Tells a picture of several lines of writing from one of a single line, which is what the models read.

A page is told by its connected pieces of ink, letters and parts of words: they stand above each other, and
their middles are spread over several times their height. Neither depends on the scale of the picture.
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from carousel.hwr.image.columns import DIM, MIN_CONTRAST

MOST_PIXELS = 400_000  # larger pictures are reduced to this before anything is measured
LONGEST = 12  # width / height; what is longer is no page: three lines of it would have 100 letters each
THICK = 15  # pixels of the reduced picture; what is thicker is no stroke
STRONG = 0.4  # of the darkest; what is darker counts as ink
LEAST_LETTER = 0.35  # of the median height of pieces, weighted by ink; what is smaller is a dot or grain
LEAST_HEIGHT = 4  # pixels of the reduced picture; what is lower is grain
LEAST_RULES = 6  # long thin lines: ruled paper, of which a single line has one or two
# 69 of the 70 whole pages of Copiste d'un jour are above these three (the other is an empty ruled sheet), and
# none of 17,161 single lines of six corpora, on which they were chosen. Of cuts of six lines out of the pages
# 131 of 132 are, of four 114 of 134, of three 56 of 138.
LEAST_PIECES = 8
LEAST_DEPTH = 3  # pieces above each other, at the columns where there are more of them than at most
LEAST_SPREAD = 2.5  # of the middles of pieces from top to bottom, in median heights
BUSY = 60  # per cent of the columns have no more pieces than those where the depth is measured


def is_page(grey: np.ndarray) -> bool:
    """Whether a grey picture (rows, columns) uint8 shows several lines of writing."""
    rows, columns = grey.shape
    if columns > LONGEST * rows:
        return False
    factor = min(int(np.ceil(np.sqrt(grey.size / MOST_PIXELS))), rows, columns)
    if factor > 1:
        grey = np.asarray(Image.fromarray(grey).reduce(factor))
    boxes, areas = _pieces(_ink(grey))
    heights, widths = (boxes[:, 1::2] - boxes[:, ::2]).T
    if np.count_nonzero((widths > grey.shape[1] / 2) & (widths > 20 * heights)) >= LEAST_RULES:
        return True
    letters = heights >= LEAST_HEIGHT
    boxes, areas, heights = boxes[letters], areas[letters], heights[letters]
    if len(boxes) < LEAST_PIECES:
        return False
    height = _quantiles(heights, areas, 0.5)[0]
    letters = heights > LEAST_LETTER * height
    boxes, areas = boxes[letters], areas[letters]
    if len(boxes) < LEAST_PIECES or min(_depth(boxes[:, 2:]), _depth(boxes[:, :2])) < LEAST_DEPTH:
        return False
    top, bottom = _quantiles((boxes[:, 0] + boxes[:, 1]) / 2, areas, 0.1, 0.9)
    return bool(bottom - top > LEAST_SPREAD * height)


def _ink(grey: np.ndarray) -> np.ndarray:
    """Where a grey picture (rows, columns) uint8 has thin strokes, bool, dark on light or light on dark.

    Shade and black edges are wider than strokes, so that a closing takes them for paper."""
    size = (min(THICK, *grey.shape) - 1) // 2 * 2 + 1
    picture = 255 - grey if is_light_on_dark(grey, size) else grey
    paper = ndimage.grey_closing(picture, size)
    dark = (paper - picture.astype(np.float32)) / np.maximum(paper, DIM)
    usual, darkest = np.quantile(dark, (0.5, 0.998))
    return dark > usual + STRONG * max(darkest - usual, MIN_CONTRAST)


def is_light_on_dark(grey: np.ndarray, size: int = THICK) -> bool:
    """Whether strokes are lighter than paper: in squares of this size the median is nearer to the darkest."""
    rows, columns = (side // size * size for side in grey.shape)
    squares = grey[:rows, :columns].reshape(rows // size, size, columns // size, size).swapaxes(1, 2)
    places = [size * size * share // 20 for share in (1, 10, 19)]
    ranked = np.partition(squares.reshape(-1, size * size), places, axis=1)
    low, middle, high = ranked[:, places].T.astype(int)
    return bool(np.sum(high + low - 2 * middle) > 0)


def _pieces(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Top, bottom, left and right (n, 4) and pixels (n,) of each connected piece of ink (rows, columns) bool.

    What touches an edge, and frames around the whole, are left out."""
    labels, _ = ndimage.label(ink, structure=np.ones((3, 3)))
    found = [(y.start, y.stop, x.start, x.stop) for y, x in ndimage.find_objects(labels)]
    boxes = np.array(found, dtype=np.int64).reshape(-1, 4)
    sides = boxes[:, 1::2] - boxes[:, ::2]
    within = (boxes[:, ::2] > 0).all(axis=1) & (boxes[:, 1::2] < ink.shape).all(axis=1)
    inside = within & (2 * sides <= ink.shape).any(axis=1)
    return boxes[inside], np.bincount(labels.ravel())[1:][inside]


def _quantiles(values: np.ndarray, weights: np.ndarray, *shares: float) -> list[float]:
    """Quantiles of values (n,), each counted by its weight."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return [float(values[order][np.searchsorted(total, share * total[-1])]) for share in shares]


def _depth(sides: np.ndarray) -> float:
    """How many pieces, of which left and right (n, 2) are given, stand above each other in a busy column."""
    depth = np.cumsum(np.bincount(sides[:, 0], minlength=sides.max() + 1) - np.bincount(sides[:, 1]))
    return float(np.percentile(depth[depth > 0], BUSY))
