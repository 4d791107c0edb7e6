"""Our beam search beside others', in one process on one core: python tests/bench/decoder.py [UTTERANCES].

Synthetic log-probabilities of 400 frames, about 100 of them with a symbol: mostly sure, as trained networks
are, and with noise on all symbols. pyctcdecode is asked for the same beam and thresholds. The last line is
JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from common.alphabet import Alphabet
from common.decoding import decode
from common.decoding.kneser_ney import estimate

FRAMES, WRITTEN, HEIGHT = 400, 100, 8.0
LIMITS = {"symbol_threshold": -5.0, "score_threshold": 10.0}  # pyctcdecode's own defaults, for both


def utterance(rng: np.random.Generator, symbols: int) -> np.ndarray:
    """(frames, symbols) natural log."""
    logits = rng.normal(size=(FRAMES, symbols))
    path = np.zeros(FRAMES, dtype=int)
    path[rng.choice(FRAMES, WRITTEN, replace=False)] = rng.integers(1, symbols, WRITTEN)
    logits[np.arange(FRAMES), path] += HEIGHT
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def rate(run: Callable[[np.ndarray], Any], utterances: list[np.ndarray]) -> float:
    """Utterances a second, after one to warm up."""
    run(utterances[0])
    started = time.perf_counter()
    for scores in utterances:
        run(scores)
    return len(utterances) / (time.perf_counter() - started)


def word_model(alphabet: Alphabet, rng: np.random.Generator) -> Any:
    """A word 3-gram of 20,000 random words, most of them rare."""
    letters = np.array(alphabet.symbols[1:])
    words = ["".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(2000)]
    picks = np.minimum(rng.zipf(1.3, 20_000), len(words)) - 1
    return estimate([[words[k] for k in line] for line in picks.reshape(-1, 10)], 3)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    rng = np.random.default_rng(0)
    rows = []
    print(f"{'symbols':>8} {'beam':>5} {'lm':>4}  {'decoder':12} {'utterances/s':>12}  {'× pyctcdecode':>13}")
    for symbols in (32, 100):
        alphabet = Alphabet(" " + "".join(chr(0x61 + k) for k in range(symbols - 2)))
        utterances = [utterance(rng, symbols) for _ in range(count)]
        model = word_model(alphabet, rng)
        for beam in (10, 100):
            asked: dict[str, Any] = {"beam": beam, **LIMITS}
            rates = {
                name: rate(
                    partial(decode, alphabet=alphabet, decoder=decoder, **asked, **more), utterances[:n]
                )
                for name, decoder, more, n in (
                    ("pyctcdecode", "pyctcdecode", {}, 3),
                    ("beam", "beam", {}, count),
                    ("beam + lm", "beam", {"lm": model}, count),
                )
            }
            for name, value in rates.items():
                lm = name.endswith("lm")
                ratio = value / rates["pyctcdecode"]
                print(f"{symbols:8} {beam:5} {lm!s:>5} {name:12} {value:12.1f}  {ratio:13.1f}")
                row = {"decoder": name, "source": "synthetic", "symbols": symbols, "beam": beam, "lm": lm}
                rows.append(
                    row | {"utterances_per_s": round(value, 2), "ratio": None if lm else round(ratio, 2)}
                )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
