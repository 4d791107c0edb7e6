"""n-gram models in files of our own: the arrays in safetensors, with a description in JSON in the header.

Nothing in it is executed, and all is checked before compiled code sees it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from carousel.common.errors import InputError
from carousel.common.files import atomic_write
from carousel.common.language.ngram import BEGIN, END, UNITS, UNKNOWN, NGrams

FORMAT = "carousel-ngrams-1"


def write(model: NGrams, path: Path) -> None:
    """Writes a model."""
    names = ("first", "token", "log_prob", "follow", "backoff", "shorter")
    header = {"words": model.words, "counts": model.counts, "unit": model.unit, "running": model.running}
    header["advice"] = model.advice
    arrays = {name: np.ascontiguousarray(getattr(model, name)) for name in names}
    with atomic_write(path) as partial:
        save_file(arrays, partial, {"format": FORMAT, "model": json.dumps(header, ensure_ascii=False)})


def read(path: Path) -> NGrams:
    """A model of such a file. Raises InputError for another kind and for a damaged one."""
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            if header.get("format", "").startswith("carousel-language"):
                raise InputError(
                    f"{path}: is of LSTM layers, which choose afterwards; give it with --rescore"
                )
            if header.get("format") != FORMAT:
                raise InputError(f"{path}: is no language model; `asr lm` and `hwr lm` make one")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            model = NGrams(**_settings(json.loads(header["model"])), **tensors)
            if not _sound(model):
                raise ValueError("its arrays do not fit together")
    except InputError:
        raise
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
