"""Log-mel filters and cepstra, and the only place that knows how long a frame is.

Settings are a plain dict, as a model file keeps them, with every key of common.settings.features. Frame i
stands for the time [i·hop, (i+1)·hop), and its window is centred there (Kaldi's `snip_edges=false`), so that
index × `frame_stride` is the time in the recording, with no offset to remember. The mel scale is HTK's,
1127·ln(1 + f/700), with Kaldi's triangles, which are linear on it. Every coefficient is normalised by its
mean and variance over the loud frames of the utterance (`loud`, `normalise`), so that silence around the
speech, however long and of whatever kind, changes nothing of the rest.
"""

import functools
import math
from collections.abc import Mapping

import numpy as np

from carousel.common.errors import InputError
from carousel.common.settings.features import LogMel, Mfcc
from carousel.common.settings.field import check, one_of

KINDS = {"logmel": LogMel, "mfcc": Mfcc}
ABSENT = {"logmel": {"prior": 0, "band": 0}, "mfcc": {}}  # as models from before these settings have it

BLOCK = 512  # frames at a time: their spectra stay in the processor's cache, and hours fit in memory
FULL_SCALE = 32768.0  # waves in [-1, 1] are taken in units of one step of 16-bit PCM,
POWER_FLOOR = 1.0  # so that this floor hides what is weaker than the rounding of a 16-bit file
# Below the deviations of speech (log-mel from 0.8, second deltas of cepstra from 0.04); what
# hardly moves (digital silence, filters above the band of a telephone) is not blown up.
SMALLEST_DEVIATION = {"logmel": 0.5, "mfcc": 0.03}
DECIBEL = math.log(10) / 10  # in natural log of power
LOUDEST = 10  # frames: the least loud of so many loudest ones is the level of the speech, which no click is
BELOW_SPEECH = 15.0  # dB: a frame that is weaker than the speech by more is background
# Sentences have pauses, which bring their mean so many deviations of the loud frames down and make their
# deviation so many times as large: with them, a sentence as it is usually cut has about mean 0, deviation 1.
PAUSES = (1.0, 1.5)
NONE = (0.0, 1.0)  # cepstra and slopes know neither loud nor quiet
REST = -1.5  # nothing is lower: zeros, dither and a quiet room look alike
STEADY = 0.6  # deviations: where the mean over the filters keeps within these, nothing is said
NEAR = 0.5  # s of what is steady that stay on each side of what is not: more would move the network's state
DELTA_REACH = 2  # frames each side in the regression of deltas (HTK's and Kaldi's)
VTLP_KNEE = 4800.0  # Hz; up to here VTLP warps in proportion (F_hi of Jaitly & Hinton 2013)


def extract(wave: np.ndarray, settings: Mapping, warp: float = 1.0) -> np.ndarray:
    """Features of one utterance.

    wave: (samples,) float in [-1, 1] at settings["sample_rate"]; warp: factor on the frequency axis (VTLP), 1
    = none.
    Returns (frames, size(settings)) float32 with frames = samples/hop rounded to the nearest, at least 1.
    Raises InputError when the wave is shorter than one window, and for settings that are incomplete or
    unknown.
    """
    _check(settings)
    window, hop = _samples(settings, "window"), _samples(settings, "hop")
    wave = np.asarray(wave, dtype=np.float32)
    if wave.ndim != 1:
        raise InputError(f"features are taken from one channel, and this wave has the shape {wave.shape}")
    if len(wave) < window:
        rate = settings["sample_rate"]
        raise InputError(f"is too short: {len(wave) / rate:.4f} s, and one frame needs {window / rate:.4f} s")
    mel = _log_mel(wave, settings, window, hop, round(float(warp), 3))
    cepstral = settings["kind"] == "mfcc"
    parts = [mel @ _cosines(settings["filters"], settings["coefficients"]) if cepstral else mel]
    for _ in range(settings["deltas"]):
        parts.append(deltas(parts[-1]))
    smallest, prior = SMALLEST_DEVIATION[settings["kind"]], settings.get("prior", 0)
    columns = _filters_within_band(settings)
    frames = loud(mel[:, :columns])
    for part in parts:  # what is above the band is neither seen nor taken into the moments
        pauses = PAUSES if part is mel else NONE
        part[:, :columns] = normalise(part[:, :columns], smallest, prior, frames, pauses)
        part[:, columns:] = 0.0
    if not cepstral:
        np.maximum(mel, REST, out=mel)
    return np.concatenate(parts, axis=1)


def size(settings: Mapping) -> int:
    """Numbers a frame."""
    _check(settings)
    columns = settings["filters"] if settings["kind"] == "logmel" else settings["coefficients"]
    return columns * (1 + settings["deltas"])


