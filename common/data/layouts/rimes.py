"""XML as of RIMES (Grosicki & El Abed, ICDAR 2011): pages of lines, each with its value and its box.

<DocumentList><SinglePage FileName="images/a.png"><Paragraph …>
    <Line Left="3" Top="9" Right="80" Bottom="20" Value="Monsieur,"/> …
"""

from __future__ import annotations

from pathlib import Path

from carousel.common.data.layouts.found import Folder, Found
from carousel.common.errors import InputError
from carousel.common.markup import all_below, read_xml, root_of

ROOTS = ("DocumentList", "SinglePage")
SIDES = ("Left", "Top", "Right", "Bottom")


def files(folder: Folder) -> list[Path]:
    return [file for file in folder.ending(".xml") if root_of(file) in ROOTS]


def read(folder: Folder, found: Found) -> None:
    for file in files(folder):
        try:
            root = read_xml(file)
        except InputError as error:
            found.leave(error, "cannot be read as XML of RIMES")
            continue
        for page in all_below(root, "SinglePage"):
            name = page.get("FileName", "").replace("\\", "/")
            picture = folder.find(name, file.parent, folder.root) if name else None
            for number, line in enumerate(all_below(page, "Line"), 1):
                place = f"{folder.place(file)}: {name}, line {number}"
                try:
                    left, top, right, bottom = (float(line.get(side, "")) for side in SIDES)
                except ValueError:
                    found.leave(place, "a line without its place")
                    continue
                if picture is None:
                    found.leave(place, "missing file")
                    continue
                found.add(
                    picture,
                    line.get("Value", ""),
                    page=Path(name).with_suffix("").as_posix(),
                    line=str(number),
                    split=folder.split(file),
                    polygon=[[left, top], [right, top], [right, bottom], [left, bottom]],
                )
