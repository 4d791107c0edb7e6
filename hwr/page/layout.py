"""Where the text lines of a page are. All coordinates are pixels of the original picture, y downwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Line:
    """A line of text: what it stands on, and what it is in."""

    baseline: np.ndarray  # (points, 2) float32 x, y, from the first letter to the last
    polygon: np.ndarray  # (points, 2) float32 x, y, around the ink
    text: str | None = None  # None: not known
    id: str | None = None  # of the file that the line is from

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the polygon."""
        (left, top), (right, bottom) = self.polygon.min(axis=0), self.polygon.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


@dataclass(frozen=True)
class Page:
    """A picture and its lines."""

    width: int  # pixels
    height: int
    lines: tuple[Line, ...]  # in reading order
    image: Path | None = None
    angle: float = 0.0  # degrees by which the picture has to be turned clockwise to be upright
