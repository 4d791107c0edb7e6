"""Pages whose lines are known: ALTO 2 to 4 (Library of Congress) and PAGE 2013 to 2019 (PRImA).

Coordinates in a file may be of a picture of another size than the one beside it, or tenths of a millimetre:
what counts is the share of the page's width and height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from carousel.common import markup
from carousel.common.errors import InputError, named
from carousel.common.files import Source, read_source, source_name
from carousel.common.markup import tag
from carousel.common.text.alphabet import normalise
from carousel.hwr.domain import PAGES
from carousel.hwr.image import PICTURES
from carousel.hwr.page import outlines
from carousel.hwr.page.layout import Line, Page
from carousel.hwr.page.outlines import Drawn

MOST_LINES = 10_000
MOST_DISTORTED = 0.1  # the page's shape in the file and that of its picture differ by no more than this


def read_page(source: Source) -> Page:
    """The lines of an ALTO or PAGE file in reading order, in the units of the file; `image` is the name that
    it gives to its picture. Width and height are 0 where it does not tell them.

    A line without a polygon has its box, one without a baseline gets it from its polygon. Raises InputError.
    """
    name = source_name(source)
    try:
        root = markup.parse(read_source(source, markup.LARGEST))
        if tag(root) not in PAGES:
            raise InputError(f"is XML, but its root is {tag(root)!r} where ALTO has 'alto' and PAGE 'PcGts'")
        pages = [element for element in root.iter() if tag(element) == "Page"]
        if len(pages) != 1:
            raise InputError(f"holds {len(pages)} pages, and one is read from a file; cut it up")
        page = _alto(root, pages[0]) if tag(root) == "alto" else _page(pages[0])
        if len(page.lines) > MOST_LINES:
            raise InputError(f"holds more than {MOST_LINES:,} lines; cut it up")
        return page
    except InputError as error:
        raise InputError(named(str(error), name)) from None


def open_page(path: Path) -> tuple[Page, Path]:
    """The page of a file, in pixels of the picture that lies beside it, and that picture.

    Raises InputError."""
    from carousel.hwr.image.file import picture_size

    page = read_page(path)
    picture = picture_of(path, page)
    try:
        return replace(scaled(page, *picture_size(picture)), image=picture), picture
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def picture_of(path: Path, page: Page) -> Path:
    """The picture beside an ALTO or PAGE file, or in the folder above: what the file names, or a picture of
    that name or the file's own with another suffix. Raises InputError where there is none."""
    named = Path(str(page.image or "").replace("\\", "/"))
    stems = [path.with_suffix("").name, *([named.stem] if named.name else [])]
    for folder in (path.parent, path.parent.parent):
        files = [folder / named] if named.name and not named.is_absolute() else []
        files += [folder / named.name] if named.name else []
        files += [folder / (stem + suffix) for stem in reversed(stems) for suffix in PICTURES]
        for file in files:
            if file.is_file() and file != path and file.suffix.lower() != ".xml":
                return file
    told = f" {named.name}" if named.name else ""
    raise InputError(f"{path}: its picture{told} is not beside it; put it there")


def scaled(page: Page, width: int, height: int) -> Page:
    """The page in pixels of a picture of this size. Raises InputError for a picture of another shape."""
    if not page.width or not page.height:
        return replace(page, width=width, height=height)
    across, down = width / page.width, height / page.height
    if abs(across / down - 1) > MOST_DISTORTED:
        raise InputError(
            f"its lines are on a page of {page.width} x {page.height}, and the picture beside it, of "
            f"{width} x {height} pixels, has another shape; give the picture that belongs to it"
        )
    scale = np.array([across, down], np.float32)
    lines = (
        replace(line, baseline=line.baseline * scale, polygon=line.polygon * scale) for line in page.lines
    )
    return replace(page, width=width, height=height, lines=tuple(lines))


# ALTO


def _alto(root: Element, page: Element) -> Page:
    name = next((e.text for e in root.iter() if tag(e) == "fileName" and e.text), None)
    size = [round(_number(page, key) or 0) for key in ("WIDTH", "HEIGHT")]
    lines = _lines(page, _ranks(root, "REF"), "ID", _alto_line)
    return Page(size[0], size[1], lines, image=Path(name.strip()) if name else None)