def _filters_within_band(settings: Mapping) -> int:
    """How many columns of each part are made of frequencies up to settings["band"] Hz; 0 or none: all."""
    if not settings.get("band"):
        return settings["filters"]
    edges = np.linspace(_mel(settings["low"]), _mel(settings["high"]), settings["filters"] + 2)
    return int(np.count_nonzero(edges[2:] <= _mel(settings["band"])))


def centres(settings: Mapping) -> np.ndarray:
    """(filters,) Hz in the middle of each mel filter."""
    edges = np.linspace(_mel(settings["low"]), _mel(settings["high"]), settings["filters"] + 2)
    return np.asarray(_hertz(edges[1:-1]))


def frame_stride(settings: Mapping) -> float:
    """Seconds from one frame to the next (the hop rounded to whole samples)."""
    return _samples(settings, "hop") / settings["sample_rate"]


def loud(mel: np.ndarray) -> np.ndarray:
    """(frames,) bool: those about as loud as the speech. mel: (frames, filters) natural log of power."""
    loudness = np.log(np.exp(mel).mean(axis=1))
    speech = np.partition(loudness, -min(LOUDEST, len(loudness)))[-min(LOUDEST, len(loudness))]
    return loudness >= speech - BELOW_SPEECH * DECIBEL


def rest(length: float, settings: Mapping) -> np.ndarray:
    """Features (frames, size) of so many seconds of rest after speech; of cepstra none are known."""
    frames = round(length / frame_stride(settings)) if settings["kind"] == "logmel" else 0
    array = np.zeros((frames, size(settings)), np.float32)
    array[:, : settings["filters"]] = REST
    return array


