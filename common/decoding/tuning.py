"""`evaluate --tune`: how much a language model counts, by the fewest errors on a valid set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.decoding import decode
from carousel.common.errors import UsageError
from carousel.common.language.ngram_files import load
from carousel.common.language.ngram_safetensors import advise
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.metrics import error_rates

NAMES = ("lm_weight", "bonus", "unknown")
START = (0.5, 0.0, -5.0)
STEPS = ((0.4, 0.8, 3.0), (0.2, 0.4, 1.5), (0.1, 0.2, 0.75))  # from coarse to fine
LEAST, MOST = (0.0, -20.0, -100.0), (3.0, 20.0, 0.0)  # beyond which nobody needs to look

log = logging.getLogger(__name__)

Place = tuple[float, ...]


def tune(
    log_probs: Sequence[np.ndarray],
    texts: Sequence[str],
    alphabet: Alphabet,
    options: dict[str, Any],
    say: Callable[[str], None] = log.info,
) -> dict[str, float]:
    """The weight and bonus of the language model `options["lm"]` with the fewest errors, kept in its file;
    for one over words also what unknown words add, unless the options say that or list the words.

    log_probs: (frames, symbols) of each sample; texts: what they say. Words are counted for a model over
    words, characters for one over characters. say: told of each trial. Raises UsageError for a file that
    cannot keep them.
    """
    path = Path(options["lm"])
    if path.suffix != ".safetensors":
        raise UsageError(
            f"--tune keeps what it finds in the language model's file, and {path} is not .safetensors"
        )
    model = load(path)
    rate = "wer" if model.unit == "words" else "cer"
    rest = {
        k: v
        for k, v in options.items()
        if k not in ("lm", "lm_unit", "lm_weight", "bonus", "decoder", "nbest")
    }
    fixed = any(rest.get(name) is not None for name in ("unknown", "lexicon", "grammar"))
    names = NAMES[:2] if fixed or model.unit == "characters" else NAMES

    def errors(*values: float) -> float:
        asked = {**rest, "lm": model, **dict(zip(names, values, strict=True))}
        found = [decode(scores, alphabet, "beam", **asked)[0].text.strip() for scores in log_probs]
        report = error_rates(zip(texts, found, strict=True))
        value: float = report[rate]  # type: ignore[literal-required]
        say(f"{told(names, values)}: {rate.upper()} {value:.2%}")
        return value

    place, best = descend(errors, START[: len(names)])
    say(f"best: {told(names, place)}: {rate.upper()} {best:.2%}, kept in {path}")
    advice = dict(zip(names, place, strict=True))
    advise(path, advice)
    return advice


def told(names: Sequence[str], place: Place) -> str:
    """`weight 0.70, bonus -1.20`."""
    return ", ".join(
        f"{name.removeprefix('lm_')} {value:.2f}" for name, value in zip(names, place, strict=True)
    )


def descend(errors: Callable[..., float], start: Place = START[:2]) -> tuple[Place, float]:
    """The place of the least value, going from neighbour to neighbour by ever smaller steps.

    Neighbours differ in one number, or in both weight and bonus: more of the one asks for more of the other.
    """
    seen: dict[Place, float] = {}
    size = len(start)
    ways = [tuple(int(k == axis) for k in range(size)) for axis in range(size)]
    ways.append((1, 1, 0)[:size])

    def value(place: Place) -> float:
        if place not in seen:
            seen[place] = errors(*place)
        return seen[place]

    at = start
    for steps in STEPS:
        while True:
            around = [
                tuple(round(x + sign * w * step, 2) for x, w, step in zip(at, way, steps, strict=False))
                for way in ways
                for sign in (1, -1)
            ]
            inside = [
                p
                for p in around
                if all(low <= x <= high for low, x, high in zip(LEAST, p, MOST, strict=False))
            ]
            nearer = min([at, *inside], key=value)
            if value(nearer) >= value(at):
                break
            at = nearer
    return at, value(at)
