"""n-gram models in files of our own: the arrays in safetensors, with a description in JSON in the header.

Nothing in it is executed, and all is checked before compiled code sees it.

There are two: the arrays of NGrams as they are, and a compact one of 3 to 6 bytes an n-gram, which holds the
tokens, how many arcs each state has, and log-probabilities and weights as one of 256 values each (Federico &
Bertoldi 2006, "How many bits are needed to store probabilities for phrase-based translation?"). The rest
follows from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from carousel.common.errors import InputError, named
from carousel.common.files import atomic_write
from carousel.common.language.ngram import BEGIN, BEGIN_ID, END, UNITS, UNKNOWN, NGrams, structure

FORMAT = "carousel-ngrams-1"
COMPACT = "carousel-ngrams-2"
LEVELS = 256
VALUES = ("score_values", "weight_values")
FITTING = 20  # rounds of Lloyd's algorithm
NEVER = np.float32(-99 * math.log(10))  # ln of the probability of <s>


def write(model: NGrams, path: Path, compact: bool = False) -> None:
    """Writes a model."""
    names = ("first", "token", "log_prob", "follow", "backoff", "shorter")
    header = {"words": model.words, "counts": model.counts, "unit": model.unit, "running": model.running}
    header["advice"] = model.advice
    arrays = (
        _compact(model) if compact else {name: np.ascontiguousarray(getattr(model, name)) for name in names}
    )
    about = {"format": COMPACT if compact else FORMAT, "model": json.dumps(header, ensure_ascii=False)}
    with atomic_write(path) as partial:
        save_file(arrays, partial, about)


def advise(path: Path, advice: Mapping[str, float]) -> None:
    """Puts options of a search into the description of a file, whose arrays stay as they are."""
    with safe_open(path, "numpy") as file:
        about = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about["model"] = json.dumps({**json.loads(about["model"]), "advice": advice}, ensure_ascii=False)
    with atomic_write(path) as partial:
        save_file(arrays, partial, about)


def compact_size(words: Sequence[str], counts: Sequence[int]) -> int:
    """Bytes of a compact file of a model with so many n-grams of each order, at the most."""
    token = _token_type(words).itemsize
    held = (token + 1) * (sum(counts) + sum(counts[:-1])) + 8 * LEVELS * len(counts)
    return held + len(json.dumps(json.dumps(words, ensure_ascii=False)).encode()) + 2048


def _token_type(words: Sequence[str]) -> np.dtype[Any]:
    return np.dtype(np.uint16 if len(words) < 2**16 else np.uint32)


def _compact(model: NGrams) -> dict[str, np.ndarray]:
    """token (arcs,) · arcs (states - 1,), the empty context's being all tokens · score (arcs,) and its values
    (order, LEVELS) · weight (contexts with arcs,) and its values (order, LEVELS), of each order its own."""
    bounds = np.cumsum([0, *model.counts])
    arcs = np.diff(model.first)[1:]
    scores, weights, score_values, weight_values = [], [], [], []
    for n, (a, b) in enumerate(pairwise(bounds)):
        values, places = _quantised(model.log_prob[a:b])
        score_values.append(values)
        scores.append(places)
        if n + 1 < model.order:
            values, places = _quantised(model.backoff[a + 1 : b + 1][arcs[a:b] > 0])
            weight_values.append(values)
            weights.append(places)
    return {
        "token": model.token[model.counts[0] :].astype(_token_type(model.words)),
        "arcs": arcs.astype(_token_type(model.words)),
        "score": np.concatenate(scores),
        "score_values": np.stack(score_values),
        "weight": np.concatenate([*weights, np.zeros(0, np.uint8)]),
        "weight_values": np.stack([*weight_values, np.zeros(LEVELS, np.float32)]),
    }


def _quantised(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(LEVELS,) values that are nearest to numbers in the mean square, and (numbers,) which is whose."""
    if not len(numbers):
        return np.zeros(LEVELS, np.float32), np.zeros(0, np.uint8)
    values = np.quantile(numbers.astype(np.float64), np.linspace(0, 1, LEVELS))
    for _ in range(FITTING):
        places = np.searchsorted((values[1:] + values[:-1]) / 2, numbers)
        count = np.bincount(places, minlength=LEVELS)
        total = np.bincount(places, numbers, minlength=LEVELS)
        values = np.sort(np.where(count > 0, total / np.maximum(count, 1), values))
    return values.astype(np.float32), np.searchsorted((values[1:] + values[:-1]) / 2, numbers).astype(
        np.uint8
    )


