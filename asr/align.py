"""When each word of a known text is said in a recording: forced alignment in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from asr.transcribe import Prepared, Timed, prepare
from common.align import Alignment, align, spell
from common.alphabet import Alphabet
from common.corpus import Sample
from common.errors import InputError

if TYPE_CHECKING:  # loading it brings torch
    from common.model_file import Model

REACH = 0.12  # s that a word may be longer than its spikes, at each end


def word_segments(model: Model, sample: Sample) -> list[Timed]:
    """The words of a manifest's sample, in their order, from start to end in seconds of its recording.

    Raises InputError naming the recording where the text cannot be aligned.
    """
    from asr.audio import read_audio
    from common.recognise import log_probs

    if sample.audio is None:
        raise InputError(f'{sample.where}: has no "audio", so there is nothing to align the text with')
    try:
        spelling = spell(sample.text, model.alphabet)
        prepared = prepare(read_audio(sample.audio, model.features["sample_rate"]), model.features)
        scores, edges = joined(prepared, log_probs(model, prepared.windows), model.stride, model.alphabet)
        found = align(scores, spelling, REACH / (model.stride * prepared.step))
    except InputError as error:
        name = str(sample.audio)
        raise (error if str(error).startswith(name) else InputError(f"{name}: {error}")) from None
    return timed_words(found, edges)


def joined(
    prepared: Prepared, scores: Sequence[np.ndarray], stride: int, alphabet: Alphabet
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of a recording one after the other: (frames, symbols), and (frames + 1,) seconds of edges.

    Between two windows, and for a silent one, stands a frame in which blank and space are certain: the
    network wrote no space at a cut that parts two words.
    """
    step = stride * prepared.step
    pause = np.full((1, len(alphabet)), -np.inf, np.float32)
    pause[0, [0, *([] if alphabet.unknown(" ") else alphabet.encode(" "))]] = 0.0
    pieces: list[np.ndarray] = []
    edges: list[np.ndarray] = []
    for window, (start, end) in zip(scores, prepared.spans, strict=True):
        if pieces or not len(window):
            pieces.append(pause)
            edges.append(np.array([start]))
        pieces.append(window)
        edges.append(np.minimum(start + step * np.arange(len(window)), end))
    return np.concatenate(pieces), np.append(np.concatenate(edges), prepared.duration)


def timed_words(found: Alignment, edges: np.ndarray) -> list[Timed]:
    """The words in seconds. edges: (frames + 1,) where each output frame begins, and where the last ends."""
    frames = np.arange(len(edges))
    return [
        Timed(
            word.text,
            float(np.interp(word.start, frames, edges)),
            float(np.interp(word.end, frames, edges)),
            word.confidence,
        )
        for word in found.words
    ]
