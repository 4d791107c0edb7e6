"""A part of a recording, without decoding all of it where that can be."""

from __future__ import annotations

import math
import os
from functools import lru_cache

import numpy as np

from carousel.asr.sound.read import CANCELLED, OVER, SAMPLE_RATE, Recording, read_recording, resampled, told
from carousel.common.errors import InputError
from carousel.common.files import source_name

MARGIN = 0.25  # s decoded around a part, for the filter of the resampling and for codecs that look back
OUTSIDE = 0.5  # s by which a part may end after its recording: annotators' programs round
# Containers and codings in which a part is what it is in the whole, to rounding (see its test).
SEEKABLE = ("wav", "w64", "aiff", "au", "caf", "flac", "ogg", "nistsphere")
EXACT = ("PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW", "VORBIS", "OPUS")


def read_part(
    path: str | os.PathLike[str], start: float, end: float | None, sample_rate: int = SAMPLE_RATE
) -> Recording:
    """The part of a recording between two times in seconds, to its end without `end`; as of `read_recording`.

    Where libsndfile finds a place exactly, only that part is decoded. Of other files the last one stays in
    memory, so that parts that follow each other decode it once.
    Raises InputError also for a part that is not in the recording.
    """
    name = source_name(path)
    stamp = os.stat(path) if os.path.isfile(path) else None
    if stamp is None:
        raise InputError(f"{name}: there is no such file; correct the path")
    seconds = _seekable(os.fspath(path), stamp.st_mtime_ns)
    found = None
    if seconds is not None:
        _check_part(name, start, end, seconds)
        found = _sought(os.fspath(path), start, min(seconds if end is None else end, seconds), sample_rate)
    if found is not None:
        return Recording(found)
    whole = _whole(os.fspath(path), stamp.st_mtime_ns, sample_rate)
    _check_part(name, start, end, len(whole.samples) / sample_rate)
    last = None if end is None else round(end * sample_rate)
    return Recording(whole.samples[round(start * sample_rate) : last], notes=whole.notes)


def _check_part(name: str, start: float, end: float | None, there: float) -> None:
    if start >= there or (end or 0.0) > there + OUTSIDE:
        part = f"{start:g} s" if end is None else f"{start:g} to {end:g} s"
        raise InputError(f"{name}: has {there:.2f} s, so it has no part from {part}; correct start and end")


@lru_cache(maxsize=1)
def _whole(path: str, changed: int, sample_rate: int) -> Recording:
    return read_recording(path, sample_rate)


@lru_cache(maxsize=1024)
def _seekable(path: str, changed: int) -> float | None:
    """Seconds of a whole file in which libsndfile finds any place exactly; None for all others.

    Integers of more than 16 bits and floats are others: how loud a part is does not tell their full scale.
    """
    plan, seconds, coding = told(path)
    if plan is None or len(plan.parts) != 1 or plan.container not in SEEKABLE or coding not in EXACT:
        return None
    return seconds


def _sought(path: str, start: float, end: float, sample_rate: int) -> np.ndarray | None:
    """Samples of a part, decoded with a margin on both sides; None where level or channels need the whole."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            step = rate // math.gcd(rate, sample_rate)  # places that both rates have
            first = max(math.floor((start - MARGIN) * rate / step), 0) * step
            file.seek(first)
            block = file.read(math.ceil((end + MARGIN) * rate) - first, dtype="float32", always_2d=True)
    except (OSError, RuntimeError, ValueError):  # libsndfile's among them
        return None
    mixed = block.mean(axis=1)
    power = np.square(block).sum()
    if not np.isfinite(block).all() or np.abs(block).max(initial=0.0) > OVER:
        return None
    if block.shape[1] > 1 and float(np.dot(mixed, mixed)) < CANCELLED * power / block.shape[1] ** 2:
        return None
    wave = resampled([mixed], rate, sample_rate, path)
    at = first * sample_rate // rate
    return np.clip(wave[round(start * sample_rate) - at : round(end * sample_rate) - at], -1.0, 1.0)
