"""The one way from a sample of a manifest to what the network sees; training calls it for every utterance."""

from collections.abc import Mapping

import numpy as np

from carousel.asr.augment import augment_features, augment_wave, draw_warp
from carousel.asr.features import extract
from carousel.asr.sound.part import read_part
from carousel.asr.sound.read import Recording, read_recording
from carousel.common.data.manifest import Sample
from carousel.common.errors import InputError

FULL_SCALE = 32768


def read(
    sample: Sample,
    features: Mapping,
    augment: Mapping | None = None,
    rng: np.random.Generator | None = None,
    cache: dict | None = None,
) -> np.ndarray:
    """Features (frames, size) float32 of the sample's recording.

    features, augment: settings (common.settings); without `rng` nothing is augmented, and with a
    generator in the same state the result is the same. cache: keeps decoded waves, path (of a part
    with start and end) -> int16 (samples,), which is half the size of float32 and exact for 16-bit files.
    Raises InputError naming the file, or the manifest's line where no file is named.
    """
    rate = features["sample_rate"]
    wave = _wave(sample, rate, cache)
    try:
        if rng is None or not augment:
            return extract(wave, features)
        wave = augment_wave(wave, augment, rng, rate)
        array = extract(wave, features, draw_warp(augment, rng))
    except InputError as error:
        raise InputError(f"{sample.audio}: {error}") from None
    return augment_features(array, augment, rng, features["filters"] if features["kind"] == "logmel" else 0)


def recording_of(sample: Sample, rate: int) -> Recording:
    """The sample's recording, or the part of it that the sample is. Raises InputError."""
    if sample.audio is None:
        raise InputError(f'{sample.where}: has no "audio", so it cannot be read as speech')
    if sample.part == (0.0, None):
        return read_recording(sample.audio, rate)
    return read_part(sample.audio, *sample.part, rate)


def whole_wave(sample: Sample, rate: int) -> np.ndarray:
    """As `recording_of`, (samples,) float32; a truncated file is an InputError as well."""
    recording = recording_of(sample, rate)
    if recording.fault:
        raise InputError(f"{sample.audio}: {recording.fault}; copy it again")
    return recording.samples


def _wave(sample: Sample, rate: int, cache: dict | None) -> np.ndarray:
    """(samples,) float32, from the cache if it is there."""
    if cache is None:
        return whole_wave(sample, rate)
    key = sample.audio if sample.part == (0.0, None) else (sample.audio, *sample.part)
    kept = cache.get(key)
    if kept is None:
        wave = np.round(whole_wave(sample, rate) * FULL_SCALE)
        kept = cache[key] = np.clip(wave, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return kept.astype(np.float32) / FULL_SCALE
