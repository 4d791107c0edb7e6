"""PAGE and ALTO XML beside their pages: a row for each line, with its place in the picture's pixels.

PAGE: PRImA's format of 2013 to 2019 (Pletschacher & Antonacopoulos, ICPR 2010). ALTO 2 to 4: of the Library
of Congress. The XML may speak of a picture of another size, or count in tenths of millimetres: places are
scaled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from carousel.common.data.layouts.found import Folder, Found
from carousel.common.data.layouts.markup import Element, all_below, below, read_xml, root_of, tag
from carousel.common.errors import InputError

ENDING = ".xml"
ROOTS = {"PcGts": "PAGE", "alto": "ALTO"}
Points = list[list[float]]  # x, y each


class Line(NamedTuple):
    name: str
    text: str
    baseline: Points
    polygon: Points


class Page(NamedTuple):
    picture: str  # as the XML names it
    size: tuple[float, float]  # width and height of what the places speak of; 0 where it does not tell
    lines: list[Line]


def files(folder: Folder) -> list[Path]:
    return [file for file in folder.ending(ENDING) if root_of(file) in ROOTS]


def read(folder: Folder, found: Found) -> None:
    """What has no text or no place is left out; so is a page whose picture is not there."""
    for file in files(folder):
        try:
            root = read_xml(file)
            page = _page_xml(root) if tag(root) == "PcGts" else _alto(root)
            picture = _picture(file, page, folder)
            if picture is None:
                found.leave(folder.place(file), "no picture of the page beside it")
                continue
            scale = _scale(picture, page.size)
        except InputError as error:
            found.leave(error, "cannot be read as a page")
            continue
        for line in page.lines:
            _add(found, folder, file, picture, line, scale)


def _add(
    found: Found, folder: Folder, file: Path, picture: Path, line: Line, scale: tuple[float, float]
) -> None:
    if not line.polygon and not line.baseline:
        found.leave(f"{folder.place(file)}: {line.name}", "a line without its place")
        return
    page = (file.parent.relative_to(folder.root) / picture.stem).as_posix()
    places = {
        name: [[round(x * scale[0], 1), round(y * scale[1], 1)] for x, y in points]
        for name, points in (("baseline", line.baseline), ("polygon", line.polygon))
        if points
    }
    found.add(picture, line.text, page=page, line=line.name, split=folder.split(file), **places)


def _picture(file: Path, page: Page, folder: Folder) -> Path | None:
    """Beside the XML or, as Transkribus and OCR-D export, in the folder above or another one."""
    own = folder.by_stem.get(file.with_suffix("")) or folder.by_stem.get(file.parent.parent / file.stem)
    name = re.split(r"[/\\]", page.picture)[-1]
    return own or (folder.find(name, file.parent, file.parent.parent) if name else None)


def _scale(picture: Path, size: tuple[float, float]) -> tuple[float, float]:
    """Pixels of the picture for each unit of the XML. Raises InputError."""
    from PIL import Image

    if not all(size):
        return 1.0, 1.0
    try:
        with Image.open(picture) as image:
            return image.width / size[0], image.height / size[1]
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise InputError(f"{picture}: is not a picture that can be opened ({error})") from None


def points(text: str | None) -> Points:
    """`1,2 3,4` or `1 2 3 4` or `1,2,3,4`. Raises InputError."""
    words = (text or "").replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise InputError(f"has points that are not numbers: {(text or '')[:40]!r}") from None
    return [[x, y] for x, y in zip(numbers[::2], numbers[1::2], strict=False)]


def _number(element: Element, name: str) -> float:
    try:
        return float(element.get(name, "0"))
    except ValueError:
        return 0.0


# PAGE


def _page_xml(root: Element) -> Page:
    page = next(all_below(root, "Page"), None)
    if page is None:
        raise InputError("has no Page")
    size = _number(page, "imageWidth"), _number(page, "imageHeight")
    return Page(page.get("imageFilename", ""), size, list(_page_lines(page)))


def _page_lines(page: Element) -> Iterator[Line]:
    for line in all_below(page, "TextLine"):
        places = [
            next((points(found.get("points")) for found in below(line, name)), [])
            for name in ("Baseline", "Coords")
        ]
        # of several readings the first by index; those of words and glyphs are not the line's own children
        readings = sorted(below(line, "TextEquiv"), key=lambda reading: _number(reading, "index"))
        texts = ["".join(text.itertext()) for one in readings[:1] for text in below(one, "Unicode")]
        yield Line(line.get("id", ""), "".join(texts), *places)


# ALTO


def _alto(root: Element) -> Page:
    page = next(all_below(root, "Page"), None)
    if page is None:
        raise InputError("has no Page")
    name = next((file.text or "" for file in all_below(root, "fileName")), "")
    unit = next((found.text or "" for found in all_below(root, "MeasurementUnit")), "pixel")
    size = _number(page, "WIDTH"), _number(page, "HEIGHT")
    if unit.strip() != "pixel" and not all(size):
        raise InputError(f"counts in {unit.strip()} and does not tell the size of its page")
    return Page(name.strip(), size, list(_alto_lines(page)))


def _alto_lines(page: Element) -> Iterator[Line]:
    for line in all_below(page, "TextLine"):
        told = line.get("BASELINE", "")
        left, top, width, height = (_number(line, name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT"))
        baseline = points(told)
        if len(told.split()) == 1 and "," not in told:  # ALTO 3: the height of a straight one
            baseline = [[left, float(told)], [left + width, float(told)]]
        outline = [polygon for shape in below(line, "Shape") for polygon in below(shape, "Polygon")]
        polygon = points(outline[0].get("POINTS")) if outline else []
        if not polygon and width and height:
            polygon = box(left, top, left + width, top + height)
        yield Line(line.get("ID", ""), _alto_text(line), baseline, polygon)


def _alto_text(line: Element) -> str:
    """Strings and the spaces between them; without any SP, there is a space between any two."""
    parts = list(below(line, "String", "SP", "HYP"))
    joint = "" if any(tag(part) == "SP" for part in parts) else " "
    words = [" " if tag(part) == "SP" else part.get("CONTENT", "") for part in parts if tag(part) != "HYP"]
    hyphens = [part.get("CONTENT") or "-" for part in parts if tag(part) == "HYP"]
    return (joint.join(words) + "".join(hyphens)).replace("\N{SOFT HYPHEN}", "-")


def box(left: float, top: float, right: float, bottom: float) -> Points:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]
