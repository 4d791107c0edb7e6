"""`evaluate --tune`: how much a language model counts, by the fewest errors on a valid set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.alphabet import Alphabet
from common.command import UsageError, say
from common.decoding import decode, ngram
from common.decoding.ngram import NGrams
from common.metrics import error_rates

START = (0.5, 0.0)  # weight and bonus
STEPS = ((0.4, 0.8), (0.2, 0.4), (0.1, 0.2))  # of both, from coarse to fine
MOST = 3.0  # weight beyond which nobody needs to look


def tune(
    log_probs: Sequence[np.ndarray], texts: Sequence[str], alphabet: Alphabet, options: dict[str, Any]
) -> dict[str, float]:
    """The weight and bonus of the language model `options["lm"]` with the fewest errors, kept in its file.

    log_probs: (frames, symbols) of each sample; texts: what they say. Words are counted for a model over
    words, characters for one over characters. Raises UsageError for a file that cannot keep them.
    """
    path = Path(options["lm"])
    if path.suffix != ".safetensors":
        raise UsageError(
            f"--tune keeps what it finds in the language model's file, and {path} is not .safetensors"
        )
    model = ngram.load(path)
    rate = "wer" if model.unit == "words" else "cer"
    rest = {k: v for k, v in options.items() if k not in ("lm", "lm_weight", "bonus", "decoder", "nbest")}

    def errors(weight: float, bonus: float) -> float:
        asked = {**rest, "lm": model, "lm_weight": weight, "bonus": bonus}
        found = [decode(scores, alphabet, "beam", **asked)[0].text.strip() for scores in log_probs]
        report = error_rates(zip(texts, found, strict=True))
        value = report["wer"] if rate == "wer" else report["cer"]
        say(f"weight {weight:.2f}, bonus {bonus:+.2f}: {rate.upper()} {value:.2%}")
        return value

    (weight, bonus), best = descend(errors)
    say(f"best: weight {weight:.2f}, bonus {bonus:+.2f}: {rate.upper()} {best:.2%}, kept in {path}")
    advice = {"lm_weight": weight, "bonus": bonus}
    NGrams(**{**model.__dict__, "advice": advice}).save(path)
    return advice


def descend(errors: Callable[[float, float], float]) -> tuple[tuple[float, float], float]:
    """The place of the least value, going from neighbour to neighbour by ever smaller steps."""
    seen: dict[tuple[float, float], float] = {}

    def value(place: tuple[float, float]) -> float:
        if place not in seen:
            seen[place] = errors(*place)
        return seen[place]

    at = START
    for step, stride in STEPS:
        while True:
            weight, bonus = at
            around = [
                (round(weight + dw * step, 2), round(bonus + db * stride, 2))
                for dw, db in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
            ]
            nearer = min((place for place in around if 0 <= place[0] <= MOST), key=value)
            if value(nearer) >= value(at):
                break
            at = nearer
    return at, value(at)
