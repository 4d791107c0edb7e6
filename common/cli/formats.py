"""What a result looks like: one function a format, from a transcript to the text of a file.

A new format is one entry of the dict of a program. Those that need more than this are in asr.formats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from carousel.common.cli.inputs import Input

if TYPE_CHECKING:  # loading them brings numpy
    from carousel.common.decoding import Hypothesis, Symbol
    from carousel.common.domain import Transcript

    Writer = Callable[[Transcript, Input, str], str | bytes]


PARAGRAPH = "\n\n"  # between two


@dataclass(frozen=True, slots=True)
class Format:
    """write: from what was found, the input and the name of the model to the contents of a file."""

    write: Writer
    suffix: str = ""  # of its files, where it is not the format's name
    shared: bool = False  # several can stand in one stream
    spotting: bool = False  # can hold keywords
    timed: Writer | None = None  # the same with times, where the format has them only then


def txt(transcript: Transcript, item: Input, model: str) -> str:
    """The text, or the keywords with their places and scores."""
    if transcript.found is None:
        return transcript.text + "\n"
    places = [f"{s.text} {_shown(s, transcript)} ({s.confidence:.2f})" for s in transcript.found]
    return ", ".join(places) + "\n"


def _shown(symbol: Symbol, transcript: Transcript) -> str:
    """Seconds, or left, top, right and bottom."""
    if "duration" in transcript.about:
        return f"{symbol.start:.2f}-{symbol.end:.2f} s"
    return ",".join(f"{number:.0f}" for number in symbol.box) if symbol.box else "?"


def as_json(transcript: Transcript, item: Input, model: str) -> str:
    """One JSON object on one line, as of `as_dict`."""
    return json.dumps(as_dict(transcript, item, model), ensure_ascii=False, allow_nan=False) + "\n"


def as_dict(transcript: Transcript, item: Input, model: str) -> dict[str, Any]:
    """What the JSON of an input says.

    Times are in seconds, boxes [left, top, right, bottom] in the coordinates of the input, confidences in
    0 … 1, `nbest` best first, `frames` those of the network.
    """
    about = {key: round(v, 3) if key == "duration" else v for key, v in transcript.about.items()}
    page = {} if item.page is None else {"page": item.page}
    whole: dict[str, Any] = {"file": item.name, **page, "model": model}
    if transcript.found is not None:
        rows = [
            {"word": s.text, **_place(s, about), "score": round(s.confidence, 4)} for s in transcript.found
        ]
        told = {key: about[key] for key in about if key == "truncated"}
        return {**whole, **told, "spotted": rows}
    best = transcript.best
    symbols = [placed(symbol, about) for symbol in best.symbols]
    whole |= {**about, **summary(best)}
    if transcript.spikes:
        whole["score_per_frame"] = round(best.score / transcript.frames, 4)
        symbols = [row | {"frames": spike} for row, spike in zip(symbols, transcript.spikes, strict=True)]
    whole |= {"words": [placed(word, about) for word in transcript.words], "symbols": symbols}
    if not transcript.spikes:
        whole["nbest"] = [summary(reading) for reading in transcript.readings]
    return whole


def placed(symbol: Symbol, about: Mapping[str, Any]) -> dict[str, Any]:
    """A symbol or a word with its time or box. about: as of Transcript."""
    channel = {"channel": symbol.channel} if symbol.channel else {}
    place = _place(symbol, about)
    return {**channel, "text": symbol.text, **place, "confidence": round(symbol.confidence, 4)}


def _place(symbol: Symbol, about: Mapping[str, Any]) -> dict[str, Any]:
    if "duration" in about:
        return {"start": round(symbol.start, 3), "end": round(symbol.end, 3)}
    return {"box": [round(number, 2) for number in symbol.box] if symbol.box else None}


def summary(reading: Hypothesis) -> dict[str, Any]:
    confidence = reading.confidence
    return {
        "text": reading.text,
        "confidence": None if confidence is None else round(confidence, 4),
        "score": round(reading.score, 4),
    }


def boxes(transcript: Transcript, item: Input, model: str) -> str:
    """Of each word left, top, right and bottom in the coordinates of the input, confidence and text."""
    rows = [f"left\ttop\tright\tbottom\t{'confidence' if transcript.found is None else 'score'}\ttext"]
    for word in transcript.words:
        box = [f"{number:.2f}" for number in word.box] if word.box else [""] * 4
        rows.append("\t".join([*box, f"{word.confidence:.4f}", word.text]))
    return "\n".join(rows) + "\n"


FORMATS = {
    "txt": Format(txt, shared=True, spotting=True),
    "json": Format(as_json, shared=True, spotting=True),
}
