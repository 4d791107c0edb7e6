"""Any picture file to grey pages, and one sentence for each file that is none."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from carousel.common.errors import InputError
from carousel.common.files import Source, open_source, read_source, source_name
from carousel.hwr.image import pdf

LARGEST_FILE = 2**30  # bytes
MOST_PIXELS = 100_000_000  # of a page; a sheet of A4 at 1000 dpi has fewer
MOST_PAGES = 10_000  # of a file
WIDEST = 400  # width / height; the longest line of six corpora has 32
TALLEST = 50  # height / width
LEAST_ROWS = 4  # lower pictures are enlarged as if they were so high
ONE_PICTURE = ("MPO", "PSD")  # formats whose further frames are previews, other views or layers of the first
PROGRAMS = ("EPS",)  # formats that Pillow has another program run
SUBFILE_TYPE, REDUCED = 254, 1  # tag of TIFF 6.0, and its bit for a smaller copy of another page
ORIENTATION, SIDEWAYS = 274, (5, 6, 7, 8)  # tag of EXIF, and where width and height change places
LIGHT = 128  # grey level; darker ink shows on white paper
MOST_INK = 0.5  # share of a picture that ink covers; where more is visible, paper is in the picture
MOST_DARK = 0.01  # share of light ink that may be dark; on light paper, writing is more than that


def read_image(source: Source) -> np.ndarray:
    """Read any picture that Pillow reads as grey, (height, width) uint8, upright and over paper.

    The paper under what is transparent is white, or black where the ink is light. 1 to 16 bits a channel,
    palettes, CMYK and transparency are converted, EXIF rotation is applied. Raises InputError with one
    sentence for whatever cannot be read, and for a file of several pages.
    """
    number, read = next(read_pages(source))
    if number is not None:
        raise InputError(f"{source_name(source)}: holds several pages; save each as a file of its own")
    return read()


def picture_size(source: Source) -> tuple[int, int]:
    """Width and height of a picture, as `read_image` gives it, by its first bytes. Raises InputError."""
    name = source_name(source)
    with open_source(source, LARGEST_FILE) as file, _sentences(f"{name}: "):
        if file.read(len(pdf.START)) == pdf.START:
            file.seek(0)
            return pdf.drawn(file.read(), 0, MOST_PIXELS).size
        with Image.open(file) as image:
            turned = image.getexif().get(ORIENTATION, 1) in SIDEWAYS
            return image.size[::-1] if turned else image.size


def read_pages(source: Source) -> Iterator[tuple[int | None, Callable[[], np.ndarray]]]:
    """The pages of a picture file: the number of each, None if it is the only one, and how to read it as of
    `read_image`, once and before the next is asked for.

    Frames of an animation count as pages. Smaller copies of a page do not, nor do layers, nor the further
    views that cameras store. Raises InputError for what is not a picture; so does each of several pages,
    without the file's name.
    """
    name = source_name(source)
    data = read_source(source, LARGEST_FILE)
    if data.startswith(pdf.START):
        yield from _pdf_pages(data, name)
        return
    with _sentences(f"{name}: "):
        image = Image.open(io.BytesIO(data))
        if image.format in PROGRAMS:
            raise InputError(f"is {image.format}, a program and not a picture; save it as PNG or JPEG")
        frames = _frames(image)
    if len(frames) == 1:
        yield None, partial(_read_frame, image, frames[0], f"{name}: ", last=True)
        return
    for number, frame in enumerate(frames, 1):
        yield number, partial(_read_frame, image, frame, "", last=number == len(frames))


def _pdf_pages(data: bytes, name: str) -> Iterator[tuple[int | None, Callable[[], np.ndarray]]]:
    with _sentences(f"{name}: "), pdf.opened(data) as document:
        count = len(document)

    def read(number: int, where: str) -> np.ndarray:
        if number >= MOST_PAGES:
            raise InputError(f"{where}only {MOST_PAGES:,} pages of a file are read; cut it up")
        with _sentences(where):
            return _checked(_grey(pdf.drawn(data, number, MOST_PIXELS)))

    if count == 1:
        yield None, partial(read, 0, f"{name}: ")
        return
    for number in range(min(count, MOST_PAGES + 1)):
        yield number + 1, partial(read, number, "")


class Picture(NamedTuple):
    """A picture in its colours, upright and without transparency, of mode 1, L or RGB."""

    image: Image.Image
    dpi: float | None  # dots to an inch, if it tells that
    jpeg: bytes | None  # the file, where it is the same picture as JPEG


def read_picture(source: Source, page: int | None = None) -> Picture:
    """The picture that `read_pages` gives as grey. page: its number in a file of several, from 1 on."""
    name = source_name(source)
    data = read_source(source, LARGEST_FILE)
    with _sentences(f"{name}: "):
        if data.startswith(pdf.START):
            image = pdf.drawn(data, (page or 1) - 1, MOST_PIXELS)
            return Picture(image, image.info["dpi"][0], None)
        image = Image.open(io.BytesIO(data))
        image.seek(_frames(image)[(page or 1) - 1])
        if image.width * image.height > MOST_PIXELS:
            raise Image.DecompressionBombError
        dpi = image.info.get("dpi")
        found = _upright(image)
        same = image.format == "JPEG" and image.mode in ("L", "RGB") and found is image
        if found.mode not in ("1", "L", "RGB"):
            clear = found.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in found.info
            deep = found.mode.startswith("I") or found.mode == "F"
            found = Image.fromarray(_grey(found)) if clear or deep else found.convert("RGB")
        found.load()
        return Picture(found, float(dpi[0]) if dpi and dpi[0] > 1 else None, data if same else None)


def _frames(image: Image.Image) -> list[int]:
    """Numbers of the frames that are pages; one after the last if the file breaks off or has too many."""
    if image.format in ONE_PICTURE:
        return [0]
    if image.format != "TIFF":
        return list(range(min(getattr(image, "n_frames", 1), MOST_PAGES + 1)))
    pages: list[int] = []
    for frame in range(MOST_PAGES + 1):
        try:
            image.seek(frame)
        except EOFError:
            break
        except Exception:  # the list of pages is damaged: what comes after this is told as that of a page
            return [*pages, frame]
        if not int(image.tag_v2.get(SUBFILE_TYPE, 0)) & REDUCED:  # type: ignore[attr-defined]
            pages.append(frame)
    return pages or [0]


def _read_frame(image: Image.Image, frame: int, where: str, last: bool) -> np.ndarray:
    if frame >= MOST_PAGES:
        raise InputError(f"only {MOST_PAGES:,} pages of a file are read; cut it up")
    try:
        with _sentences(where):
            image.seek(frame)
            if image.width * image.height > MOST_PIXELS:  # Pillow looks at the size of the first only
                raise Image.DecompressionBombError
            image.load()
            return _checked(_grey(_upright(image)))
    finally:
        if last:
            image.close()  # who asked may be kept for long


def _checked(grey: np.ndarray) -> np.ndarray:
    rows, columns = grey.shape
    if rows * columns == 0:
        raise InputError("the picture has no pixels; scan or copy it again")
    if columns > WIDEST * max(rows, LEAST_ROWS) or rows > TALLEST * columns:  # would take minutes
        size = f"{columns:,} pixels wide and {rows:,} high"
        raise InputError(f"the picture is {size}, which is not a line of writing; cut it again")
    return grey


@contextmanager
def _sentences(where: str) -> Iterator[None]:
    """Turns what Pillow raises into InputError, one sentence that begins with `where`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large scans and odd metadata are no news to the user
            yield
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise InputError(where + _sentence(error)) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"the picture is larger than {MOST_PIXELS:,} pixels; cut or reduce it"
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture that Pillow reads; save it as PNG or JPEG"
    if isinstance(error, MemoryError):
        return "the picture does not fit into memory; cut or reduce it"
    said = " ".join((str(error) or type(error).__name__).split())
    return f"the picture is damaged or cut short ({said}); copy it again"


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; damaged EXIF data count as none."""
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:  # the pixels are fine even where the metadata are not
        return image


def _grey(image: Image.Image) -> np.ndarray:
    """Grey values (height, width) uint8 of a loaded picture of any mode."""
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(np.asarray(image))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "black" if _is_light_ink(image) else "white")
        image = Image.alpha_composite(paper, image)
    return np.array(image.convert("L"))


def _is_light_ink(image: Image.Image) -> bool:
    """True where little of an RGBA picture is visible and nearly all of that is light: ink without paper."""
    visible = np.asarray(image.getchannel("A"))
    total = int(visible.sum(dtype=np.int64))
    if not 0 < total < MOST_INK * 255 * visible.size:
        return False
    dark = np.asarray(image.convert("L")) < LIGHT  # the colours by themselves, whatever their alpha
    return int(visible[dark].sum(dtype=np.int64)) < MOST_DARK * total


def _deep_grey(values: np.ndarray) -> np.ndarray:
    """16-bit, 32-bit and float pictures to uint8; their range is the smallest bit depth that holds the
    maximum.

    Scanners store 12 bits in 16 and cameras 16 in 32, so the container says little about the range.
    """
    if not np.isfinite(values).all():
        raise InputError("the picture holds values that are not numbers; save it again")
    top = float(values.max(initial=0))
    if top <= 1 and np.any(values % 1):
        scale = 255.0  # floats from 0 to 1
    else:
        scale = 255 / (2 ** max(8, int(top).bit_length()) - 1)
    values = values.astype(np.float32)  # of ints a copy; 32 bits are more than enough of which 8 are left
    values *= scale
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
