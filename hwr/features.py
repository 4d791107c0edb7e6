"""Features of handwriting, whichever its kind: line images or pen strokes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from carousel.common.errors import InputError
from carousel.hwr.ink import features as ink_features

# A file cannot ask for more: steps so small, or lines so long, that they fill the memory.
LEAST = {"height": 1, "spread": 0.01, "spacing": 0.01, "pen_up_spacing": 0.01, "context_cell": 0.01}
MOST = 1000


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
        _check(settings, ink_features.DEFAULTS)
        return ink_features.size(settings)
    from carousel.hwr.image import columns as image

    _check(settings, image.DEFAULTS)
    return image.size(dict(settings))


def _check(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key == "kind":
            continue
        if key not in defaults:
            raise InputError(f"features have no {key}; there are {', '.join(defaults)}")
        flag = isinstance(defaults[key], bool)
        least = LEAST.get(key, 0)
        if isinstance(value, bool) != flag or not (flag or _is_number(value, least)):
            wanted = "true or false" if flag else f"a number of at least {least} and at most {MOST}"
            raise InputError(f"features.{key} is {value!r}; it should be {wanted}")


def _is_number(value: Any, least: float) -> bool:
    return isinstance(value, int | float) and least <= value <= MOST


def _kind(settings: Mapping[str, Any]) -> str:
    kind = settings.get("kind")
    if kind not in ("ink", "image"):
        raise InputError(f'features.kind is {kind!r}; handwriting has the kinds "ink" and "image"')
    return kind
