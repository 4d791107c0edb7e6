"""Any picture file to grey: one function, and one sentence for each file that is none."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.errors import InputError

LIGHT = 128  # grey level; darker ink shows on white paper
MOST_INK = 0.5  # share of a picture that ink covers; where more is visible, paper is in the picture
MOST_DARK = 0.01  # share of light ink that may be dark; on light paper, writing is more than that


def read_image(source: str | Path | BinaryIO) -> np.ndarray:
    """Read any picture that Pillow reads as grey, (height, width) uint8, upright and over paper.

    The paper under what is transparent is white, or black where the ink is light. 1 to 16 bits a channel,
    palettes, CMYK and transparency are converted, EXIF rotation is applied; of a file with several pictures
    the first is taken. Raises InputError with one sentence for whatever cannot be read.
    """
    name, file = _open(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large scans and odd metadata are no news to the user
            with Image.open(file) as image:
                image.load()
                grey = _grey(_upright(image), name)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(
            f"{name}: the picture is larger than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; "
            "cut or reduce it"
        ) from None
    except UnidentifiedImageError:
        raise InputError(f"{name}: not a picture that Pillow reads; save it as PNG or JPEG") from None
    except MemoryError:
        raise InputError(f"{name}: the picture does not fit into memory; cut or reduce it") from None
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise InputError(
            f"{name}: the picture is damaged or cut short ({_one_line(error)}); copy it again"
        ) from None
    if grey.size == 0:
        raise InputError(f"{name}: the picture has no pixels; scan or copy it again")
    return grey


def _open(source: str | Path | BinaryIO) -> tuple[str, BinaryIO]:
    """Name for messages and a seekable file with all bytes of the source; InputError where there are none."""
    if isinstance(source, (str, Path)):
        name, path = str(source), Path(source)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{name}: no such file; correct the path") from None
        except IsADirectoryError:
            raise InputError(f"{name}: a folder, not a picture; give a file in it") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: cannot be read ({_one_line(error)})") from None
    else:
        name = str(getattr(source, "name", "standard input"))
        data = source.read()
    if not data:
        raise InputError(f"{name}: the file is empty; scan or copy it again")
    return name, io.BytesIO(data)


def _one_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF orientation says; damaged EXIF data count as none."""
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:  # the pixels are fine even where the metadata are not
        return image


def _grey(image: Image.Image, name: str) -> np.ndarray:
    """Grey values (height, width) uint8 of a loaded picture of any mode."""
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(np.asarray(image), name)
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


def _deep_grey(values: np.ndarray, name: str) -> np.ndarray:
    """16-bit, 32-bit and float pictures to uint8; their range is the smallest bit depth that holds the
    maximum.

    Scanners store 12 bits in 16 and cameras 16 in 32, so the container says little about the range.
    """
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{name}: the picture holds values that are not numbers; save it anew")
    top = float(values.max(initial=0))
    if top <= 1 and np.any(values % 1):
        scale = 255.0  # floats from 0 to 1
    else:
        bits = max(8, int(top).bit_length())
        scale = 255 / (2**bits - 1)
    return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