def _alto_line(line: Element) -> Drawn:
    shape = next((e for e in line if tag(e) == "Shape"), ())
    polygon = next((_points(e.get("POINTS", ""), line) for e in shape if tag(e) == "Polygon"), None)
    box = [_number(line, key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    if polygon is None and not any(number is None for number in box):
        left, top, width, height = (float(number or 0) for number in box)
        if width > 0 and height > 0:
            polygon = outlines.of_box(left, top, left + width, top + height)
    drawn = (line.get("BASELINE") or "").replace(",", " ").split()
    baseline = _points(" ".join(drawn), line) if len(drawn) > 1 else None
    if len(drawn) == 1 and polygon is not None:  # before 4.2 one number, how far down the baseline is
        y = _number(line, "BASELINE")
        baseline = np.array([[polygon[:, 0].min(), y], [polygon[:, 0].max(), y]], np.float64)
    return Drawn(baseline, polygon, _clean(_alto_text(line)), line.get("ID"))


def _alto_text(line: Element) -> str:
    """Strings and the spaces between; where a file has no SP, there is one between any two."""
    parts = [e for e in line if tag(e) in ("String", "SP", "HYP")]
    parted = "" if any(tag(e) == "SP" for e in parts) else " "
    texts = [" " if tag(e) == "SP" else e.get("CONTENT", "") for e in parts if tag(e) != "HYP"]
    hyphens = [e.get("CONTENT") or "-" for e in parts if tag(e) == "HYP"]
    return (parted.join(texts) + "".join(hyphens)).replace("\N{SOFT HYPHEN}", "-")


def _number(element: Element, key: str) -> float | None:
    text = element.get(key)
    if text is None or not text.strip():
        return None
    try:
        number = float(text)
        if not abs(number) < 1e9:
            raise ValueError
        return number
    except ValueError:
        raise InputError(f"has a {tag(element)} whose {key} is {text[:40]!r}, not a number") from None


# PAGE


def _page(page: Element) -> Page:
    name = page.get("imageFilename")
    width, height = (round(_number(page, key) or 0) for key in ("imageWidth", "imageHeight"))
    lines = _lines(page, _ranks(page, "regionRef"), "id", _page_line)
    return Page(
        width,
        height,
        lines,
        image=Path(name.strip()) if name and name.strip() else None,
        angle=_number(page, "orientation") or 0.0,
    )


def _page_line(line: Element) -> Drawn:
    found: dict[str, np.ndarray] = {}
    for element in line:
        if tag(element) in ("Coords", "Baseline"):
            text = element.get("points") or " ".join(f"{p.get('x')},{p.get('y')}" for p in element)
            found[tag(element)] = _points(text, line)
    words = filter(None, (_unicode(word) for word in line if tag(word) == "Word"))
    text = _unicode(line) or " ".join(words)
    return Drawn(found.get("Baseline"), found.get("Coords"), _clean(text), line.get("id"))


def _unicode(element: Element) -> str:
    """The text of a line or word: that of the TextEquiv of the lowest index, or nothing."""
    given = [e for e in element if tag(e) == "TextEquiv"]
    given.sort(key=lambda e: _number(e, "index") or 0.0)
    return next((child.text or "" for e in given for child in e if tag(child) == "Unicode"), "")


# Both


def _lines(
    page: Element, ranks: dict[str, int], key: str, read: Callable[[Element], Drawn]
) -> tuple[Line, ...]:
    """The lines of a page in reading order: as what they stand in is ranked, then as in the file."""
    found = sorted(_ranked(page, ranks, key), key=lambda ranked: ranked[0])
    return outlines.completed([read(line) for _, line in found])


def _clean(text: str) -> str | None:
    """A line's text in NFC without spaces at the ends or doubled; None where there is none."""
    return normalise(" ".join(text.split())) or None


def _ranked(page: Element, ranks: dict[str, int], key: str) -> Iterator[tuple[int, Element]]:
    """Each line with the rank of the innermost ranked element that it is in; those in none are last."""
    waiting = [(len(ranks), page)]
    while waiting:
        rank, element = waiting.pop()
        rank = ranks.get(element.get(key, ""), rank)
        if tag(element) == "TextLine":
            yield rank, element
        else:
            waiting += [(rank, child) for child in reversed(element)]


def _ranks(root: Element, key: str) -> dict[str, int]:
    """From the id of an element to its place in the reading order that the file tells, or nothing."""
    order = next((e for e in root.iter() if tag(e) == "ReadingOrder"), None)
    waiting = [] if order is None else [order]
    ranks: dict[str, int] = {}
    while waiting:
        element = waiting.pop()
        reference = element.get(key)
        if reference and reference not in ranks:
            ranks[reference] = len(ranks)
        waiting += sorted(element, key=lambda e: _number(e, "index") or 0.0)[::-1]
    return ranks


def _points(text: str, line: Element) -> np.ndarray:
    """Points (n, 2) of "x,y x,y" or "x y x y"."""
    try:
        points = np.array(text.replace(",", " ").split(), np.float64).reshape(-1, 2)
        if not (np.abs(points) < 1e9).all():  # nor are they NaN
            raise ValueError
        return points
    except ValueError:
        name = line.get("id") or line.get("ID") or ""
        raise InputError(f"has a line {name} with points that are not pairs of numbers") from None
