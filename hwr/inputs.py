"""Handwriting as the commands take it: files of line pictures, of pages and of pen strokes to their items.

It has what common.domain.Work lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common.data.manifest import Sample
from carousel.common.errors import InputError
from carousel.hwr.domain import head_of, is_page_xml
from carousel.hwr.features import size
from carousel.hwr.line import Line, prepare
from carousel.hwr.reader import page_picture, read

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.domain import Item, Wanted
    from carousel.hwr.page.lines import PageLines

__all__ = ["length", "open", "read", "shown", "size", "without_rests"]

WIDEST_SHOWN, HIGHEST_SHOWN = 1400, 120  # pixels of a line on a page for people


def open(source: Any, domain: str, layout: str | None = None) -> Iterator[Item]:
    """The pages of a picture file, a page whose lines are known, or the ink of a file.

    Also a grey picture (rows, columns) uint8, strokes, or the line of a page that a sample of a manifest is.
    layout: whether pictures are a "page" or a "line" each (default: told by what they show).
    """

    def item(read: Callable[[], Any]) -> Callable[[dict[str, Any], Wanted], Line]:
        return lambda settings, wanted: prepare(read(), settings)

    if isinstance(source, np.ndarray):
        yield None, partial(_prepare_picture, lambda: source, layout)
    elif isinstance(source, list | tuple):
        yield None, item(lambda: source)
    elif isinstance(source, Sample):
        yield None, partial(_prepare_sample, source)
    elif domain == "ink":
        from carousel.hwr.ink.file import read_ink

        yield None, item(partial(read_ink, source))
    elif is_page_xml(head_of(source)):
        yield None, partial(_prepare_file, source)
    else:
        from carousel.hwr.image.file import read_pages

        for page, read_page in read_pages(source):
            yield page, partial(_prepare_picture, read_page, layout)


def _prepare_picture(
    read: Callable[[], np.ndarray], layout: str | None, settings: dict[str, Any], wanted: Wanted
) -> Line | PageLines:
    """A line, or the lines that are found on a page. Raises InputError where there is no writing."""
    from carousel.hwr.image.page import is_page

    grey = read()
    if settings["kind"] != "image" or not (layout == "page" if layout else is_page(grey)):
        return prepare(grey, settings)
    from carousel.hwr.page.find import find_lines
    from carousel.hwr.page.lines import prepare_page

    page = find_lines(grey)
    if not page.lines:
        raise InputError("no line of writing was found on this page; if it is a single line, say --line")
    turned = f"this page was turned by {page.angle:.0f}° to be read" if page.angle else ""
    return prepare_page(grey, page, settings, (turned,) if turned else ())


def _prepare_file(source: Any, settings: dict[str, Any], wanted: Wanted) -> PageLines:
    """The lines of an ALTO or PAGE file, out of the picture beside it. Raises InputError."""
    from carousel.hwr.image.file import read_image
    from carousel.hwr.page.lines import prepare_page
    from carousel.hwr.page.read import open_page

    if not isinstance(source, str | os.PathLike):
        raise InputError("is ALTO or PAGE, whose picture lies beside it: give the file by its name")
    page, picture = open_page(Path(source))
    return prepare_page(read_image(picture), page, settings)


def _prepare_sample(sample: Sample, settings: dict[str, Any], wanted: Wanted) -> Line:
    from carousel.hwr.page.lines import prepare_line
    from carousel.hwr.page.outlines import line_of

    if sample.image is None:
        raise InputError('has a "baseline" or "polygon" but no "image"')
    return prepare_line(page_picture(sample.image), line_of(sample), settings)


def length(path: Path) -> None:
    """A picture has none. Raises InputError for one that cannot be opened."""
    from carousel.hwr.image.file import picture_size

    picture_size(path)  # reads the header only: decoding every picture would take minutes


def shown(sample: Sample) -> tuple[str, bytes]:
    """The line as JPEG, pen strokes drawn. Raises InputError."""
    import io

    from PIL import Image

    from carousel.hwr.reader import grey

    picture = Image.fromarray(grey(sample))
    picture.thumbnail((WIDEST_SHOWN, HIGHEST_SHOWN))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=70)
    return "image/jpeg", file.getvalue()


def without_rests(array: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """The features as they are: writing has no rests."""
    return array