def _expanded(header: dict[str, Any], parts: dict[str, np.ndarray]) -> NGrams:
    """A model of a compact file. Raises ValueError where its arrays do not fit together."""
    counts, words = header["counts"], len(header["words"])
    order, bounds = len(counts), np.cumsum([0, *counts])
    token, arcs, score, weight = (parts[name] for name in ("token", "arcs", "score", "weight"))
    sound = (
        order >= 1
        and words == counts[0]
        and token.dtype in (np.uint16, np.uint32)
        and arcs.dtype == token.dtype
        and score.dtype == weight.dtype == np.uint8
        and all(array.ndim == 1 for array in (token, arcs, score, weight))
        and all(parts[n].dtype == np.float32 and parts[n].shape == (order, LEVELS) for n in VALUES)
        and len(token) == bounds[-1] - words
        and len(score) == bounds[-1]
        and len(arcs) == (0 if order == 1 else bounds[-2])
        and all(
            arcs[a:b].sum(dtype=np.int64) == count
            for a, b, count in zip(bounds, bounds[1:-1], counts[1:], strict=False)
        )
        and len(weight) == np.count_nonzero(arcs)
        and bool((token < words).all())
    )
    if not sound:
        raise ValueError("its arrays do not fit together")
    first = np.concatenate([[0, words], words + np.cumsum(arcs, dtype=np.int64)])
    tokens = np.concatenate([np.arange(words), token.astype(np.int64)])
    begins = np.zeros(len(tokens) + 1, bool)
    begins[first] = True
    if not (begins[1:-1] | (np.diff(tokens) > 0)).all():
        raise ValueError("its n-grams are not in order")
    of_order = np.repeat(np.arange(order), counts)
    log_prob = parts["score_values"][of_order, score]
    log_prob[BEGIN_ID] = NEVER
    backoff = np.zeros(bounds[-1], np.float32)
    held = np.flatnonzero(arcs)
    backoff[held] = parts["weight_values"][of_order[held], weight]
    cuts = bounds[1:-1]
    return replace(
        NGrams.build(
            header["words"],
            structure(first, tokens, counts),
            np.split(log_prob, cuts),
            np.split(backoff, cuts),
        ),
        **{name: header[name] for name in ("unit", "running", "advice")},
    )


def read(path: Path) -> NGrams:
    """A model of such a file. Raises InputError for another kind and for a damaged one."""
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            if header.get("format", "").startswith("carousel-language"):
                raise InputError(
                    f"{path}: is of LSTM layers, which choose afterwards; give it with --rescore"
                )
            if header.get("format") not in (FORMAT, COMPACT):
                raise InputError(f"{path}: is not a language model; `asr lm` and `hwr lm` make one")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            told = _settings(json.loads(header["model"]))
            if header["format"] == COMPACT:
                return _expanded(told, tensors)
            model = NGrams(**told, **tensors)
            if not _sound(model):
                raise ValueError("its arrays do not fit together")
    except InputError as error:
        raise InputError(named(str(error), str(path))) from None
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{path}: is damaged ({error}); make the language model anew") from None
    return model


def _settings(header: dict[str, Any]) -> dict[str, Any]:
    """The description of our own file, whose values have the types that they should. Raises ValueError."""
    advice = header["advice"]
    sound = (
        all(isinstance(header[name], list) for name in ("words", "counts"))
        and all(isinstance(word, str) for word in header["words"])
        and len(set(header["words"])) == len(header["words"])
        and all(type(count) is int and count >= 0 for count in header["counts"])
        and header["unit"] in UNITS
        and isinstance(header["running"], bool)
        and isinstance(advice, dict)
        and set(advice) <= {"lm_weight", "bonus", "unknown"}
        and all(isinstance(value, float) and math.isfinite(value) for value in advice.values())
        and advice.get("unknown", 0.0) <= 0.0 <= advice.get("lm_weight", 0.0)
    )
    if not sound:
        raise ValueError("its description makes no sense")
    return header


def _sound(model: NGrams) -> bool:
    """Whether every index points into its array, as compiled code would not notice, ."""
    states, arcs, words = len(model.backoff), len(model.token), len(model.words)
    whole = (model.first, model.token, model.follow, model.shorter)
    scores = (model.log_prob, model.backoff)
    return (
        all(array.dtype == np.int32 and array.ndim == 1 for array in whole)
        and all(array.dtype == np.float32 and array.ndim == 1 for array in scores)
        and words >= 3
        and model.words[:3] == [UNKNOWN, BEGIN, END]
        and len(model.first) == states + 1 == sum(model.counts[:-1]) + 2
        and len(model.shorter) == states
        and len(model.log_prob) == len(model.follow) == arcs == sum(model.counts)
        and words == model.counts[0] == model.first[1]
        and model.first[0] == 0
        and model.first[-1] == arcs
        and bool((np.diff(model.first) >= 0).all())
        and bool((model.token[:words] == np.arange(words)).all())
        and bool(((model.token >= 0) & (model.token < words)).all())
        and bool(((model.follow >= 0) & (model.follow < states)).all())
        and bool((model.shorter[1:] < np.arange(1, states)).all() and (model.shorter >= 0).all())
    )
