"""Changes to a training utterance that leave its words the same, drawn from the generator that is handed in.

Settings (common.settings.augment, where each block says its unit): a dict of blocks, each with a
`probability`; a missing block is never drawn. The way of an utterance: `augment_wave` → features with the
warp of `draw_warp` → `augment_features`.

torchaudio is the tests' reference here and does not do the work. For 3 s of speech on one thread its masks
take 0.57 ms (ours 0.04), its convolution 5 to 18 (1.1), a filter of six biquads without its compiled part
8,000 (0.8), a change of speed by any factor 1.3 (0.7). Its `add_noise` (0.05 ms, ours 0.02) and a speed of
which the filter is kept (0.25) wait for 16 to 48 ms where another process uses the cores; and it draws from
torch's generator, where an exact resumption needs the one that is handed in.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from carousel.asr.sound.read import read_audio
from carousel.common.errors import InputError
from carousel.common.settings.augment import Speech
from carousel.common.settings.field import check

QUIET_FRAME = 400  # samples over which the level of the quietest part of a recording is taken
FULL_SCALE = 32768  # of 16-bit samples
TELEPHONE_RATE = 8000  # Hz
EQUALIZER_TAIL = 800  # samples of quiet behind the wave, so that its end does not ring into its beginning
DIGITAL_NOISE = (-95, -60)  # dB of full scale, of noise that is no room's: down to below 16 bits' rounding
SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3")  # files that `rooms` and `noises` take from a folder
QUIETEST = 1e-12  # a level that may be divided by
KEPT = 1024  # files of these folders that stay decoded in memory: 320 kB for 5 s at 16 kHz
WARP_GRID = 0.01  # VTLP factors lie on a grid, so that the few filter banks are computed once


def augment_wave(
    wave: np.ndarray, settings: Mapping, rng: np.random.Generator, sample_rate: int = 16000
) -> np.ndarray:
    """The changes of `_WAVE_CHANGES`, in that order: (samples,) -> (samples,) float32 in [-1, 1]."""
    _check(settings)
    wave = np.asarray(wave, dtype=np.float32)
    for name, change in _WAVE_CHANGES.items():
        if _drawn(name, settings, rng):
            wave = change(wave, settings[name], rng, sample_rate)
    return np.clip(wave, -1.0, 1.0).astype(np.float32, copy=False)


def draw_warp(settings: Mapping, rng: np.random.Generator) -> float:
    """Factor for the frequency axis, to hand to `features.extract` (VTLP, Jaitly & Hinton 2013); 1 = none."""
    _check(settings)
    if not _drawn("vtlp", settings, rng):
        return 1.0
    return round(round(rng.uniform(*settings["vtlp"]["range"]) / WARP_GRID) * WARP_GRID, 6)


def augment_features(
    features: np.ndarray, settings: Mapping, rng: np.random.Generator, bands: int | None = None
) -> np.ndarray:
    """SpecAugment (Park et al. 2019): bands of filters and stretches of time become 0, the mean.

    features: (frames, size) float32; bands: how many of the columns are filters in order of frequency (the
    columns after them, deltas, repeat them and are masked alike). None = all; 0 = none, as cepstra have no
    order of frequency: time masks only. Returns a copy.
    """
    _check(settings)
    features = features.copy()
    frames, columns = features.shape
    bands = columns if bands is None else bands
    if _drawn("frequency_masks", settings, rng):
        for _ in range(settings["frequency_masks"]["count"]):
            start, end = _mask(bands, min(settings["frequency_masks"]["width"], bands), rng)
            for offset in range(0, columns, bands or columns):
                features[:, offset + start : offset + end] = 0.0
    if _drawn("time_masks", settings, rng):
        block = settings["time_masks"]
        for _ in range(block["count"]):
            start, end = _mask(frames, min(block["width"], int(block["proportion"] * frames)), rng)
            features[start:end] = 0.0
    return features


def change_speed(wave: np.ndarray, factor: float) -> np.ndarray:
    """Resampled to 1/factor of the length: (samples,) -> (about samples / factor,) float32."""
    import soxr

    # Rates are a ratio only. Whole numbers keep soxr's result the same on every machine.
    return soxr.resample(wave, round(10000 * factor), 10000, quality="HQ")


def white_or_pink(count: int, pink: bool, rng: np.random.Generator) -> np.ndarray:
    """(count,) float32 noise with a mean square of 1; pink has a power that falls with 1/frequency."""
    import scipy.fft

    noise = rng.standard_normal(count, dtype=np.float32)
    if pink and count > 2:
        points = scipy.fft.next_fast_len(count, real=True)
        spectrum = scipy.fft.rfft(noise, points)
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum), dtype=np.float32))
        spectrum[0] = 0.0
        noise = scipy.fft.irfft(spectrum, points)[:count]
    return (noise / max(_level(noise), QUIETEST)).astype(np.float32)


def _crop(wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    most = int(block["proportion"] * len(wave))
    before, after = (min(int(rng.uniform(*block["range"]) * sample_rate), most) for _ in range(2))
    return wave[before : len(wave) - after]


def _silence(wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    low, high = block["range"]
    before, after = (int(rng.uniform(low, high) * sample_rate) for _ in range(2))
    quiet = _quiet_level(wave) * white_or_pink(before + after, False, rng)
    return np.concatenate([quiet[:before], wave, quiet[before:]])


def _digital_silence(
    wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int
) -> np.ndarray:
    low, high = np.log(block["range"])  # long ones must be among them, and most be short
    before, after = (int(np.exp(rng.uniform(low, high)) * sample_rate) for _ in range(2))
    if rng.random() < 0.5:
        before, after = (before, 0) if rng.random() < 0.5 else (0, after)
    quiet, kind = np.zeros(before + after, np.float32), rng.integers(3)
    if kind == 1:
        quiet = rng.integers(-1, 2, before + after).astype(np.float32) / FULL_SCALE
    elif kind == 2:
        level = np.float32(10 ** (rng.uniform(*DIGITAL_NOISE) / 20))
        quiet = level * white_or_pink(before + after, rng.random() < 0.5, rng)
    return np.concatenate([quiet[:before], wave, quiet[before:]])


def _rooms(wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """The echo of a room (Ko et al. 2017), as loud as before; the direct sound stays where it was."""
    import scipy.fft

    response = _draw_sound(block, rng, sample_rate)
    response = response[np.abs(response).argmax() :]
    size = scipy.fft.next_fast_len(len(wave) + len(response), real=True)
    spectrum = scipy.fft.rfft(wave, size) * scipy.fft.rfft(response, size)
    echoed = scipy.fft.irfft(spectrum, size)[: len(wave)]
    return echoed * np.float32(_level(wave) / max(_level(echoed), QUIETEST))


def _noises(wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """A recording from a random point on, from its beginning again where it is too short."""
    sound = _draw_sound(block, rng, sample_rate)
    start = int(rng.integers(len(sound)))
    noise = np.take(sound, np.arange(start, start + len(wave)), mode="wrap")
    return _add_noise(wave, noise, rng.uniform(*block["range"]))


def _draw_sound(block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    paths = sound_files(block["folder"])
    return _sound(paths[int(rng.integers(len(paths)))], sample_rate)


@functools.cache
def sound_files(folder: str | None) -> tuple[Path, ...]:
    """Files of a folder, and of folders in it, that `SOUNDS` says are sound. InputError where none is."""
    if folder is None or not Path(folder).is_dir():
        raise InputError(f"augment: there is no folder {folder or 'of sounds'}; correct `folder`")
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SOUNDS)
    if not found:
        raise InputError(f"{folder}: holds no recording ({', '.join(SOUNDS)}); name another folder")
    return tuple(found)


@functools.lru_cache(maxsize=KEPT)
def _sound(path: Path, sample_rate: int) -> np.ndarray:
    sound = read_audio(path, sample_rate)
    if not sound.any():
        raise InputError(f"{path}: is silent and cannot be added to speech; delete it")
    return sound


def _equalizer(wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    import scipy.fft

    low, high = block["range"]
    gains = rng.uniform(low, high, block["points"])  # dB, at points of equal distance in mel
    size = scipy.fft.next_fast_len(len(wave) + EQUALIZER_TAIL, real=True)
    mel = np.log1p(scipy.fft.rfftfreq(size, 1 / sample_rate) / 700)
    curve = np.interp(mel, np.linspace(0, mel[-1], block["points"]), gains)
    spectrum = scipy.fft.rfft(wave, size)
    return scipy.fft.irfft(spectrum * np.float32(10) ** (curve.astype(np.float32) / 20), size)[: len(wave)]


def _telephone(wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    import soxr

    narrow = soxr.resample(wave, sample_rate, TELEPHONE_RATE, quality="HQ")
    return soxr.resample(narrow, TELEPHONE_RATE, sample_rate, quality="HQ")


def _noise(wave: np.ndarray, block: Mapping, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    ratio = rng.uniform(*block["range"])
    return _add_noise(wave, white_or_pink(len(wave), rng.random() < block["pink"], rng), ratio)


def _add_noise(wave: np.ndarray, noise: np.ndarray, ratio: float) -> np.ndarray:
    """ratio: of signal to noise in dB, over the whole wave."""
    return wave + np.float32(_level(wave) / max(_level(noise), QUIETEST) * 10 ** (-ratio / 20)) * noise


_WAVE_CHANGES: dict[str, Callable[[np.ndarray, Mapping, np.random.Generator, int], np.ndarray]] = {
    "crop": _crop,
    "speed": lambda wave, block, rng, _: change_speed(wave, rng.uniform(*block["range"])),
    "silence": _silence,
    "digital_silence": _digital_silence,
    "rooms": _rooms,
    "noises": _noises,
    "equalizer": _equalizer,
    "telephone": _telephone,
    "noise": _noise,
    "gain": lambda wave, block, rng, _: wave * np.float32(10 ** (rng.uniform(*block["range"]) / 20)),
}


def _level(wave: np.ndarray) -> float:
    """Root mean square; 0 for no samples."""
    return float(np.sqrt(np.dot(wave, wave) / len(wave))) if len(wave) else 0.0


def _quiet_level(wave: np.ndarray) -> np.float32:
    """Root mean square that a tenth of the frames stays below."""
    frames = wave[: len(wave) // QUIET_FRAME * QUIET_FRAME].reshape(-1, QUIET_FRAME)
    if not len(frames):
        return np.float32(0.0)
    return np.float32(np.sqrt(np.percentile(np.square(frames).mean(axis=1), 10)))


def _mask(length: int, widest: int, rng: np.random.Generator) -> tuple[int, int]:
    """[start, end) within `length`, its width uniform in 0 … widest."""
    width = int(rng.integers(0, widest + 1))
    start = int(rng.integers(0, length - width + 1))
    return start, start + width


def _drawn(name: str, settings: Mapping, rng: np.random.Generator) -> bool:
    return name in settings and rng.random() < settings[name]["probability"]


def _check(settings: Mapping) -> None:
    """Raise InputError for a block or key that would do nothing, and for a block that is incomplete."""
    check(Speech, settings, "augment", partial=True)
    for name in ("rooms", "noises"):
        if name in settings and settings[name]["probability"] > 0:
            sound_files(settings[name]["folder"])  # now, not in the middle of an epoch
