"""Files of several pages, and pictures of sizes that no line has."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from PIL.TiffImagePlugin import AppendingTiffWriter

from carousel.common.errors import InputError
from carousel.hwr.cli import main
from carousel.hwr.image import file as image_file
from carousel.hwr.image.file import read_image, read_pages
from tests.tiny import tiny_model


def line(shift: int) -> Image.Image:
    picture = Image.new("L", (320, 60), 255)
    pen = ImageDraw.Draw(picture)
    for x in range(20, 300, 25 + shift):
        pen.line([(x, 45), (x + 8, 15), (x + 14, 40), (x + 20, 20)], fill=0, width=3)
    return picture


def file_of(pages: list[Image.Image], path: Path, **options: object) -> Path:
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("models") / "image.safetensors", "image"))


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.png", "a.webp"])
def test_every_page_comes_in_its_order(tmp_path: Path, name: str) -> None:
    pages = [line(shift) for shift in (0, 5, 10)]
    options = {"lossless": True} if name == "a.webp" else {}
    path = file_of(pages, tmp_path / name, **options)
    found = [(number, read()) for number, read in read_pages(path)]
    assert [number for number, _ in found] == [1, 2, 3]
    for page, (_, grey) in zip(pages, found, strict=True):
        np.testing.assert_allclose(grey, np.asarray(page), atol=2)
    with pytest.raises(InputError, match="several pages"):
        read_image(path)


def test_smaller_copies_and_further_views_are_no_pages(tmp_path: Path) -> None:
    first, second = line(0), line(5)
    file = io.BytesIO()
    with AppendingTiffWriter(file) as out:
        for page, kind in ((first, 0), (first.reduce(4), 1), (second, 0), (second.reduce(4), 1)):
            page.save(out, "TIFF", tiffinfo={254: kind})
            out.newFrame()
    path = tmp_path / "pyramid.tif"
    path.write_bytes(file.getvalue())
    assert [(number, read().shape) for number, read in read_pages(path)] == [(1, (60, 320)), (2, (60, 320))]
    views = file_of([first, second], tmp_path / "phone.jpg", format="MPO")
    assert np.abs(read_image(views).astype(int) - np.asarray(first)).mean() < 3


def test_pages_before_a_damaged_one_are_read_and_it_is_named(tmp_path: Path) -> None:
    path = file_of([line(shift) for shift in (0, 5, 10)], tmp_path / "a.tif")
    data = bytearray(path.read_bytes())
    with Image.open(path) as image:
        second = image.tag_v2.next
    count = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * count, len(data) + 1000)  # where the third should be
    path.write_bytes(data)
    pages = read_pages(path)
    assert next(pages)[1]().shape == next(pages)[1]().shape == (60, 320)
    with pytest.raises(InputError, match="damaged or cut short"):
        next(pages)[1]()


def test_pages_have_their_numbers_in_every_output(tmp_path, model, capsys) -> None:
    path = file_of([line(0), Image.new("L", (320, 60), 255), line(10)], tmp_path / "a.tif")
    alone = []
    for number, shift in ((1, 0), (3, 10)):
        line(shift).save(tmp_path / "one.png")
        assert main(["recognise", str(tmp_path / "one.png"), "--model", model]) == 0
        alone.append(f"{path}, page {number}\t{capsys.readouterr().out}")
    assert main(["recognise", str(path), "--model", model]) == 1
    out, err = capsys.readouterr()
    assert out == "".join(alone) and err.startswith(f"{path}, page 2: no ink") and err.count("\n") == 1
    assert main(["recognise", str(path), "--model", model, "--format", "json"]) == 1
    rows = [json.loads(row) for row in capsys.readouterr().out.splitlines()]
    assert [(row["file"], row["page"]) for row in rows] == [(str(path), 1), (str(path), 3)]
    assert main(["spot", "a", str(path), "--model", model, "--format", "json"]) == 1
    assert [json.loads(row)["page"] for row in capsys.readouterr().out.splitlines()] == [1, 3]
    assert main(["recognise", str(path), "--model", model, "--output", str(tmp_path / "out")]) == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.page1.txt", "a.page3.txt"]
    assert main(["align", str(path), "--text", "a", "--model", model]) == 1
    assert "several pages" in capsys.readouterr().err


def test_a_page_never_writes_over_an_input_or_an_output(tmp_path, model, capsys) -> None:
    path = file_of([line(0), line(5)], tmp_path / "a.tif")
    line(7).save(tmp_path / "a.page2.png")
    words = ["recognise", str(path), str(tmp_path / "a.page2.png"), "--model", model]
    assert main([*words, "--output", str(tmp_path / "out")]) == 1
    assert "page 2: " in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.page1.txt", "a.page2.txt"]


@pytest.mark.parametrize("size", [(100_000, 1), (1_000_000, 1), (1, 100_000), (400_000, 20), (10, 9_000)])
def test_shapes_that_no_line_has_are_named(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size, 255).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: .*not a line of writing; cut"):
        read_image(tmp_path / "a.png")


def test_shapes_that_lines_have_are_read(tmp_path: Path) -> None:
    for size in ((20_000, 64), (12, 400), (1, 1), (1000, 4)):
        Image.new("L", size, 255).save(tmp_path / "a.png")
        assert read_image(tmp_path / "a.png").shape == size[::-1]


def test_later_pages_are_no_bombs_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of([line(0), line(5).resize((640, 120))], tmp_path / "a.tif")
    monkeypatch.setattr(image_file, "MOST_PIXELS", 320 * 60)
    _, second = (read for _, read in read_pages(path))
    with pytest.raises(InputError, match="larger than"):
        second()


def test_more_pages_than_any_file_has_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "MOST_PAGES", 2)
    for name in ("a.tif", "a.gif"):
        pages = list(read_pages(file_of([line(shift) for shift in range(4)], tmp_path / name)))
        assert len(pages) == 3
        with pytest.raises(InputError, match="only 2 pages"):
            pages[2][1]()


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(InputError, match="a program and not a picture"):
        read_image(tmp_path / "a.png")


def test_endless_files_are_not_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "LARGEST_FILE", 2**20)
    with (
        open("/dev/zero", "rb") as endless,
        pytest.raises(InputError, match="zero: is larger than 1 MB"),
    ):
        read_image(endless)
    with pytest.raises(InputError, match="/dev/zero: is a device"):
        read_image("/dev/zero")
