"""Pen strokes as an input: all but how they are read is as of hwr.line."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from carousel.hwr.line import Writing, prepare, read, size, without_rests

__all__ = ["open", "prepare", "read", "size", "without_rests"]


def open(source: Any) -> Iterator[Writing]:
    """The ink of a file, or strokes (points, 2) each."""
    from carousel.hwr.ink.file import read_ink

    yield Writing(partial(list, source) if isinstance(source, list | tuple) else partial(read_ink, source))
