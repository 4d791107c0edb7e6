"""Connected pieces of a page's ink: letters and words, told from grain, ruled lines, blots and print."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

LOW = 3  # pixels; what is lower is grain
TALL = 4  # usual heights; what is higher, and a sixth of the page, is no letter
SOLID, BLOT = 0.7, 24  # of its box, pixels: a piece that is higher and fills more is no writing
STRAIGHT, LONG = 1.3, 24  # pixels: a piece that is longer and no thicker (a deviation) is a ruled line
SMALL = 0.6  # of the height of large letters; rows of nothing larger are the print of a form
PRINT = 25  # heights of letters: the length of such a row
EVEN = 0.25  # standard deviation of the heights of print; of handwriting it is more
LEAST_REST = 0.1  # of the ink that is left without print; otherwise it was none
USUAL_PITCH, PITCH_SPREAD = 1.75, 0.35  # heights of large letters, and the deviation of its logarithm


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
    usual = float(np.median(heights[heights >= LOW])) if (heights >= LOW).any() else 0.0
    letters = (heights >= LOW) & (heights < max(mask.shape[0] / 6, TALL * usual)) & (areas >= 6)
    at_edge = (boxes[:, ::2] == 0).any(axis=1) | (boxes[:, 1::2] == mask.shape).any(axis=1)
    letters &= ~at_edge | (heights < max(BLOT, 2 * usual))
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
    """Without the small print of a form: long rows of pieces, all much lower than large letters."""
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
    """Pixels from line to line: where strips' profiles are most like themselves, near the size of letters."""
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
