"""Pages with their texts, written as XML: ALTO 4, PAGE 2019 and hOCR 1.2; and what all page formats share.

ALTO: Library of Congress, schema 4.4. PAGE: Pletschacher & Antonacopoulos, "The PAGE (Page Analysis and
Ground-Truth Elements) Format Framework", ICPR 2010, schema 2019-07-15. hOCR: Breuel, "The hOCR Microformat
for OCR Workflow and Results", ICDAR 2007.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from carousel.common.cli.inputs import Input
from carousel.common.errors import InputError

if TYPE_CHECKING:  # loading them brings numpy
    from xml.etree.ElementTree import Element

    from carousel.common.decoding import Box, Hypothesis, Symbol
    from carousel.common.domain import Transcript

Points = Sequence[Sequence[float]]  # x, y each

ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
PAGE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
SCHEMAS = {ALTO: "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd", PAGE: PAGE + "/pagecontent.xsd"}
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)  # what an id may be
UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # for XML


class TextLine(NamedTuple):
    """A line with its text. The baseline and the polygon are in pixels of the page."""

    id: str  # one of its own in the page
    baseline: Points
    polygon: Points
    read: Hypothesis

    @property
    def box(self) -> Box:
        return _box(self.polygon)

    @property
    def words(self) -> list[Symbol]:
        """Each with a box, which is the line's where its own is not known."""
        return [word if word.box else word._replace(box=self.box) for word in self.read.words()]


class Sheet(NamedTuple):
    """A page as the formats write it; a picture of a single line is one too."""

    image: str  # name of the file
    width: int
    height: int
    angle: float  # degrees by which it has to be turned clockwise to be upright
    lines: list[TextLine]

    @property
    def box(self) -> Box:
        """Around all lines."""
        return _box([point for line in self.lines for point in line.polygon])


def sheet_of(transcript: Transcript, item: Input) -> Sheet:
    """Raises InputError for pen strokes, which are in no picture."""
    from carousel.common.decoding import Hypothesis

    about, best = transcript.about, transcript.best
    if about.get("domain") == "ink":
        raise InputError("is pen strokes, and this format tells places in a picture; take txt or json")
    pieces: list[list[Symbol]] = [[]]
    for symbol in best.symbols:
        if symbol.text == "\n":
            pieces.append([])
        else:
            pieces[-1].append(symbol)
    image = Path(about.get("image") or item.name).name
    width, height = (about["width"], about["height"]) if "lines" in about else _size(item)
    drawn = about.get("lines", [_whole(width, height)])
    if not drawn:  # a page without text has no line, and its text has none
        return Sheet(image, width, height, about.get("angle", 0.0), [])
    lines = [
        TextLine(name, line["baseline"], line["polygon"], Hypothesis(tuple(symbols), 0.0, best.calibration))
        for name, line, symbols in zip(_names(drawn), drawn, pieces, strict=True)
    ]
    return Sheet(image, width, height, about.get("angle", 0.0), lines)


def _size(item: Input) -> tuple[int, int]:
    """Width and height of the picture of a single line."""
    from carousel.hwr.image.file import picture_size

    if item.path is None or item.page is not None:
        raise InputError("is one of several pictures or from a pipe; for this format save it as a file")
    return picture_size(item.path)


def _whole(width: int, height: int) -> dict[str, Points]:
    """The line that a picture of this size shows. The baseline is a guess."""
    corners = [[0, 0], [width, 0], [width, height], [0, height]]
    return {"baseline": [[0, 0.75 * height], [width, 0.75 * height]], "polygon": corners}


def _names(lines: Iterable[dict[str, Any]]) -> list[str]:
    """The id of each line: its own if it has one that no line before it has."""
    names: list[str] = []
    for number, line in enumerate(lines, 1):
        name = line.get("id", "")
        fits = NAME.fullmatch(name) and name not in names and not name.startswith("carousel_")
        names.append(name if fits else f"carousel_line_{number}")
    return names


def _box(points: Points) -> Box:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def alto(transcript: Transcript, item: Input, model: str) -> str:
    """ALTO 4.4, one block of text; WC is the confidence of a word."""
    sheet = sheet_of(transcript, item)
    root = _root("alto", ALTO)
    about = _add(root, "Description")
    _add(about, "MeasurementUnit", "pixel")
    _add(_add(about, "sourceImageInformation"), "fileName", sheet.image)
    step = _add(about, "Processing", ID="carousel_processing")
    _add(step, "processingStepDescription", f"recognised with the model {model}")
    _add(_add(step, "processingSoftware"), "softwareName", "Carousel")
    size = {"WIDTH": str(sheet.width), "HEIGHT": str(sheet.height)}
    page = _add(_add(root, "Layout"), "Page", ID="carousel_page", PHYSICAL_IMG_NR=str(item.page or 1), **size)
    space = _add(page, "PrintSpace", HPOS="0", VPOS="0", **size)
    block = _add(space, "TextBlock", ID="carousel_block", **_place(sheet.box)) if sheet.lines else space
    for line in sheet.lines:
        baseline = " ".join(f"{x:g},{y:g}" for x, y in line.baseline)
        row = _add(block, "TextLine", ID=line.id, BASELINE=baseline, **_place(line.box))
        _add(_add(row, "Shape"), "Polygon", POINTS=" ".join(f"{x:g},{y:g}" for x, y in line.polygon))
        if not line.words:  # the schema wants a String
            _add(row, "String", CONTENT="", **_place(line.box))
        for number, word in enumerate(line.words):
            if number:
                _add(row, "SP")
            place = _place(word.box or line.box)
            _add(
                row,
                "String",
                ID=f"{line.id}_w{number}",
                CONTENT=word.text,
                WC=f"{word.confidence:.4f}",
                **place,
            )
    return _text(root)


