"""What is ink on a page: paper told from what lies around it, shade divided out, ruling taken away.

All is measured on a picture of about a million pixels, on which lines of writing are 15 to 60 pixels apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from carousel.hwr.image.columns import DIM, MIN_CONTRAST
from carousel.hwr.image.page import is_light_on_dark

PIXELS = 800_000  # of the picture that is measured
BLOCK = 4  # pixels: the paper's brightness is looked for on a grid of this step
STROKE = 5  # blocks; what is wider is shade, not ink
COARSE = 8  # pixels: the outside is looked for on a grid of this step
JUMP = 0.3  # of the brightness, from one block to the next: the edge of the paper
DARKEST = 0.48  # of the brightest around; what is darker is no paper even in the shade
OUTSIDE = 0.75  # of the paper's mean brightness; what lies around it is darker on the whole
RIM = 8  # pixels inside the paper's edge that are left out: its shadow
LEAST_PAPER = 0.25  # of the picture
GRAIN = 5.0  # ink is this many times darker than the paper's own grain
PART = 0.45  # of the usual darkness of ink around; what is darker is ink
AROUND = 40  # pixels, standard deviation of that surrounding
RULE = 40  # pixels: straight ink of this length is a ruled line
THIN = 4  # pixels; ruled lines are no thicker


@dataclass(frozen=True)
class Ink:
    """Ink of a page at a reduced size."""

    mask: np.ndarray  # (rows, columns) bool
    inside: np.ndarray  # (rows, columns) bool: paper, not what lies around it
    factor: int  # pixels of the picture to a pixel of the mask


def page_ink(grey: np.ndarray) -> Ink:
    """Where a page (rows, columns) uint8 is written on, dark on light or light on dark."""
    factor = min(max(1, round(math.sqrt(grey.size / PIXELS))), *grey.shape)
    small = np.asarray(Image.fromarray(grey).reduce(factor))
    inside = _paper_mask(small)
    if is_light_on_dark(small):
        small = 255 - small
        inside = np.ones(small.shape, dtype=bool)
    dark = darkness(small)
    lighter = dark[inside][::7]
    grain = np.median(np.abs(lighter - np.median(lighter))) / 0.674
    least = max(GRAIN * grain, MIN_CONTRAST)
    some = np.where((dark > least) & inside, dark, 0)
    level = _blurred(some) / np.maximum(_blurred((some > 0).astype(np.float32)), 1e-3)
    mask = inside & (dark > np.maximum(PART * level, least))
    return Ink(mask, inside, factor)


def darkness(grey: np.ndarray) -> np.ndarray:
    """The share of the light that the paper around reflects and a pixel does not, (rows, columns) float32."""
    lightest = Image.fromarray(grey).reduce(BLOCK)
    closed = ndimage.grey_closing(np.asarray(lightest), STROKE * 2 + 1, mode="nearest")
    closed = ndimage.uniform_filter(closed.astype(np.float32), STROKE, mode="nearest")
    rows, columns = grey.shape
    paper = np.asarray(Image.fromarray(closed).resize((columns, rows), Image.Resampling.BILINEAR))
    return (paper - grey) / np.maximum(paper, DIM)


def _blurred(values: np.ndarray) -> np.ndarray:
    """As of a Gaussian AROUND wide, from block means."""
    rows, columns = values.shape
    coarse = np.asarray(Image.fromarray(values).reduce(COARSE))
    coarse = ndimage.gaussian_filter(coarse, AROUND / COARSE, mode="nearest")
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BILINEAR))


def _paper_mask(grey: np.ndarray) -> np.ndarray:
    """Where the paper is, (rows, columns) bool: all, or what is light up to a sharp edge all around it.

    Light that falls off over the page falls off slowly, so that the paper is told by where its brightness
    jumps and not by how bright it is."""
    everything = np.ones(grey.shape, dtype=bool)
    coarse = np.asarray(Image.fromarray(grey).reduce(COARSE)).astype(np.float32)
    if min(coarse.shape) < 8:
        return everything
    light = ndimage.grey_closing(coarse, 5, mode="nearest")  # without writing
    low, high = (f(light, 3, mode="nearest") for f in (ndimage.minimum_filter, ndimage.maximum_filter))
    around = ndimage.maximum_filter(light, min(light.shape) // 4, mode="nearest")
    even = (high - low < JUMP * high) & (light > DARKEST * around)
    labels, count = ndimage.label(even)
    if count == 0:
        return everything
    weights = np.bincount(labels.ravel(), weights=light.ravel())[1:]
    page = ndimage.binary_fill_holes(labels == 1 + weights.argmax())
    opened = ndimage.maximum_filter(ndimage.minimum_filter(page, 5, mode="nearest"), 5, mode="nearest")
    if not LEAST_PAPER < opened.mean() < 1 or light[~page].mean() > OUTSIDE * light[page].mean():
        return everything
    picture = Image.fromarray(opened.astype(np.uint8) * 255)
    rows, columns = grey.shape
    inside = np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR)) > 128
    return ndimage.minimum_filter(inside, 2 * RIM + 1, mode="nearest")


def without_rules(mask: np.ndarray) -> np.ndarray:
    """Ink (rows, columns) bool without thin straight runs along the rows, where no stroke crosses them."""
    thick = ndimage.maximum_filter1d(ndimage.minimum_filter1d(mask, THIN + 1, axis=0), THIN + 1, axis=0)
    thin = mask & ~thick
    near = ndimage.maximum_filter1d(thin, 3, axis=0)
    near = ndimage.minimum_filter1d(ndimage.maximum_filter1d(near, 5, axis=1), 5, axis=1)
    runs = ndimage.maximum_filter1d(ndimage.minimum_filter1d(near, RULE, axis=1), RULE, axis=1)
    return mask & ~(thin & runs)
