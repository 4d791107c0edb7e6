"""From features to hypotheses: the network in batches, then the decoder, on several sequences at a time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common.data.batching import batches
from carousel.common.decoding import Hypothesis, decode_batch, options_of
from carousel.common.domain import Prepared, Transcript
from carousel.common.hardware import release_memory
from carousel.common.options import LISTS
from carousel.common.text.lines import Listed

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.decoding.rescoring import Rescorer
    from carousel.common.model.file import Model

BATCH_FRAMES = 20_000  # feature frames in a batch with its padding: 200 s of speech


def recognise(
    model: Model,
    arrays: Sequence[np.ndarray],
    batch_frames: int = BATCH_FRAMES,
    rescorer: Rescorer | None = None,
    sessions: Sequence[Hashable] | None = None,
    **decoding: Any,
) -> list[list[Hypothesis]]:
    """The n-best list of each array (frames, size), in their order, with the model's calibrated confidences.

    decoding: decoder, beam, nbest and further options of common.decoding.decode; see `options`. rescorer:
    chooses among all that the beam holds; sessions: what each array belongs to, as its choose takes them.
    An array without frames (silence, an empty page) is read as empty text and never shown to the network.
    """
    asked = options(model, decoding)
    wide = asked if rescorer is None else widened(asked)
    found = decode_batch(log_probs(model, arrays, batch_frames), model.alphabet, **wide)
    if rescorer is not None:
        found = [nbest[: asked.get("nbest", 1)] for nbest in rescorer.choose(found, sessions)]
    calibration = model.calibration
    return [[hypothesis.calibrated(calibration) for hypothesis in nbest] for nbest in found]


def transcribe(
    model: Model,
    inputs: Sequence[Prepared],
    batch_frames: int = BATCH_FRAMES,
    rescorer: Rescorer | None = None,
    sessions: Sequence[Hashable] | None = None,
    **decoding: Any,
) -> list[Transcript]:
    """The texts of inputs, in their order, with their places. sessions: what each input belongs to, with all
    its windows; the rest as of `recognise`."""
    flat = [window for prepared in inputs for window in prepared.windows]
    if sessions is not None:
        pairs = zip(inputs, sessions, strict=True)
        sessions = [session for prepared, session in pairs for _ in prepared.windows]
    found = iter(recognise(model, flat, batch_frames, rescorer, sessions, **decoding))
    nbest = options(model, decoding).get("nbest", 1)
    return [
        Transcript(
            tuple(prepared.located([next(found) for _ in prepared.windows], model.stride, nbest)),
            prepared.about,
        )
        for prepared in inputs
    ]


def scores_of(model: Model, inputs: Sequence[Prepared], batch_frames: int) -> list[list[np.ndarray]]:
    """(output frames, symbols) natural logs of each window of each input."""
    scores = iter(log_probs(model, [w for prepared in inputs for w in prepared.windows], batch_frames))
    return [[next(scores) for _ in prepared.windows] for prepared in inputs]


def widened(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Options with which a beam search gives all the texts that it holds."""
    beam = asked.get("beam") or options_of(asked["decoder"])["beam"]
    return {**asked, "beam": beam, "nbest": beam}


def options(model: Model, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for over the model's defaults, which are those of its own decoder and of no other.

    A lexicon or grammar takes the place of the model's own list of words or texts.
    """
    own = model.decoder.get("decoder", "greedy")
    if asked.get("decoder", own) != own:
        return dict(asked)
    listed = bool(asked.keys() & LISTS)
    kept = {
        name: Listed(value) if isinstance(value, list) else value
        for name, value in model.decoder.items()
        if not (listed and name in LISTS)
    }
    return {**kept, **asked}


def log_probs(
    model: Model, arrays: Sequence[np.ndarray], batch_frames: int = BATCH_FRAMES
) -> list[np.ndarray]:
    """(output frames, symbols) natural log of each array (frames, size), in their order."""
    results = [np.zeros((0, len(model.alphabet)), np.float32)] * len(arrays)
    for batch in batches([len(array) for array in arrays], batch_frames):
        for index, scores in zip(batch, model.log_probs([arrays[index] for index in batch]), strict=True):
            results[index] = scores
        release_memory()
    return results
