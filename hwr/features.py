"""Features of handwriting, whichever its kind: line images or pen strokes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import InputError
from hwr import ink_features


def extract(
    source: np.ndarray | Sequence[np.ndarray], settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Features of one line.

    source: grey image (rows, columns) uint8 for kind "image", list of strokes (points, 2) for kind "ink".
    Returns features (frames, size) float32 and places (frames, 2) float32: x, y of each frame in the source.
    """
    if _kind(settings) == "ink":
        return ink_features.extract(list(source), settings)
    from hwr import image  # Pillow and SciPy, which ink does without

    return image.extract_image(np.asarray(source), dict(settings))


def size(settings: Mapping[str, Any]) -> int:
    """Number of features of one frame. Raises InputError for settings that cannot be."""
    if _kind(settings) == "ink":
        _check(settings, ink_features.DEFAULTS)
        return ink_features.size(settings)
    from hwr import image

    _check(settings, image.DEFAULTS)
    return image.size(dict(settings))


def _check(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key == "kind":
            continue
        if key not in defaults:
            raise InputError(f"features have no {key}; there are {', '.join(defaults)}")
        flag = isinstance(defaults[key], bool)
        if isinstance(value, bool) != flag or not (flag or _is_number(value)):
            wanted = "true or false" if flag else "a number of at least 0"
            raise InputError(f"features.{key} is {value!r}; it should be {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _kind(settings: Mapping[str, Any]) -> str:
    kind = settings.get("kind")
    if kind not in ("ink", "image"):
        raise InputError(f'features.kind is {kind!r}; handwriting has the kinds "ink" and "image"')
    return kind
