"""Folders of line pictures, and of pages with ALTO or PAGE XML: a row for each line, with its place."""

from __future__ import annotations

from pathlib import Path

from carousel.common.data.layouts import LAYOUTS as OF_FILES
from carousel.common.data.layouts import OWN, Folder, Found, Layout
from carousel.common.errors import InputError
from carousel.common.markup import root_of
from carousel.hwr.domain import PAGES
from carousel.hwr.page.read import open_page


def files(folder: Folder) -> list[Path]:
    return [file for file in folder.ending(".xml") if root_of(file) in PAGES]


def read(folder: Folder, found: Found) -> None:
    """What has no text or no place is left out; so is a page whose picture is not there."""
    for file in files(folder):
        try:
            page, picture = open_page(file)
        except InputError as error:
            found.leave(error, "cannot be read as a page")
            continue
        name = (file.parent.relative_to(folder.root) / picture.stem).as_posix()
        for line in page.lines:
            places = {"baseline": line.baseline.round(1).tolist(), "polygon": line.polygon.round(1).tolist()}
            found.add(picture, line.text or "", page=name, line=line.id, split=folder.split(file), **places)


LAYOUTS = (
    OWN,
    Layout("PAGE or ALTO", "PAGE or ALTO XML beside pages", ("image",), files, read),
    *(layout for layout in OF_FILES if layout is not OWN),
)
