"""The one way from a sample of a manifest to what the network sees; training calls it for every utterance."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from carousel.asr.augment import augment_features, augment_wave, draw_warp
from carousel.asr.features import extract
from carousel.asr.sound.read import read_audio
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
    generator in the same state the result is the same. cache: keeps decoded waves, path -> int16 (samples,),
    which is half the size of float32 and exact for 16-bit files.
    Raises InputError naming the file, or the manifest's line where no file is named.
    """
    if sample.audio is None:
        raise InputError(f'{sample.where}: has no "audio", so it cannot be read as speech')
    rate = features["sample_rate"]
    wave = _wave(sample.audio, rate, cache)
    try:
        if rng is None or not augment:
            return extract(wave, features)
        wave = augment_wave(wave, augment, rng, rate)
        array = extract(wave, features, draw_warp(augment, rng))
    except InputError as error:
        raise InputError(f"{sample.audio}: {error}") from None
    return augment_features(array, augment, rng, features["filters"] if features["kind"] == "logmel" else 0)


def _wave(path: Path, rate: int, cache: dict | None) -> np.ndarray:
    """(samples,) float32, from the cache if it is there."""
    if cache is None:
        return read_audio(path, rate)
    kept = cache.get(path)
    if kept is None:
        wave = np.round(read_audio(path, rate) * FULL_SCALE)
        kept = cache[path] = np.clip(wave, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return kept.astype(np.float32) / FULL_SCALE
