"""The pages of a PDF as pictures, by pypdfium2, which comes with the extra `pdf`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from carousel.common.errors import InputError

START = b"%PDF-"
DPI = 300  # at which pages are drawn
POINTS = 72  # of a PDF to an inch


@contextmanager
def opened(data: bytes) -> Iterator[Any]:
    """The document of a file. Raises InputError, without the file's name."""
    try:
        import pypdfium2
    except ImportError:
        raise InputError(
            "is a PDF: install Carousel with the extra pdf, carousel-ctc[pdf], to read it"
        ) from None
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        why = "is locked with a password" if "assword" in str(error) else f"is a damaged PDF ({error})"
        raise InputError(f"{why}; save its pages as pictures") from None
    try:
        yield document
    finally:
        document.close()


def drawn(data: bytes, number: int, most_pixels: int) -> Image.Image:
    """A page, the first is 0, at 300 dots to an inch, or as many as make most_pixels."""
    with opened(data) as document:
        page = document[number]
        width, height = page.get_size()
        dpi = min(DPI, POINTS * math.sqrt(0.99 * most_pixels / max(width * height, 1e-6)))
        picture: Image.Image = page.render(scale=dpi / POINTS).to_pil().convert("RGB")
        picture.info["dpi"] = (dpi, dpi)
        return picture