def _place(box: Box) -> dict[str, str]:
    left, top, right, bottom = box
    numbers = {"HPOS": left, "VPOS": top, "WIDTH": right - left, "HEIGHT": bottom - top}
    return {key: f"{number:.1f}" for key, number in numbers.items()}


def page(transcript: Transcript, item: Input, model: str) -> str:
    """PAGE 2019-07-15, one region of text; its schema asks for whole pixels inside the picture."""
    sheet = sheet_of(transcript, item)
    root = _root("PcGts", PAGE)
    about = _add(root, "Metadata")
    _add(about, "Creator", f"Carousel, model {model}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    _add(about, "Created", now)
    _add(about, "LastChange", now)
    turned = {"orientation": f"{sheet.angle:g}"} if sheet.angle else {}
    size = {"imageWidth": str(sheet.width), "imageHeight": str(sheet.height)}
    whole = _add(root, "Page", imageFilename=sheet.image, **size, **turned)
    if sheet.lines:
        order = _add(_add(whole, "ReadingOrder"), "OrderedGroup", id="carousel_order")
        _add(order, "RegionRefIndexed", index="0", regionRef="carousel_region")
        region = _add(whole, "TextRegion", id="carousel_region")
        _add(region, "Coords", points=_points(_corners(sheet.box), sheet))
    for line in sheet.lines:
        row = _add(region, "TextLine", id=line.id)
        _add(row, "Coords", points=_points(line.polygon, sheet))
        _add(row, "Baseline", points=_points(line.baseline, sheet))
        for number, word in enumerate(line.words):
            part = _add(row, "Word", id=f"{line.id}_w{number}")
            _add(part, "Coords", points=_points(_corners(word.box or line.box), sheet))
            _add(_add(part, "TextEquiv", conf=f"{word.confidence:.4f}"), "Unicode", word.text)
        sure = {} if line.read.confidence is None else {"conf": f"{line.read.confidence:.4f}"}
        _add(_add(row, "TextEquiv", **sure), "Unicode", line.read.text)
    return _text(root)


def _corners(box: Box) -> Points:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _points(points: Points, sheet: Sheet) -> str:
    inside = ((min(max(x, 0), sheet.width), min(max(y, 0), sheet.height)) for x, y in points)
    return " ".join(f"{round(x)},{round(y)}" for x, y in inside)


def hocr(transcript: Transcript, item: Input, model: str) -> str:
    """hOCR as XHTML; x_wconf is the confidence of a word in per cent."""
    sheet = sheet_of(transcript, item)
    root = _root("html", "http://www.w3.org/1999/xhtml")
    head = _add(root, "head")
    _add(head, "title", sheet.image)
    _add(head, "meta", charset="utf-8")
    _add(head, "meta", name="ocr-system", content=f"Carousel, model {model}")
    _add(head, "meta", name="ocr-capabilities", content="ocr_page ocr_carea ocr_line ocrx_word ocrp_wconf")
    image = sheet.image.replace('"', "%22")
    whole = f'image "{image}"; {_bbox((0, 0, sheet.width, sheet.height))}; ppageno {(item.page or 1) - 1}'
    page = _add(_add(root, "body"), "div", **{"class": "ocr_page"}, title=whole)
    area = _add(page, "div", **{"class": "ocr_carea"}, title=_bbox(sheet.box)) if sheet.lines else page
    for line in sheet.lines:
        outline = " ".join(f"{x:.0f} {y:.0f}" for x, y in line.polygon)
        title = f"{_bbox(line.box)}; {_baseline(line)}; poly {outline}"
        row = _add(area, "span", id=line.id, **{"class": "ocr_line"}, title=title)
        for number, word in enumerate(line.words):
            title = f"{_bbox(word.box or line.box)}; x_wconf {100 * word.confidence:.0f}"
            part = _add(
                row, "span", word.text, id=f"{line.id}_w{number}", **{"class": "ocrx_word"}, title=title
            )
            part.tail = " " if number + 1 < len(line.words) else None
        row.tail = "\n"
    return "<!DOCTYPE html>\n".join(_text(root, indented=False).split("\n", 1)).replace("?><!", "?>\n<!")


def _bbox(box: Box) -> str:
    return "bbox " + " ".join(f"{number:.0f}" for number in box)


def _baseline(line: TextLine) -> str:
    """Slope, and offset from the lower left corner of the box, of the straight line between its ends."""
    (x0, y0), (x1, y1) = line.baseline[0], line.baseline[-1]
    left, _, _, bottom = line.box
    slope = (y1 - y0) / (x1 - x0) if x1 != x0 else 0.0
    return f"baseline {slope:.4f} {y0 + slope * (left - x0) - bottom:.1f}"


def _root(name: str, space: str) -> Element:
    from xml.etree.ElementTree import Element

    root = Element(name, xmlns=space)
    if space in SCHEMAS:
        root.attrib |= {"xmlns:xsi": INSTANCE, "xsi:schemaLocation": f"{space} {SCHEMAS[space]}"}
    return root


def _add(parent: Element, name: str, text: str | None = None, /, **attributes: str) -> Element:
    from xml.etree.ElementTree import SubElement

    found = SubElement(parent, name, {key: UNFIT.sub("\ufffd", value) for key, value in attributes.items()})
    found.text = None if text is None else UNFIT.sub("\ufffd", text)
    return found


def _text(root: Element, indented: bool = True) -> str:
    from xml.etree.ElementTree import indent, tostring

    if indented:
        indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, "unicode") + "\n"
