"""Where in a recording somebody speaks: a small bidirectional LSTM over the loudness of a few bands.

It tells voices from music, noise and silence before anything is read (recipes/voice.py trains it). Its model
file is that of a recogniser of one symbol, whose blank says that nobody speaks. Times are seconds.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carousel.asr.features import log_mel

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.decoding import Symbol
    from carousel.common.model.file import Model

MODEL = Path(__file__).parent / "voice.safetensors"
FEATURES = {"filters": 20, "low": 100.0, "high": 3800.0, "preemphasis": 0.97}  # of a telephone as well
WINDOW, HOP = 0.032, 0.02  # s
STRIDE = 2  # frames that the network takes as one
STEP = STRIDE * HOP  # s, of its output
RANGE = 10.0  # natural log of power below the loudest that is told apart: 43 dB
LOUDEST = 99  # %: so much of a recording is not louder than its level
ROW, BESIDE = 60.0, 5.0  # s that are one row of a batch, and what it shows of its neighbours on each side
ROWS = 20
HEARD = 0.1  # the chance of a voice from which on it is read
SURE, CONFIDENT = 0.7, 0.5  # of a voice, and of a word: what is read with less of both is no speech
NEAR = 0.4  # s that are kept on each side of a voice
GAP = 1.5  # s: a shorter one between two voices is a pause in speech


def bands(wave: np.ndarray, rate: int) -> np.ndarray:
    """(frames, filters) float32 of a wave (samples,), frames of HOP: 0 is its level, -1 is RANGE lower."""
    window, hop = round(WINDOW * rate), round(HOP * rate)
    settings, block = {**FEATURES, "sample_rate": rate}, round(ROW / HOP) * hop  # hours fit in memory so
    starts = range(0, len(wave), block)
    mel = np.concatenate([log_mel(wave[start : start + block], settings, window, hop) for start in starts])
    level = np.percentile(mel.max(axis=1), LOUDEST)
    return np.clip((mel - np.float32(level)) / np.float32(RANGE), -1.5, 0.5)


def chances(wave: np.ndarray, rate: int) -> np.ndarray:
    """(steps,) of a voice in each STEP."""
    found = bands(wave, rate)
    row, beside = round(ROW / HOP), round(BESIDE / HOP)
    starts = range(0, len(found), row)
    rows = [found[max(start - beside, 0) : start + row + beside] for start in starts]
    model = detector()
    pieces = []
    for first in range(0, len(rows), ROWS):
        for number, scores in enumerate(model.log_probs(rows[first : first + ROWS]), start=first):
            skipped = beside // STRIDE if number else 0
            pieces.append(np.exp(scores[skipped : skipped + row // STRIDE, 1]))
    return np.concatenate(pieces)


def voices(chance: np.ndarray, duration: float) -> list[tuple[float, float]]:
    """Start and end of each stretch in which somebody may speak, by the chances in each STEP, rising."""
    spoken = np.flatnonzero(chance > HEARD)
    if not len(spoken):
        return []
    runs = np.split(spoken, np.flatnonzero(np.diff(spoken) * STEP > GAP + STEP) + 1)
    near = ((run[0] * STEP - NEAR, (run[-1] + 1) * STEP + NEAR) for run in runs)
    return [(max(start, 0.0), min(end, duration)) for start, end in near]


def is_speech(word: Symbol, chance: np.ndarray) -> bool:
    """Whether a word is read with confidence, or at a place (seconds) with a voice."""
    first = max(round((word.start - NEAR) / STEP), 0)
    near = chance[first : round((word.end + NEAR) / STEP) + 1]
    return word.confidence >= CONFIDENT or not len(near) or float(near.max()) >= SURE


@functools.cache
def detector() -> Model:
    from carousel.common.model import file as model_file

    return model_file.load(MODEL)
