"""The command `hwr`: handwriting to text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli import main as command
from carousel.common.cli.program import Program
from carousel.hwr.domain import IMAGE, INK
from carousel.hwr.formats import FORMATS

if TYPE_CHECKING:  # loading it brings numpy
    from carousel.common.cli.inputs import Input
    from carousel.common.domain import Transcript


def draw(transcript: Transcript, item: Input, path: Path) -> None:
    from carousel.hwr.plot import draw_writing

    draw_writing(transcript, item, path)


PROGRAM = Program(
    name="hwr",
    purpose="Handwriting to text: train, recognise, evaluate. What is read is pictures of pages and of "
    "single lines, and pen strokes.",
    domains=(IMAGE, INK),
    formats=FORMATS,
    verb="recognise",
    does="write down what pictures of pages or lines, or pen strokes, say",
    examples="""
        hwr recognise line.png                         the text, to standard output
        hwr recognise page.jpg --plot found.png        the text of a page, and a picture of what was found
        hwr recognise word.inkml --format json         words with their boxes
        hwr recognise lines/ --output texts/           one text for each file below a folder
        cat line.png | hwr recognise -                 a picture, or strokes, from standard input
        hwr recognise line.png --format json --nbest 5 the five likeliest texts
    """,
    takes=(
        "IMAGE|XML|INK|FOLDER|-",
        "pictures of pages or lines (any format that Pillow reads; each page or frame of a file counts), "
        "ALTO or PAGE files with the picture of the page beside them, "
        "pen strokes (.json, InkML, UNIPEN), folders of them, - for standard input; what a file holds is "
        "told by its suffix, or else by its first bytes",
    ),
    input="picture or ink",
    inputs="pictures of pages or lines, or pen strokes",
    example="line.png",
    recipes=("unipen_words", "htr_lines"),
    group="writer",
    sessions=("folder", "none"),
    unit="1000 lines",
    part="lines",
    parts=1000,
    demo="recognise the handwriting that comes",
    draw=draw,
    draws="what was read over the picture or ink, in its place: of a page the lines in their order",
    has_pages=True,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 all done, 1 some inputs failed, 2 wrong usage."""
    return command.main(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
