"""The best path to a text that may be written (Viterbi): for when a beam has lost all of them."""

from __future__ import annotations

import numba
import numpy as np

from carousel.common.decoding.compiled.prefix_tree import BLANK, NONE
from carousel.common.decoding.compiled.scoring import BETWEEN, Tables
from carousel.common.errors import InputError

MOST = 400_000_000  # frames × places, for which 2 GB are needed


def best_text(tables: Tables, log_probs: np.ndarray) -> list[int] | None:
    """Indices of the text that the places allow with the likeliest single path, or None if none fits.

    log_probs: (frames, symbols) natural log. What a language model or hotwords add has no part in it. Memory:
    five bytes a frame and place. Raises InputError when there are more than 400 million of these.
    """
    places = len(tables.places)
    if len(log_probs) * places > MOST:
        raise InputError(
            f"no text that may be written is on the beam, and {len(log_probs)} frames with {places} places "
            "are too many to look for one without a beam; give a wider --beam or shorter inputs"
        )
    here, arcs = tables.places, tables.arcs
    may_end = (here["word"] == BETWEEN) | (here["close"] > -np.inf)
    spaced = np.flatnonzero(may_end & (here["after"] != NONE))
    counts = here["stop"] - here["first"]
    source = np.concatenate([np.repeat(np.arange(places), counts), spaced]).astype(np.int32)
    target = np.concatenate([arcs["place"], here["after"][spaced]])
    symbol = np.full(places, NONE, np.int32)  # that leads to each place
    symbol[arcs["place"]] = arcs["symbol"]
    symbol[here["after"][spaced]] = tables.space
    rows = np.ascontiguousarray(log_probs, np.float64)
    blank, last, left, came = _viterbi(source, target, symbol, rows)
    ends = np.where(may_end & (here["end"] == 0.0), np.maximum(blank, last), -np.inf)
    place = int(ends.argmax())
    if ends[place] == -np.inf:
        return None
    return _traced(place, bool(last[place] > blank[place]), symbol, left, came)


@numba.njit(cache=True)
def _viterbi(source, target, symbol, rows):  # type: ignore[no-untyped-def]
    """ln of the best path to each place that ends in a blank, and in its symbol; how they came there:

    (frames, places) whether the first came from the symbol, and where the second came from: -1 the place
    itself, else twice the place before it, and one if it was in a blank there.
    """
    frames, places = len(rows), len(symbol)
    left, came = np.zeros((frames, places), np.bool_), np.full((frames, places), -1, np.int32)
    blank, last = np.full(places, -np.inf), np.full(places, -np.inf)
    blank[0] = 0.0
    for t in range(frames):
        row = rows[t]
        next_blank, next_last = np.empty(places), np.full(places, -np.inf)
        for q in range(places):
            left[t, q] = last[q] > blank[q]
            next_blank[q] = max(blank[q], last[q]) + row[BLANK]
            if symbol[q] != NONE:
                next_last[q] = last[q] + row[symbol[q]]
        for k in range(len(source)):
            s, q = source[k], target[k]
            from_blank = symbol[s] == symbol[q] or blank[s] >= last[s]
            score = (blank[s] if from_blank else last[s]) + row[symbol[q]]
            if score > next_last[q]:
                next_last[q] = score
                came[t, q] = 2 * s + from_blank
        blank, last = next_blank, next_last
    return blank, last, left, came


def _traced(place: int, in_symbol: bool, symbol: np.ndarray, left: np.ndarray, came: np.ndarray) -> list[int]:
    """The symbols of the path that ends in a place."""
    found: list[int] = []
    for t in range(len(came) - 1, -1, -1):
        if not in_symbol:
            in_symbol = bool(left[t, place])
        elif came[t, place] >= 0:
            found.append(int(symbol[place]))
            in_symbol = came[t, place] % 2 == 0
            place = int(came[t, place] // 2)
    return found[::-1]
