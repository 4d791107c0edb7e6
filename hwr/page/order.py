"""The order in which the lines of a page are read: columns from the left, and lines from the top in each.

As in recursive XY-cuts (Nagy & Seth 1984), but what is cut first is a gutter, an upright gap that goes past
several lines on both of its sides. Lines of which a few stand beside each other are parts of one row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carousel.hwr.page.layout import Line

COLUMN = 3  # lines: a column has at least so many beside a gutter
GUTTER = 0.5  # of a line's height: a gutter is at least so wide
SHARED = 0.5  # of the height of the lower of two columns, that stands beside the other
SAME_ROW = 0.4  # of a line's height: parts of a row differ by less


def reading_order(lines: Sequence[Line]) -> list[Line]:
    """The lines as they are read."""
    if not lines:
        return []
    boxes = np.array([line.box for line in lines])
    ends = np.array([[*line.baseline[0], *line.baseline[-1]] for line in lines])
    widths, rises = ends[:, 2] - ends[:, 0], ends[:, 3] - ends[:, 1]
    slope = rises.sum() / max(widths.sum(), 1.0)
    level = (ends[:, 1] + ends[:, 3]) / 2 - slope * (ends[:, 0] + ends[:, 2]) / 2
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    return [lines[i] for i in _ordered(np.argsort(level), boxes, level, height)]


def _ordered(rows: np.ndarray, boxes: np.ndarray, level: np.ndarray, height: float) -> list[int]:
    """The numbers of lines, given from the top down, as they are read."""
    beside = np.abs(level[rows][:, None] - level[rows]) < height
    apart = boxes[rows, 2][:, None] + GUTTER * height < boxes[rows, 0]
    if np.count_nonzero(beside & apart) >= COLUMN:
        for first in range(len(rows) - 2 * COLUMN + 1):
            for last in range(len(rows), first + 2 * COLUMN - 1, -1):
                left = _left_of_gutter(rows[first:last], boxes, level, height)
                if left is not None:
                    parts = rows[:first], rows[first:last][left], rows[first:last][~left], rows[last:]
                    return [i for part in parts for i in _ordered(part, boxes, level, height)]
    return _by_rows(rows, boxes, level, height)


def _left_of_gutter(
    rows: np.ndarray, boxes: np.ndarray, level: np.ndarray, height: float
) -> np.ndarray | None:
    """Which lines are left of a gutter that no line crosses, (n,) bool; None where there is none."""
    left, right = boxes[rows, 0], boxes[rows, 2]
    for edge in np.sort(right)[COLUMN - 1 : -COLUMN]:
        before = right <= edge
        if (left[~before] < edge + GUTTER * height).any() or np.count_nonzero(~before) < COLUMN:
            continue
        spans = [(level[rows[side]].min(), level[rows[side]].max()) for side in (before, ~before)]
        shared = min(spans[0][1], spans[1][1]) - max(spans[0][0], spans[1][0])
        if shared >= SHARED * min(end - start for start, end in spans):
            return before
    return None


def _by_rows(rows: np.ndarray, boxes: np.ndarray, level: np.ndarray, height: float) -> list[int]:
    """From the top down, what stands beside each other from the left."""
    found: list[list[int]] = []
    for i in rows.tolist():
        row = found[-1] if found else []
        if (
            row
            and level[i] - level[row[0]] < SAME_ROW * height
            and all(boxes[i, 0] >= boxes[j, 2] - height or boxes[i, 2] <= boxes[j, 0] + height for j in row)
        ):
            row.append(i)
        else:
            found.append([i])
    return [i for row in found for i in sorted(row, key=lambda i: boxes[i, 0])]
