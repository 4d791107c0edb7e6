"""The formats of handwriting: a function each, from what was read to the contents of a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from carousel.common.cli import formats as cli_formats
from carousel.common.cli.formats import Format, boxes
from carousel.common.cli.inputs import Input
from carousel.common.errors import InputError
from carousel.hwr.page import write

if TYPE_CHECKING:  # loading it brings numpy
    from carousel.common.domain import Transcript


def as_json(transcript: Transcript, item: Input, model: str) -> str:
    """One JSON object on one line; of a page each line with its place, text, words and symbols."""
    whole = cli_formats.as_dict(transcript, item, model)
    if "lines" in whole:
        pieces: list[list[dict[str, Any]]] = [[]]
        for row in whole.pop("symbols"):
            if row["text"] == "\n":
                pieces.append([])
            else:
                pieces[-1].append(row)
        del whole["words"]
        lines = write.sheet_of(transcript, item).lines
        for row, line, symbols in zip(whole["lines"], lines, pieces, strict=False):
            row |= {"text": line.read.text, "confidence": cli_formats.summary(line.read)["confidence"]}
            row["words"] = [cli_formats.placed(word, transcript.about) for word in line.read.words()]
            row["symbols"] = symbols
    return json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n"


def pdf(transcript: Transcript, item: Input, model: str) -> bytes:
    """The picture with its text behind it, to be searched and copied."""
    from carousel.hwr.page.pdf import searchable

    source = transcript.about.get("image") or item.path
    if source is None:
        raise InputError("came through a pipe, and a PDF shows the picture: save that as a file")
    return searchable(write.sheet_of(transcript, item), source, item.page)


FORMATS = {
    **cli_formats.FORMATS,
    "json": Format(as_json, shared=True, spotting=True),
    "tsv": Format(boxes, spotting=True),
    "alto": Format(write.alto, suffix="xml"),
    "page": Format(write.page, suffix="xml"),
    "hocr": Format(write.hocr, suffix="hocr"),
    "pdf": Format(pdf),
}
