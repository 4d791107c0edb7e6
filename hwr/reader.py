"""The one way from a sample of a manifest to what the network sees; training calls it for every line."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.data.manifest import Sample
from carousel.common.errors import InputError, named
from carousel.common.settings.features import LineImage
from carousel.hwr.features import extract
from carousel.hwr.ink.augment import augment_ink


def read(
    sample: Sample,
    features: Mapping[str, Any],
    augment: Mapping[str, Any] | None = None,
    rng: np.random.Generator | None = None,
    cache: dict[Any, np.ndarray] | None = None,
) -> np.ndarray:
    """Features (frames, size) float32 of the sample's line.

    features, augment: settings (common.settings); without `rng` nothing is varied, and with the
    same generator state the result is the same. Where the features are of images and the sample has strokes,
    these are drawn (hwr/ink/render.py); in training the hand then varies by `augment["ink"]`, pen and paper
    by `augment["render"]` (settings over the defaults; null: not at all). cache: keeps decoded pictures,
    path (and place in the manifest, of a line of a page) -> uint8 (rows, columns).
    Raises InputError naming the file, or the manifest's line where no file is named.
    """
    try:
        source = (
            _strokes(sample, augment, rng)
            if features["kind"] == "ink"
            else _grey(sample, features, augment, rng, cache)
        )
        return extract(source, features)[0]
    except InputError as error:
        raise InputError(named(str(error), str(sample.image or sample.where))) from None


def _strokes(
    sample: Sample, augment: Mapping[str, Any] | None, rng: np.random.Generator | None
) -> list[np.ndarray]:
    if sample.strokes is None:
        raise InputError(
            'has no "strokes", so a model for pen strokes cannot read it: use a model for images'
        )
    return augment_ink(sample.strokes, augment, rng) if augment and rng is not None else sample.strokes


def _grey(
    sample: Sample,
    features: Mapping[str, Any],
    augment: Mapping[str, Any] | None,
    rng: np.random.Generator | None,
    cache: dict[Any, np.ndarray] | None,
) -> np.ndarray:
    """Grey picture (rows, columns) uint8 of the sample, varied if there is `rng`."""
    if sample.strokes is not None:
        grey = _drawn(sample.strokes, features.get("height", LineImage.height), augment, rng)
    elif sample.image is not None:
        grey = _picture(sample, sample.image, cache)
    else:
        raise InputError('has neither "image" nor "strokes", so it cannot be read as handwriting')
    if rng is None or not augment:
        return grey
    from carousel.hwr.image.augment import augment_image

    return augment_image(grey, augment, rng)


def grey(sample: Sample) -> np.ndarray:
    """Picture (rows, columns) uint8 of the sample's line as it is, of pen strokes a plain drawing. Raises
    InputError."""
    return _grey(sample, {}, None, None, None)


def _drawn(
    strokes: list[np.ndarray], height: int, augment: Mapping[str, Any] | None, rng: np.random.Generator | None
) -> np.ndarray:
    from carousel.hwr.ink.render import render

    if rng is None or not augment:
        return render(strokes, height)
    hand, pen = augment.get("ink", {}), augment.get("render", {})
    if hand is not None:
        strokes = augment_ink(strokes, hand, rng)
    return render(strokes, height) if pen is None else render(strokes, height, rng, **pen)


def _picture(sample: Sample, path: Path, cache: dict[Any, np.ndarray] | None) -> np.ndarray:
    """The sample's picture, or the line of a page that it is."""
    from carousel.hwr.image.columns import read_image  # late: Pillow and SciPy, which ink does without
    from carousel.hwr.page.cut import cut
    from carousel.hwr.page.outlines import line_of

    key = (path, sample.where) if sample.of_page else path
    grey = None if cache is None else cache.get(key)
    if grey is None:
        grey = cut(page_picture(path), line_of(sample)) if sample.of_page else read_image(path)
        if cache is not None:
            cache[key] = grey  # a full cache does not keep it
    return grey


def page_picture(path: Path) -> np.ndarray:
    """The picture of a page (rows, columns) uint8, which is read once for lines that follow each other."""
    return _read_page(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=2)
def _read_page(path: Path, changed: int) -> np.ndarray:
    """changed: when the file was written, so that a new one is read again."""
    from carousel.hwr.image.columns import read_image

    return read_image(path)
