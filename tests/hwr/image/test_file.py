"""Any picture file to grey: against pictures whose content is known, and files that are none."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from carousel.common.errors import InputError
from carousel.hwr.image.columns import extract_image, read_image


def stairs(rows: int = 12, columns: int = 20) -> np.ndarray:
    """A picture without symmetry, of many grey values."""
    y, x = np.mgrid[:rows, :columns]
    return (255 - 9 * y - 4 * x).astype(np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("L", "a.png"), ("L", "a.webp"), ("L", "a.bmp"), ("L", "a.gif"), ("L", "a.tif"), ("L", "a.pgm"),
        ("RGB", "a.png"), ("RGBA", "a.png"), ("LA", "a.png"), ("P", "a.png"), ("CMYK", "a.tif"),
        ("YCbCr", "a.tif"), ("RGBX", "a.tif"), ("I", "a.tif"), ("F", "a.tif"),
    ],
)  # fmt: skip
def test_modes_and_formats(tmp_path: Path, mode: str, name: str) -> None:
    grey = stairs()
    options = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, Image.fromarray(grey).convert(mode), name, **options)
    read = read_image(path)
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - grey).max() <= 3


def test_one_bit(tmp_path: Path) -> None:
    black = np.random.default_rng(1).random((9, 13)) < 0.5
    read = read_image(saved(tmp_path, Image.fromarray(~black), "a.png"))
    assert np.array_equal(read, np.where(black, 0, 255))


@pytest.mark.parametrize(("top", "bits"), [(65535, 16), (4095, 12), (255, 8)])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_deep_grey_keeps_the_range_of_its_bits(tmp_path: Path, top: int, bits: int, name: str) -> None:
    values = np.linspace(0, top, 12 * 20).reshape(12, 20).astype(np.uint16)
    read = read_image(saved(tmp_path, Image.fromarray(values), name))
    assert np.abs(read - values * (255 / (2**bits - 1))).max() <= 1


def test_floats_from_0_to_1(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 240, dtype=np.float32).reshape(12, 20)
    read = read_image(saved(tmp_path, Image.fromarray(values), "a.tif"))
    assert np.abs(read - values * 255).max() <= 1


def test_not_a_number_is_named(tmp_path: Path) -> None:
    values = np.full((4, 4), np.nan, dtype=np.float32)
    with pytest.raises(InputError, match=r"a\.tif.*not numbers"):
        read_image(saved(tmp_path, Image.fromarray(values), "a.tif"))


def test_transparent_is_white_paper(tmp_path: Path) -> None:
    black = np.zeros((6, 8, 4), dtype=np.uint8)  # black ink, and black where nothing is
    black[2:4, 2:6, 3] = 255
    black[0, 0, 3] = 128
    read = read_image(saved(tmp_path, Image.fromarray(black), "a.png"))
    assert (read[2:4, 2:6] == 0).all()
    assert abs(int(read[0, 0]) - 127) <= 1
    assert read[5, 7] == 255


def written(ink: int) -> Image.Image:
    """Writing of one grey level on nothing; where nothing is, the colour is the other one."""
    picture = Image.new("LA", (300, 60), (255 - ink, 0))
    pen = ImageDraw.Draw(picture)
    for x in range(20, 280, 25):
        pen.line([(x, 45), (x + 8, 15), (x + 14, 40), (x + 20, 20)], fill=(ink, 255), width=3)
    return picture


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("ink", [0, 60, 200, 255])
def test_ink_on_nothing_is_read_whether_dark_or_light(tmp_path: Path, ink: int, mode: str) -> None:
    read = read_image(saved(tmp_path, written(ink).convert(mode), "a.png"))
    assert read[0, 0] == (255 if ink < 128 else 0)
    black = read_image(saved(tmp_path, written(0), "black.png"))
    np.testing.assert_allclose(extract_image(read, {})[0], extract_image(black, {})[0], atol=0.02)


def test_light_paper_is_no_light_ink(tmp_path: Path) -> None:
    pencil = Image.new("LA", (300, 60), (0, 0))  # a card in the middle of nothing, with some writing
    pencil.paste((250, 255), (60, 10, 240, 50))
    ImageDraw.Draw(pencil).line([(80, 40), (120, 20), (160, 40), (200, 20)], fill=(90, 255), width=3)
    assert read_image(saved(tmp_path, pencil, "card.png"))[0, 0] == 255
    page = Image.new("LA", (300, 60), (250, 255))  # a page with pale writing and one corner cut
    ImageDraw.Draw(page).line([(80, 40), (200, 20)], fill=(160, 255), width=3)
    page.putpixel((0, 0), (0, 0))
    assert read_image(saved(tmp_path, page, "page.png"))[0, 0] == 255


def test_transparent_palette_colour_is_white_paper(tmp_path: Path) -> None:
    image = Image.new("P", (4, 2), 0)
    image.putpalette([0, 0, 0, 10, 10, 10])
    image.putpixel((1, 1), 1)
    read = read_image(saved(tmp_path, image, "a.png", transparency=0))
    assert read[1, 1] == 10
    assert read[0, 0] == 255


TURNED = {  # EXIF 2.3, tag 274: which side of the shown picture the stored row 0 and column 0 are
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: a[::-1].T,
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: a[:, ::-1].T,
}


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = saved(tmp_path, Image.fromarray(stairs()), "a.png", exif=exif)
    assert np.array_equal(read_image(path), TURNED[orientation](stairs()))


def test_file_objects_and_paths_give_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(stairs()), "a.png")
    assert np.array_equal(read_image(io.BytesIO(path.read_bytes())), read_image(str(path)))

    class Pipe(io.RawIOBase):  # standard input: no seeking
        data = io.BytesIO(path.read_bytes())

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            return self.data.readinto(buffer)

    assert np.array_equal(read_image(Pipe()), read_image(path))


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def sentence(caught: pytest.ExceptionInfo[InputError], name: str) -> None:
    message = str(caught.value)
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated(tmp_path: Path, kind: str, share: float) -> None:
    data = encoded(kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError) as caught:
        read_image(path)
    sentence(caught, "cut.img")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty; copy"),
        (b"no picture at all, but text", "not a picture.*; save it"),
        (b"\0" * 5000, "not a picture.*; save it"),
    ],
)
def test_other_bad_files(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=says) as caught:
        read_image(path)
    sentence(caught, "bad.png")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; correct") as caught:
        read_image(tmp_path / "none.png")
    sentence(caught, "none.png")
    with pytest.raises(InputError, match="folder") as caught:
        read_image(tmp_path)
    sentence(caught, tmp_path.name)


def test_zero_size(tmp_path: Path) -> None:
    path = tmp_path / "zero.bmp"
    path.write_bytes(encoded("BMP")[:18] + b"\0" * 8 + encoded("BMP")[26:])
    with pytest.raises(InputError) as caught:
        read_image(path)
    sentence(caught, "zero.bmp")


def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(stairs()), "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12 * 20 // 2 - 1)
    with pytest.raises(InputError, match="larger than") as caught:
        read_image(path)
    sentence(caught, "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12 * 20 - 1)  # where Pillow only warns
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (12, 20)


@given(kind=st.sampled_from(["PNG", "GIF", "BMP", "TIFF"]), data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_bytes_give_a_picture_or_a_sentence(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(encoded(kind))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=8)):
        damaged[place] = value
    try:
        grey = read_image(io.BytesIO(bytes(damaged)))
    except InputError:
        return  # any other exception fails the test
    assert grey.dtype == np.uint8
    assert grey.ndim == 2
