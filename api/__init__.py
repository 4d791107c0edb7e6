"""Speech and handwriting recognition with stacked bidirectional LSTMs, CTC and one shared decoder.

    import carousel

    speech = carousel.load("speech")
    for word in speech.transcribe("talk.wav").words:
        print(word.text, word.start, word.end, word.confidence)

What is heavy is imported when it is first used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carousel.common.decoding import Symbol
    from carousel.common.domain import Transcript
    from carousel.common.errors import InputError
    from carousel.common.language.lstm import LanguageModel
    from carousel.common.options import Decoding
    from carousel.recogniser import Recogniser, Source

__version__ = "0.1.0"
__all__ = ["Decoding", "InputError", "Recogniser", "Transcript", "align", "load", "spot", "suggest"]

_LAZY = {
    "Decoding": "carousel.common.options",
    "InputError": "carousel.common.errors",
    "Recogniser": "carousel.recogniser",
    "Transcript": "carousel.common.domain",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'carousel' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def load(
    model: str | os.PathLike[str] = "speech", *, device: str = "auto", precision: str = "auto"
) -> Recogniser:
    """Opens a model, which then reads by `.transcribe(…)` or `.recognise(…)`, `.align(…)` and `.spot(…)`.

    model: "speech", "lines" or "ink" for the default that ships, the name of another that ships, a file
    (.safetensors, .onnx), or the folder of a training run. device: "auto", "cpu" or "cuda". precision of the
    matrix products: "auto", "fp32" or "bf16". Raises InputError for what cannot be used.
    """
    from carousel.recogniser import Recogniser

    return Recogniser.load(model, device, precision)


def align(
    source: Source,
    text: str,
    model: Recogniser | str = "speech",
    *,
    skip_unknown: bool = False,
    sample_rate: int | None = None,
) -> Transcript:
    """A known text, each word and symbol where it is, as of `Recogniser.align`."""
    return _opened(model).align(source, text, skip_unknown=skip_unknown, sample_rate=sample_rate)


def spot(
    source: Source,
    words: Sequence[str],
    model: Recogniser | str = "speech",
    *,
    threshold: float | None = None,
    inside: bool = False,
    sample_rate: int | None = None,
) -> list[Symbol]:
    """Where the words are, each with its score as confidence, as of `Recogniser.spot`."""
    found = _opened(model)
    return found.spot(source, words, threshold=threshold, inside=inside, sample_rate=sample_rate)


def suggest(text: str, model: str | os.PathLike[str], count: int = 3) -> list[tuple[str, float]]:
    """The likeliest next words of a text, or ends of the word that is begun, with their probabilities.

    model: the file of an LSTM language model, as `train recipe=language` makes it. Raises InputError.
    """
    from carousel.common.language.suggest import suggest as suggested

    return suggested(text, _language(os.fspath(model)), count)


@lru_cache(maxsize=2)
def _language(file: str) -> LanguageModel:
    from carousel.common.language.lstm import load as opened

    return opened(file)


def _opened(model: Recogniser | str) -> Recogniser:
    return _kept(model) if isinstance(model, str) else model


@lru_cache(maxsize=4)
def _kept(model: str) -> Recogniser:
    return load(model)
