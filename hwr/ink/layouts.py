"""Folders of pen strokes: UNIPEN with segments, InkML that says what is written, ink with texts beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from carousel.common.data.layouts import OWN, Folder, Found, Layout, beside
from carousel.common.errors import InputError
from carousel.common.markup import all_below, below, read_xml, root_of, tag
from carousel.hwr.ink.file import Ink, read_ink
from carousel.hwr.ink.inkml import read_inkml
from carousel.hwr.ink.unipen import read_unipen

INK = ("strokes",)
# One level of a UNIPEN file is taken, the first of these that has texts: what is read is lines and words.
LEVELS = ("LINE", "PHRASE", "SENTENCE", "WORD", "DIGIT", "CHARACTER", "TEXT", "PARAGRAPH")
WRITTEN = ("transcription", "text", "truth", "label", "normalizedlabel")  # types of InkML's annotations
WRITER = ("writer", "writerid", "writer_id", "author")
UNIPEN = (".dat", ".unp", ".unipen")
LARGEST = 256 << 20  # bytes of a UNIPEN file


# UNIPEN


def unipen_files(folder: Folder) -> list[Path]:
    return [file for file in folder.ending(*UNIPEN) if ".SEGMENT" in _text(file)]


def _text(file: Path) -> str:
    if file.stat().st_size > LARGEST:
        raise InputError(f"{file}: is larger than {LARGEST >> 20} MB; cut it up")
    return file.read_text(encoding="latin-1")  # comments of the nineties; statements are ASCII


def read_unipen_files(folder: Folder, found: Found) -> None:
    for file in unipen_files(folder):
        place = folder.place(file)

        def include(name: str, file: Path = file, place: str = place) -> str:
            """Of a file that another names: beside it, or below the folder, never elsewhere."""
            for base in (file.parent, folder.root, folder.root / "include", folder.root.parent / "include"):
                path = base / name
                if path.is_file() and path.resolve().is_relative_to(folder.root.resolve()):
                    return _text(path)
            found.leave(f"{place}: {name}", "a file that it includes is missing")
            return ""

        try:
            read = read_unipen(_text(file), include)
        except InputError as error:
            found.leave(f"{place}: {error}", "cannot be read as UNIPEN")
            continue
        there = {segment.kind for segment in read.segments if segment.text.strip()}
        level = next((kind for kind in (*LEVELS, *sorted(there)) if kind in there), None)
        for number, segment in enumerate(read.segments):
            if segment.kind == level:
                where = f"{place}: {segment.text!r}"
                _add(found, where, partial(read.ink, number), segment.text, read.writer)


def _add(
    found: Found, place: str, ink: Callable[[], Ink], text: str, writer: str | None, **more: str | None
) -> None:
    """A row of the strokes that a function gives, or what is wrong with them."""
    try:
        strokes = ink()
    except InputError as error:
        found.leave(f"{place}: {error}", "cannot be read as ink")
        return
    if not strokes or not all(np.isfinite(stroke).all() for stroke in strokes):
        found.leave(place, "no ink")
    elif not text.strip():
        found.leave(place, "empty text")
    else:
        found.add(strokes, text, writer=writer, **more)


# InkML


def inkml_files(folder: Folder) -> list[Path]:
    ink = [file for file in folder.ending(".inkml", ".xml") if root_of(file) == "ink"]
    return ink if any(_written(file) for file in ink[:20]) else []


def _written(file: Path) -> bool:
    try:
        return any(_annotation(element, WRITTEN) for element in read_xml(file).iter())
    except InputError:
        return False


def read_inkml_files(folder: Folder, found: Found) -> None:
    """What a file says of itself or, of a page, what its groups of traces say."""
    for file in inkml_files(folder):
        place = folder.place(file)
        try:
            root = read_xml(file)
        except InputError as error:
            found.leave(error, "cannot be read as InkML")
            continue
        writer = next((name for e in root.iter() if (name := _annotation(e, WRITER))), None)
        split = folder.split(file)
        if text := _annotation(root, WRITTEN):
            _add(found, place, partial(read_inkml, root), text, writer, split=split)
            continue
        lines = list(_lines(root))
        if not lines:
            found.leave(place, "no annotation that says what is written")
        for number, (line, text) in enumerate(lines, 1):
            part = Element("ink")
            SubElement(part, "definitions").extend(root)
            part.append(line)
            where = f"{place}, {number}"
            page = file.relative_to(folder.root).with_suffix("").as_posix()
            _add(found, where, partial(read_inkml, part), text, writer, split=split, page=page)


def _annotation(element: Element, names: tuple[str, ...]) -> str:
    """The text of an element's own annotation of one of these types, the first of them that it has."""
    own = {(a.get("type") or "").lower(): (a.text or "").strip() for a in below(element, "annotation")}
    return next((own[name] for name in names if own.get(name)), "")


def _lines(root: Element) -> Iterator[tuple[Element, str]]:
    """Groups of traces that say what is written: those that are called lines, else the outermost."""
    groups = [e for kind in ("traceView", "traceGroup") for e in all_below(root, kind)]
    lines = [e for e in groups if _annotation(e, ("type",)).lower() in ("textline", "line")]
    if lines:
        yield from ((line, text) for line in lines if (text := _annotation(line, WRITTEN)))
        return
    waiting = list(root)
    while waiting:
        element = waiting.pop(0)
        if text := _annotation(element, WRITTEN):
            yield element, text
        elif tag(element) in ("traceView", "traceGroup"):
            waiting = [*element, *waiting]


# ink with texts beside it


def read_beside(folder: Folder, found: Found) -> None:
    listed = Found(found.layout, found.key, left_out=found.left_out)
    beside.read(folder, listed)
    for row in listed.rows:
        file, text, split = row["strokes"], row["text"], row.get("split")
        _add(found, folder.place(file), partial(read_ink, file), text, None, split=split)


LAYOUTS = (
    OWN,
    Layout("UNIPEN", "UNIPEN files with .SEGMENT", INK, unipen_files, read_unipen_files),
    Layout("InkML", "InkML that says what is written", INK, inkml_files, read_inkml_files),
    Layout("texts beside ink", "ink with .txt beside it", INK, beside.claims, read_beside),
)
