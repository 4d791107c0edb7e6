"""UNIPEN text: pen strokes, and the segments that tell which of them are a word or a line.

I. Guyon et al., "UNIPEN project of on-line data exchange and recognizer benchmarks", ICPR 1994. Each
.PEN_DOWN and each .PEN_UP is a component; they are counted from 0. UNIPEN's y grows upwards, so it is
negated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from carousel.common.errors import InputError

SEGMENT = re.compile(r'\.SEGMENT\s+(\S+)(?:\s+([\d:,\-]+|\?))?(?:\s+[A-Z?]+)?\s+"(.*)"\s*$')
DEEPEST = 4  # files that include files


class Segment(NamedTuple):
    kind: str  # WORD, CHARACTER, …
    where: str  # its components: `0-5`, `0:3-2:10`, `1,4`, or nothing for those that follow
    text: str
    at: int  # components before it


@dataclass
class Unipen:
    """The components of a file, empty where the pen is up, and what is told of them."""

    components: list[list[tuple[float, float]]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    writer: str | None = None
    columns: tuple[int, int] = (0, 1)  # of x and y among the numbers of a point

    def strokes(self) -> list[np.ndarray]:
        return [np.array(points) for points in self.components if points]

    def ink(self, number: int) -> list[np.ndarray]:
        """The strokes of a segment. Raises InputError for components that are not there."""
        segment = self.segments[number]
        if segment.where in ("", "?"):
            later = [other.at for other in self.segments[number + 1 :] if other.kind == segment.kind]
            parts = self.components[segment.at : later[0] if later else None]
        else:
            parts = [points for span in segment.where.split(",") for points in self._span(span)]
        return [np.array(points) for points in parts if points]

    def _span(self, span: str) -> list[list[tuple[float, float]]]:
        """`3`, `0-5` or `0:3-2:10`, from a point of a component to a point of another, both inclusive."""
        first, _, last = span.partition("-")
        try:
            (start, begin), (stop, end) = _place(first), _place(last or first)
            parts = [list(points) for points in self.components[start : stop + 1]]
            if len(parts) != stop - start + 1 or not parts:
                raise ValueError
        except ValueError:
            raise InputError(f"has a segment of the components {span}, which are not in it") from None
        parts[-1] = parts[-1] if end is None else parts[-1][: end + 1]
        parts[0] = parts[0][begin or 0 :]
        return parts


def _place(text: str) -> tuple[int, int | None]:
    component, _, point = text.partition(":")
    return int(component), int(point) if point else None


def read_unipen(
    text: str, include: Callable[[str], str] | None = None, found: Unipen | None = None, depth: int = 0
) -> Unipen:
    """What a file says. include: gives the text of a file that .INCLUDE names.

    Raises InputError for a line that is not a point.
    """
    found = found or Unipen()
    drawing = False
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        key = words[0] if words else ""
        if key in (".PEN_DOWN", ".PEN_UP"):
            found.components.append([])
            drawing, words = key == ".PEN_DOWN", words[1:]  # a point may stand on the same line
        elif key == ".COORD":
            if "X" not in words or "Y" not in words:
                raise InputError(f"line {number}: .COORD lacks X or Y; export it again")
            found.columns = words.index("X") - 1, words.index("Y") - 1
        elif key == ".SEGMENT" and (match := SEGMENT.match(line.strip())):
            found.segments.append(Segment(match[1], match[2] or "", match[3], len(found.components)))
        elif key == ".WRITER_ID" and len(words) > 1:
            found.writer = words[1]
        elif key == ".INCLUDE" and len(words) > 1 and include is not None and depth < DEEPEST:
            read_unipen(include(words[1]), include, found, depth + 1)
        if words and words[0].startswith("."):
            drawing = drawing and words[0] == ".DT"
            continue
        if drawing and words:
            x, y = found.columns
            try:
                found.components[-1].append((float(words[x]), -float(words[y])))
            except (ValueError, IndexError):
                said = " ".join(words)[:60]
                raise InputError(f"line {number} is not a point of a pen stroke: {said!r}") from None
    return found


def parse_unipen(text: str) -> list[np.ndarray]:
    """All strokes (points, 2) of UNIPEN text. Raises InputError for a line that is not a point."""
    return read_unipen(text).strokes()