def without_rests(array: np.ndarray, settings: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Features (frames, size) without the middle of quiet that is steady, and the numbers of the frames left.

    Silence, hum and weak noise of a second or more are steady and quieter than the mean; speech is neither.
    Cepstra are left as they are.
    """
    import scipy.ndimage

    kept = np.arange(len(array))
    if settings["kind"] == "logmel" and len(array):
        level = array[:, : _filters_within_band(settings)].mean(axis=1)
        width = 2 * round(NEAR / frame_stride(settings)) + 1
        highest = scipy.ndimage.maximum_filter1d(level, width, mode="nearest")
        lowest = scipy.ndimage.minimum_filter1d(level, width, mode="nearest")
        kept = kept[(highest - lowest > STEADY) | (highest > 0)]
    return array[kept], kept


def normalise(
    features: np.ndarray,
    smallest: float,
    prior: float = 0,
    frames: np.ndarray | None = None,
    pauses: tuple[float, float] = NONE,
) -> np.ndarray:
    """(frames, size) with mean 0 and deviation 1 in every column; one below `smallest` counts as that.

    frames: (frames,) bool, those that the moments are taken of, and pauses: what to make of them (`PAUSES`);
    None: all.
    A word alone is too short to tell its channel from its vowels, so with `prior` the moments of each column
    are estimated as if so many more frames had been seen, with the moments of all columns together (a maximum
    a posteriori estimate, Gauvain & Lee 1994; speech with pre-emphasis is about as strong in every filter).
    """
    seen = features if frames is None else features[frames]
    mean = seen.mean(axis=0, dtype=np.float64)
    square = np.square(seen - mean.astype(np.float32)).mean(axis=0, dtype=np.float64)
    own = len(seen) / (len(seen) + prior)
    mean = own * mean + (1 - own) * mean.mean()
    deviation = np.sqrt(own * square + (1 - own) * square.mean())
    mean, deviation = mean - pauses[0] * deviation, np.maximum(pauses[1] * deviation, smallest)
    return (features - mean.astype(np.float32)) / deviation.astype(np.float32)


def deltas(features: np.ndarray) -> np.ndarray:
    """Regression slopes over ±DELTA_REACH frames, edges repeated: (frames, size) -> (frames, size)."""
    frames = len(features)
    padded = np.pad(features, ((DELTA_REACH, DELTA_REACH), (0, 0)), mode="edge")
    slope = np.zeros_like(features)
    for step in range(1, DELTA_REACH + 1):
        ahead, behind = DELTA_REACH + step, DELTA_REACH - step
        slope += step * (padded[ahead : ahead + frames] - padded[behind : behind + frames])
    return slope / (2 * sum(step * step for step in range(1, DELTA_REACH + 1)))


@functools.lru_cache(maxsize=256)  # VTLP draws its factors from a grid, so all of them fit
def mel_filters(
    sample_rate: int, points: int, filters: int, low: float, high: float, warp: float = 1.0
) -> np.ndarray:
    """Triangular mel filters, peaks at 1, for spectra of `points` samples: (points//2 + 1, filters) float32.

    low, high: edges in Hz. warp: every frequency of the filters goes through `vtlp` (1 = none).
    """
    edges = np.linspace(_mel(low), _mel(high), filters + 2)
    if warp != 1.0:
        edges = _mel(vtlp(_hertz(edges), warp, sample_rate))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = _mel(np.arange(points // 2 + 1) * sample_rate / points)[:, None]
    bank = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(0)
    if not bank.any(axis=0).all():
        raise InputError(
            f"features: {filters} filters from {low} to {high} Hz are too many for {points} points"
        )
    return bank.astype(np.float32)


def vtlp(frequency: np.ndarray, warp: float, sample_rate: int) -> np.ndarray:
    """Warped frequencies in Hz (Jaitly & Hinton 2013): f·warp up to a knee, then a line to sample_rate/2."""
    top = sample_rate / 2
    knee = min(VTLP_KNEE, 0.8 * top) * min(warp, 1.0)
    slope = (top - knee) / (top - knee / warp)
    return np.where(frequency <= knee / warp, frequency * warp, top - slope * (top - frequency))


def _log_mel(wave: np.ndarray, settings: Mapping, window: int, hop: int, warp: float) -> np.ndarray:
    """(frames, filters) float32, natural log of the power in each mel filter."""
    points = 1 << (window - 1).bit_length()
    low, high = float(settings["low"]), float(settings["high"])
    bank = mel_filters(settings["sample_rate"], points, settings["filters"], low, high, warp)
    # Whole steps, as in files of 16 bits and in the cache of a training: between them resampling would leave
    # a silence of its own, which no training has heard.
    windows = _windows(np.rint(wave * np.float32(FULL_SCALE)), window, hop)
    mel = np.empty((len(windows), settings["filters"]), np.float32)
    for start in range(0, len(windows), BLOCK):
        power = _power(windows[start : start + BLOCK], points, np.float32(settings["preemphasis"]))
        mel[start : start + BLOCK] = power @ bank
    return np.log(np.maximum(mel, np.float32(POWER_FLOOR), out=mel), out=mel)


def _power(windows: np.ndarray, points: int, preemphasis: np.float32) -> np.ndarray:
    """Power spectra (frames, points // 2 + 1) float32 of windows (frames, window), each without its mean."""
    import scipy.fft

    frames = windows - windows.mean(axis=1, keepdims=True)
    shaped = np.empty_like(frames)
    shaped[:, 0] = (1 - preemphasis) * frames[:, 0]  # as if the sample before the window were its first
    np.subtract(frames[:, 1:], preemphasis * frames[:, :-1], out=shaped[:, 1:])
    shaped *= _hann(windows.shape[1])
    spectrum = scipy.fft.rfft(shaped, points, axis=1)  # complex64
    return np.square(spectrum.real) + np.square(spectrum.imag)


def _windows(wave: np.ndarray, window: int, hop: int) -> np.ndarray:
    """(frames, window), a view: window i is centred at (i + 1/2)·hop; the wave is mirrored at its ends."""
    count = max(1, (len(wave) + hop // 2) // hop)
    before = (window - hop) // 2
    after = max(0, (count - 1) * hop + window - before - len(wave))
    # A hop longer than the window: nothing is mirrored before the wave, the first window begins inside it.
    wave = np.pad(wave, (max(0, before), after), mode="symmetric")[max(0, -before) :]
    return np.lib.stride_tricks.sliding_window_view(wave, window)[::hop][:count]


@functools.lru_cache(maxsize=8)
def _hann(window: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _cosines(filters: int, coefficients: int) -> np.ndarray:
    """DCT-II, orthonormal: (filters, coefficients). No lifter: normalising the variance would undo it."""
    angles = np.pi / filters * (np.arange(filters)[:, None] + 0.5) * np.arange(coefficients)
    matrix = np.sqrt(2 / filters) * np.cos(angles)
    matrix[:, 0] /= np.sqrt(2)
    return matrix.astype(np.float32)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)


def _hertz(mel: np.ndarray | float) -> np.ndarray:
    return 700.0 * np.expm1(np.asarray(mel, dtype=np.float64) / 1127.0)


def _samples(settings: Mapping, key: str) -> int:
    return max(1, round(settings[key] * settings["sample_rate"]))


def _check(settings: Mapping) -> None:
    """Raise InputError unless the settings are complete, known and possible."""
    kind = settings.get("kind")
    if kind not in KINDS:
        raise InputError(f"features.kind must be {one_of(KINDS)} for speech, not {kind}")
    check(KINDS[kind], {**ABSENT[kind], **settings}, "features")
    if not 0 <= settings["low"] < settings["high"] <= settings["sample_rate"] / 2:
        raise InputError(
            f"features: filters from {settings['low']} to {settings['high']} Hz do not fit below"
            f" {settings['sample_rate'] / 2} Hz, half the sample rate"
        )
    if settings.get("band") and not _filters_within_band(settings):
        raise InputError(f"features: no filter lies below {settings['band']} Hz, the band")
    if kind == "mfcc" and settings["coefficients"] > settings["filters"]:
        raise InputError(
            f"features: {settings['filters']} filters give at most {settings['filters']} coefficients,"
            f" not {settings['coefficients']}"
        )
