"""What lies around a line in its picture and is no paper: bars, frames, corners, shadows at the edges.

Image tools fill with black what they rotate into the picture or cut out of it; scanners add a lid, a gutter, the
shade of a page's edge. All of it reaches the border of the picture, and all of it would count as ink. Two kinds:

- The outside (`clear`): one flat shade up to a sharp boundary. Whole rows and columns of it are cut off, and the
  rest (wedges, the surroundings of a polygon) is filled with the paper beside it.
- A shadow (`lighten`): the same page with less light, by degrees or all at once. Its light is divided out.

Ink reaches the border too: descenders that the cut clips, long strokes. The outside is told from it by its
extent along the border: depths of the dark along each edge are profiles of one number a column, and an opening of
these (the deepest step that is at least as wide as asked for) takes out what is narrow. All steps work on such
profiles, so that a line of 64 x 900 pixels takes well below a millisecond, and a picture without dark edges
comes back as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

SOLID = 0.2  # of the height: what is dark over so much both ways is no stroke
NEAR = 0.35  # share of the way from the outside's grey to the paper's: still outside
STEP, SETTLED = 0.3, 0.08  # shares of it: the least step over a sharp boundary (two pixels), the most on paper
RIM = 0.125  # of the height: the boundary is looked for so far beyond what is surely outside
FLAT = 0.15  # of the way from the outside's grey to the paper's
SHARP = 0.5  # of the boundary: so much has to be sharp
CONTRAST = 40  # grey levels from the outside to the paper
WHOLE = 0.97  # of an edge: a full-height stroke at the left or right would have to reach as far
PAPER_SHARE = 0.5  # of what is left: writing light on dark leaves less of the light
ROUNDS = 3  # a bar beside another bar, the ends of wedges


@dataclass(frozen=True, slots=True)
class Inside:
    """A picture without its outside: grey (rows, columns) uint8, where its corner was, the height of its line."""

    grey: np.ndarray
    left: int = 0
    top: int = 0
    height: float = 0.0


def clear(grey: np.ndarray) -> Inside:
    inside = Inside(grey, height=len(grey))
    for turn in range(ROUNDS):
        found = _clear_shade(inside, turn > 0)
        if found is None:
            break
        inside = found
    return inside


def _clear_shade(inside: Inside, known: bool) -> Inside | None:
    grey = inside.grey
    step = max(1, len(grey) // 32)
    middle = grey[len(grey) // 4 : -(len(grey) // 4) or None : step, ::step]
    dark, light = np.percentile(middle, (40, 60))
    mask = _outside(grey, light, inside.height, known)
    if mask is not None:
        return _without(inside, mask)
    if light >= 128:
        return None
    turned = replace(inside, grey=255 - grey)
    mask = _outside(turned.grey, 255 - dark, inside.height, known)
    if mask is None:
        return None
    turned = _without(turned, mask)
    return replace(turned, grey=255 - turned.grey)


def _outside(grey: np.ndarray, paper: float, height: float, known: bool) -> np.ndarray | None:
    rows, columns = grey.shape
    solid = max(3, round(SOLID * height))
    if rows < 8 or columns < 8:
        return None
    turns = (grey, grey[::-1], grey.T, grey.T[::-1])
    shades = [float(np.percentile(turn[0], 20)) for turn in turns]
    shade = min(shades)
    if paper - shade < CONTRAST:
        return None
    depths = []
    for i, turn in enumerate(turns):
        if i < 2:
            long = min(height / 2 if known else height, 0.9 * columns)
        else:
            long = (0.85 if known else WHOLE) * min(rows, height)
        depths.append(_depth(turn, shade, paper, solid, long))
    if not any(depth.any() for depth in depths):
        return None
    y, x = np.arange(rows)[:, None], np.arange(columns)
    top, bottom, left, right = depths
    mask = (y < top) | (y >= rows - bottom) | (x < left[:, None]) | (x >= columns - right[:, None])
    return mask if _is_outside(grey, mask, shade, paper) else None


def _depth(grey: np.ndarray, shade: float, paper: float, solid: int, long: float) -> np.ndarray:
    """How far the outside reaches down from the upper edge in each column, (columns,) pixels."""
    rows, columns = grey.shape
    light = grey > shade + NEAR * (paper - shade)
    if light[0].mean() > 1 - min(solid, columns) / columns / 2:
        return np.zeros(columns, int)
    depth = np.where(light.any(axis=0), light.argmax(axis=0), rows)
    depth = ndimage.grey_closing(depth, 3, mode="nearest")
    depth = ndimage.grey_opening(depth, min(solid, columns), mode="nearest")
    if not depth.any():
        return depth
    reach = max(4, round(RIM * solid / SOLID))
    at = np.minimum(depth + np.arange(-1, reach)[:, None], rows - 1)  # (reach + 1, columns)
    beyond = np.take_along_axis(grey, np.maximum(at, 0), axis=0).astype(np.int16)
    step = (beyond[2:] - beyond[:-2]) / (paper - shade)  # (reach - 1, columns)
    soft = step.max(axis=0) < STEP
    settled = np.diff(beyond, axis=0)[1:] < SETTLED * (paper - shade)
    settled &= np.arange(reach - 1)[:, None] >= step.argmax(axis=0)
    rim = np.where(soft, reach, settled.argmax(axis=0))
    rim = ndimage.percentile_filter(rim, 30, size=min(solid, columns), mode="nearest")
    labels, count = ndimage.label(depth)
    for run in range(1, count + 1):
        here = np.flatnonzero(labels == run)
        corner = known and (here[0] == 0 or here[-1] == columns - 1)
        short = len(here) < (solid if corner else long) and depth[here].max() < solid
        slope = np.median(grey[np.maximum(depth[here] - 2, 0), here]) - np.median(grey[0, here])
        if short or soft[here].mean() > 1 - SHARP or abs(slope) > FLAT * (paper - shade):
            depth[here] = 0
    return np.where(depth > 0, np.minimum(depth + rim + 1, rows), 0)


def _is_outside(grey: np.ndarray, mask: np.ndarray, shade: float, paper: float) -> bool:
    """Whether what is masked is flat, and what is not is mostly paper."""
    rest = grey[~mask]
    if rest.size == 0 or np.mean(rest > (shade + paper) / 2) < PAPER_SHARE:
        return False
    core = grey[mask]
    middle, upper = np.percentile(core, (50, 84))
    darker = np.mean(core < middle - max(12, 0.25 * middle, 3 * (upper - middle)))
    return not 0.01 < darker < 0.4


def _without(inside: Inside, mask: np.ndarray) -> Inside:
    keep_rows, keep_columns = np.flatnonzero(~mask.all(axis=1)), np.flatnonzero(~mask.all(axis=0))
    cut = (slice(keep_rows[0], keep_rows[-1] + 1), slice(keep_columns[0], keep_columns[-1] + 1))
    grey, mask = inside.grey[cut], mask[cut]
    heights = (~mask).sum(axis=0)
    if mask.any():
        grey = np.where(mask, _paper_beside(grey, mask), grey)
    return Inside(
        grey, inside.left + int(keep_columns[0]), inside.top + int(keep_rows[0]), float(np.percentile(heights, 95))
    )


BLOCK = 4


def _paper_beside(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The grey of the paper nearest to each pixel, (rows, columns) uint8."""
    known = np.asarray(Image.fromarray(np.where(mask, 0, 255).astype(np.uint8)).reduce(BLOCK)) == 255
    coarse = np.where(known, np.asarray(Image.fromarray(grey).reduce(BLOCK)), 0)
    if not known.any():
        return np.full(grey.shape, np.median(grey[~mask]), np.uint8)
    size = max(3, coarse.shape[0] // 2)
    coarse = ndimage.maximum_filter(coarse, size, mode="nearest")
    nearest = ndimage.distance_transform_edt(coarse == 0, return_distances=False, return_indices=True)
    coarse = coarse[tuple(nearest)].astype(np.uint8)
    shape = (grey.shape[1], grey.shape[0])
    return np.asarray(Image.fromarray(coarse).resize(shape, Image.Resampling.BILINEAR))


def lighten(grey: np.ndarray) -> np.ndarray:
    rows, columns = grey.shape
    across = max(1, min(8, rows // 8))
    picture = Image.fromarray(grey)
    for box, axis in (((across, 1), 0), ((1, across), 1)):
        strip = np.asarray(picture.reduce(box))  # pixels as high (or wide) as they were, paper of a window along it
        size = [1, 1]
        size[1 - axis] = max(3, (2 if axis == 0 else 1) * rows // across)
        strip = ndimage.grey_closing(strip, size, mode="nearest").astype(np.float32)
        first = np.maximum.accumulate(strip, axis)
        last = np.flip(np.maximum.accumulate(np.flip(strip, axis), axis), axis)
        whole = strip.max(axis, keepdims=True)
        gain = np.minimum(first, last) / np.maximum(whole, 1)
        if gain.min() > SHADOW:
            continue
        field = Image.fromarray(np.maximum(gain, FAINTEST)).resize(picture.size, Image.Resampling.BILINEAR)
        lit = np.asarray(picture) / np.asarray(field)
        picture = Image.fromarray(np.minimum(np.rint(lit), 255).astype(np.uint8))
    return np.asarray(picture)


SHADOW = 0.8
FAINTEST = 0.1
