"""Decoding: from CTC log-probabilities to texts, each symbol with its frames and confidence.

One algorithm a file, and each file has a function decode(log_probs, alphabet, *, …) -> list[Hypothesis], and
perhaps a decode_batch that is faster for several; the functions here check what was asked and hand over.
Frames are output frames of the network; the caller turns them into seconds or pixels by one constant.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

from carousel.common.decoding.hypothesis import Box as Box
from carousel.common.decoding.hypothesis import Hypothesis as Hypothesis
from carousel.common.decoding.hypothesis import Symbol as Symbol
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet

DECODERS = {  # name -> its module; imported when first used: pyctcdecode may be missing and is slow to load
    "greedy": "carousel.common.decoding.greedy",
    "beam": "carousel.common.decoding.beam",
    "pyctcdecode": "carousel.common.decoding.with_pyctcdecode",
}

ROUNDING = 1.0  # natural log by which a log-probability may be above 0, as of quantised networks
SHARES = 4  # of a batch for each thread, as some are done sooner


def decode(
    log_probs: np.ndarray,
    alphabet: Alphabet,
    decoder: str = "greedy",
    beam: int | None = None,
    nbest: int = 1,
    **options: Any,
) -> list[Hypothesis]:
    """The best texts of an utterance or line, best first: at least one, at most nbest.

    log_probs: (frames, symbols) natural log, column 0 the blank. beam: hypotheses kept (None: the decoder's
    default). options: further options of that decoder; None stands for its default. No frames give one empty
    hypothesis. Raises InputError for a decoder that does not exist, an option that it does not have or
    log_probs with NaN.
    """
    return find(decoder)(log_probs, alphabet, **_asked(decoder, beam, nbest, options))


def decode_batch(
    log_probs: Sequence[np.ndarray],
    alphabet: Alphabet,
    threads: int | None = None,
    decoder: str = "greedy",
    beam: int | None = None,
    nbest: int = 1,
    **options: Any,
) -> list[list[Hypothesis]]:
    """`decode` of several utterances or lines, in their order, on several threads at once.

    threads: None for as many as there are cores; options and errors: as of decode. The compiled search of
    decoder beam runs in parallel; other decoders hold Python's lock, so they take one thread.
    """
    asked = _asked(decoder, beam, nbest, options)
    together = getattr(_module(decoder), "decode_batch", None)
    if together is None:
        return [find(decoder)(scores, alphabet, **asked) for scores in log_probs]
    threads = min(threads or os.cpu_count() or 1, len(log_probs))
    if threads <= 1:
        return together(log_probs, alphabet, **asked)
    size = -(-len(log_probs) // (threads * SHARES))
    parts = [log_probs[first : first + size] for first in range(0, len(log_probs), size)]
    with ThreadPoolExecutor(threads) as pool:
        return [found for part in pool.map(lambda p: together(p, alphabet, **asked), parts) for found in part]


def _asked(decoder: str, beam: int | None, nbest: int, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are not left to the decoder's defaults. Raises InputError for one that it has not."""
    known = options_of(decoder)
    asked = {name: value for name, value in {"beam": beam, **options}.items() if value is not None}
    if nbest != 1:  # greedy has one answer, so asking it for one is no mistake
        asked["nbest"] = nbest
    if unusable := asked.keys() - known.keys():
        have = ", ".join(sorted(known)) or "none"
        raise InputError(
            f"decoder {decoder} has no option {', '.join(sorted(unusable))}; its options: {have}"
        )
    return asked


def find(decoder: str) -> Callable[..., list[Hypothesis]]:
    """The decode function of a decoder by its name, or InputError."""
    function: Callable[..., list[Hypothesis]] = _module(decoder).decode
    return function


@functools.cache
def _module(decoder: str) -> ModuleType:
    if decoder not in DECODERS:
        raise InputError(f"no decoder {decoder!r}; there are: {', '.join(sorted(DECODERS))}")
    return importlib.import_module(DECODERS[decoder])


@functools.cache
def options_of(decoder: str) -> dict[str, Any]:
    """The options of a decoder with their defaults; not to be changed."""
    module = _module(decoder)
    parameters = inspect.signature(getattr(module, "decode_batch", module.decode)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check(log_probs: np.ndarray, alphabet: Alphabet) -> None:
    """Raises InputError unless log_probs is (frames, len(alphabet)), the highest of each finite and ≤ 0."""
    check_shape(log_probs, alphabet)
    check_values(log_probs)


def check_shape(log_probs: np.ndarray, alphabet: Alphabet) -> None:
    """Raises InputError unless log_probs is (frames, len(alphabet))."""
    if log_probs.ndim != 2 or log_probs.shape[1] != len(alphabet):
        raise InputError(
            f"log-probabilities of shape {log_probs.shape} do not fit an alphabet of {len(alphabet)} with "
            "the blank: the model and the alphabet are not of one piece"
        )


def check_values(log_probs: np.ndarray) -> None:
    """Raises InputError unless the highest value of each frame is finite and at most 0."""
    best = log_probs.max(axis=1) if len(log_probs) else np.zeros(1)  # max hands NaN on
    bad = ~(np.isfinite(best) & (best <= ROUNDING))
    if bad.any():
        frame = int(bad.argmax())
        what = "NaN" if np.isnan(best[frame]) else f"{best[frame]} as the highest value"
        raise InputError(f"log-probabilities have {what} in frame {frame}: the model or its input is broken")


def check_search(beam: int, nbest: int, symbol_threshold: float, score_threshold: float) -> None:
    """Raises InputError for settings of a beam search that make no sense."""
    for name, value in (("beam", beam), ("nbest", nbest)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
    if nbest > beam:
        raise InputError(f"nbest {nbest} needs a beam of at least {nbest}, and it is {beam}")
    if not symbol_threshold <= 0:  # written so that NaN does not pass either
        raise InputError(f"symbol_threshold is a log-probability, at most 0, not {symbol_threshold!r}")
    if not score_threshold > 0:
        raise InputError(f"score_threshold is a distance in natural logs, above 0, not {score_threshold!r}")
