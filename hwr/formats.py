"""Lines as txt and json: one function a format, from a line to the text of a file."""

import json
from collections.abc import Callable
from typing import Any

from carousel.hwr.recognise import Line, Placed


def txt(line: Line, name: str, model: str, page: int | None = None) -> str:
    return line.best.text + "\n"


def as_json(line: Line, name: str, model: str, page: int | None = None) -> str:
    """One JSON object on one line: boxes are [left, top, right, bottom] in the input's coordinates.

    page: its number in a file of several.
    """
    best = line.best
    whole = {
        "file": name,
        **({} if page is None else {"page": page}),
        "model": model,
        "domain": line.domain,
        **best.summary(),
        "words": [_placed(word) for word in best.words],
        "symbols": [_placed(symbol) for symbol in best.symbols],
        "nbest": [reading.summary() for reading in line.readings],
    }
    return json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n"


def _placed(item: Placed) -> dict[str, Any]:
    box = None if item.box is None else [round(number, 2) for number in item.box]
    return {"text": item.text, "box": box, "confidence": round(item.confidence, 4)}


FORMATS: dict[str, Callable[..., str]] = {"txt": txt, "json": as_json}
