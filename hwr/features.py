"""Features of handwriting, whichever its kind: line images or pen strokes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from carousel.common.errors import InputError
from carousel.common.settings.features import LineImage, PenStrokes
from carousel.common.settings.field import check
from carousel.hwr.ink import features as ink_features


def extract(
    source: np.ndarray | Sequence[np.ndarray], settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Features of one line.

    source: grey image (rows, columns) uint8 for kind "image", list of strokes (points, 2) for kind "ink".
    Returns features (frames, size) float32 and places (frames, 2) float32: x, y of each frame in the source.
    """
    if _kind(settings) == "ink":
        return ink_features.extract(list(source), settings)
    from carousel.hwr.image import columns as image  # Pillow and SciPy, which ink does without

    return image.extract_image(np.asarray(source), dict(settings))


def size(settings: Mapping[str, Any]) -> int:
    """Number of features of one frame. Raises InputError for settings that cannot be."""
    if _kind(settings) == "ink":
        check(PenStrokes, settings, "features", partial=True)
        return ink_features.size(settings)
    from carousel.hwr.image import columns as image

    check(LineImage, settings, "features", partial=True)
    return image.size(dict(settings))


def _kind(settings: Mapping[str, Any]) -> str:
    kind = settings.get("kind")
    if kind not in ("ink", "image"):
        raise InputError(f'features.kind is {kind!r}; handwriting has the kinds "ink" and "image"')
    return kind
