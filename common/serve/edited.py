"""A transcript that a person has corrected, as JSON that came over the net, back into a Transcript."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from carousel.common.decoding import Box, Hypothesis, Symbol
from carousel.common.domain import Transcript
from carousel.common.errors import InputError

MOST_WORDS = 100_000
MOST_SIDE = 1_000_000  # pixels


def parsed(body: bytes) -> dict[str, Any]:
    """Raises InputError for what is no JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise InputError("the request is not JSON") from None
    if not isinstance(value, dict):
        raise InputError("the request is not a JSON object")
    return value


def transcript(row: Mapping[str, Any]) -> Transcript:
    """row: "words" with "text", "confidence", "start" and "end" or "box", and "duration"; or of a picture
    "lines", each with "words", "baseline" and "polygon", and "width" and "height". Raises InputError."""
    try:
        return _page(row) if "lines" in row else _sound(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the transcript lacks something, or has a value that does not fit ({error})"
        ) from None


def name_of(row: Mapping[str, Any]) -> str:
    return str(row.get("file") or "transcript")


def _sound(row: Mapping[str, Any]) -> Transcript:
    duration = _number(row["duration"], 0, 10**6)
    return Transcript((Hypothesis(_line(row["words"]), 0.0),), {"duration": duration, "truncated": False})


def _page(row: Mapping[str, Any]) -> Transcript:
    symbols: list[Symbol] = []
    for number, line in enumerate(row["lines"]):
        symbols += [Symbol("\n", 0, 0, 1.0)] * (number > 0) + [*_line(line["words"])]
    lines = [{key: _points(line[key]) for key in ("baseline", "polygon")} for line in row["lines"]]
    size = {key: int(_number(row[key], 1, MOST_SIDE)) for key in ("width", "height")}
    return Transcript((Hypothesis(tuple(symbols), 0.0),), {"domain": "image", **size, "lines": lines})


def _line(words: Sequence[Mapping[str, Any]]) -> tuple[Symbol, ...]:
    """A word is one symbol of several letters; what a person wrote with spaces is several words."""
    if len(words) > MOST_WORDS:
        raise ValueError(f"more than {MOST_WORDS:,} words")
    found: list[Symbol] = []
    for word in words:
        start, end = (_number(word.get(key, 0), 0, 10**6) for key in ("start", "end"))
        texts = str(word["text"]).split()
        for number, text in enumerate(texts):
            first, last = (start + (end - start) * i / len(texts) for i in (number, number + 1))
            if found:
                found.append(Symbol(" ", first, first, 1.0))
            sure = _number(word.get("confidence", 1.0), 0, 1)
            found.append(Symbol(text, first, last, sure, _box(word.get("box"))))
    return tuple(found)


def _box(value: Any) -> Box | None:
    if value is None:
        return None
    left, top, right, bottom = (_number(number, -MOST_SIDE, MOST_SIDE) for number in value)
    return left, top, right, bottom


def _points(value: Any) -> list[list[float]]:
    points = [[_number(x, -MOST_SIDE, MOST_SIDE), _number(y, -MOST_SIDE, MOST_SIDE)] for x, y in value]
    if len(points) < 2:
        raise ValueError("a line of fewer than two points")
    return points


def _number(value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{str(value)[:40]!r} is not a number")
    if not least <= value <= most:
        raise ValueError(f"{value} is not from {least} to {most}")
    return float(value)
