"""The page of `explain`: one HTML file that shows how one input is read."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from carousel.common.ctc.loss import Span, forced_align, posteriors
from carousel.common.decoding import Hypothesis, decode
from carousel.common.domain import Prepared
from carousel.common.errors import InputError
from carousel.common.explain import pictures, trace
from carousel.common.explain.pictures import Axis, Media
from carousel.common.html import element, write_page
from carousel.common.model.file import Model
from carousel.common.recogniser import scores_of

TEMPLATE = Path(__file__).parent / "template.html"
STEPS = 60  # of the search that are listed
FRAMES = Axis(1.0, "output frame")
AROUND = 6  # output frames that the lattice of a word shows on each side


@dataclass(frozen=True)
class Asked:
    """What of a network is to be shown; the first word, the last layer and its busiest unit if nothing is."""

    word: str | None = None
    layer: int | None = None  # from 1
    direction: int = 1  # 1 or 2
    unit: int | None = None


def write_explanation(path: Path, name: str, model: Model, prepared: Prepared, asked: Asked) -> str:
    """Writes the page; returns the text that is read. name: of the input.

    Raises InputError for an input of several windows, one in which nothing is read, and for a word that is
    not in the text.
    """
    if len(prepared.windows) != 1:
        raise InputError("is read in several windows, and one is explained; give a part of it")
    (features,) = prepared.windows
    ((scores,),) = scores_of(model, [prepared], len(features))
    hypothesis = decode(scores, model.alphabet)[0]
    names = [symbol.text for symbol in hypothesis.stripped()]
    if not names:
        raise InputError("nothing is read in it, so there is nothing to explain")
    target = [model.alphabet.encode(name)[0] for name in names]
    spans = forced_align(scores, target)
    first, last = _word(names, asked.word)
    word = _Word("".join(names[first:last]), first, last, spans[first].start, spans[last - 1].end)
    axis = Axis(model.stride * model.features["hop"], "seconds") if model.domain == "speech" else FRAMES
    cell = _cell(model, features, asked, word)
    peak = spans[first].start + int(scores[spans[first].start : spans[first].end, target[first]].argmax())
    gradient = trace.jacobian(model, features, peak, target[first])
    probable = posteriors(scores, target)
    shown = {
        "activations": _activations(prepared, scores, hypothesis, model, name),
        "lattice": pictures.lattice(probable, spans, names, axis),
        "close": _close(probable, spans, names, word, axis),
        "gates": pictures.unit(cell, axis, (word.start, word.end)),
        "sensitivity": pictures.sensitivity(gradient, axis, model.stride, peak, model.domain == "speech"),
    }
    context = {
        "name": name,
        "model": model.card.get("name"),
        "text": "".join(names),
        "word": word.text,
        "unit": cell,
        "symbol": names[first],
        "when": f"{(peak + 0.5) * axis.step:.2f} s" if axis is not FRAMES else f"frame {peak}",
        "axis": axis,
        "steps": trace.search(scores, model.alphabet)[:STEPS],
        "exp": math.exp,
        "pictures": {key: element(media, key) for key, media in shown.items()},
    }
    write_page(path, TEMPLATE, context)
    return str(context["text"])


class _Word(NamedTuple):
    text: str
    first: int  # symbols [first, last) of the text
    last: int
    start: int  # output frames [start, end)
    end: int


def _word(names: Sequence[str], asked: str | None) -> tuple[int, int]:
    """Symbols [first, last) of a word of the text, of the first one if none is asked for."""
    edges = [-1, *(k for k, name in enumerate(names) if name.isspace()), len(names)]
    words = [(a + 1, b) for a, b in pairwise(edges) if b > a + 1]
    for first, last in words:
        if asked is None or "".join(names[first:last]).casefold() == asked.casefold():
            return first, last
    raise InputError(f"{asked!r} is not a word of what is read: {''.join(names)!r}")


def _cell(model: Model, features: np.ndarray, asked: Asked, word: _Word) -> trace.Unit:
    layers = len(trace.network_of(model).lstm.inputs)
    layer = layers if asked.layer is None else asked.layer
    cells = trace.units(model, features, layer - 1, asked.direction - 1)
    if asked.unit is None:
        return trace.busiest(cells, (word.start, word.end))
    if not 1 <= asked.unit <= len(cells):
        raise InputError(f"the layer has units 1 to {len(cells)}, and no unit {asked.unit}")
    return cells[asked.unit - 1]


def _close(
    probable: np.ndarray, spans: Sequence[Span], names: Sequence[str], word: _Word, axis: Axis
) -> Media:
    """The lattice of one word alone."""
    begin, end = max(word.start - AROUND, 0), min(word.end + AROUND, len(probable))
    own = [Span(s.start - begin, s.end - begin, s.confidence) for s in spans[word.first : word.last]]
    part = probable[begin:end, 2 * word.first : 2 * word.last + 1]
    return pictures.lattice(part, own, names[word.first : word.last], axis, begin)


def _activations(
    prepared: Prepared, scores: np.ndarray, hypothesis: Hypothesis, model: Model, name: str
) -> Media:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "activations.png")
        prepared.draw(scores, hypothesis, model, picture, name)
        return "image/png", picture.read_bytes()
