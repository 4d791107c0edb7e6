"""From waves to transcripts: windows of a long recording, network and decoder, then times in seconds."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common.calibration import UNCALIBRATED
from carousel.common.decoding.reading import Reading
from carousel.common.errors import InputError

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.decoding import Hypothesis
    from carousel.common.decoding.rescoring import Rescorer
    from carousel.common.model.file import Model

WHOLE = 180.0  # s: up to here a recording goes through the network in one piece
SHORTEST, LONGEST = 20.0, 30.0  # s: a longer one is cut at the quietest place between these
TAIL = 1.0  # s: the least that a cut leaves behind it
QUIET = 0.2  # s: the stretch whose loudness a cut looks at
SILENCE = (
    4 / 32768
)  # the range of samples that a converter at rest gives (dither, an offset): nobody speaks in it


def seconds(time: float) -> float:
    """A time in whole microseconds: 1.8, not the 1.7999999999999998 that 60 × 0.03 gives."""
    return round(float(time), 6)


@dataclass(frozen=True, slots=True)
class Timed:
    """A symbol or a word: from start to end in seconds of the recording, with a confidence in 0 … 1."""

    text: str
    start: float
    end: float
    confidence: float

    @classmethod
    def around(cls, items: Sequence[Timed], text: str, confidence: float) -> Timed:
        return cls(text, items[0].start, items[-1].end, confidence)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in `duration` seconds: readings, best first, at least one (perhaps empty).

    In a reading no space is doubled; its score is the sum over the windows. truncated: whether the file of
    the recording ends too early.
    """

    readings: tuple[Reading[Timed], ...]
    duration: float
    truncated: bool = False

    @property
    def best(self) -> Reading[Timed]:
        return self.readings[0]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording as the network takes it: windows, each with where it starts and ends in seconds."""

    windows: tuple[np.ndarray, ...]  # (frames, size) each; no frames where the recording is silent
    spans: tuple[tuple[float, float], ...]
    kept: tuple[np.ndarray, ...]  # (frames,) each: which frames of the span these are
    duration: float  # s
    step: float  # seconds per frame of the features
    truncated: bool = False  # whether its file ends too early

    @property
    def frames(self) -> int:
        return sum(len(window) for window in self.windows)


def prepare(
    wave: np.ndarray, settings: dict[str, Any], truncated: bool = False, rests: bool = True
) -> Prepared:
    """Features of a wave (samples,) at settings["sample_rate"], in one window or, if it is long, several.

    rests: whether long ones stay as they are (`features.without_rests`).
    Raises InputError for a wave shorter than one analysis window: it has no frame, which is not silence.
    """
    from carousel.asr import features

    rate = settings["sample_rate"]
    if len(wave) < rate * settings["window"]:
        what = "1 sample" if len(wave) == 1 else f"{len(wave)} samples"
        raise InputError(
            f"only {what} long, and it takes {settings['window'] * 1000:.0f} ms to make out a sound"
        )
    spans = windows(wave, rate)
    empty = np.zeros((0, features.size(settings)), np.float32)
    found, kept = [], []
    for start, end in spans:
        array = empty if is_silent(wave[start:end]) else features.extract(wave[start:end], settings)
        left = (array, np.arange(len(array))) if rests else features.without_rests(array, settings)
        found.append(left[0])
        kept.append(left[1])
    return Prepared(
        windows=tuple(found),
        kept=tuple(kept),
        spans=tuple((start / rate, end / rate) for start, end in spans),
        duration=len(wave) / rate,
        step=features.frame_stride(settings),
        truncated=truncated,
    )


def is_silent(wave: np.ndarray) -> bool:
    """True for digital silence: no signal but an offset and dither. A quiet voice is not silent."""
    return float(np.ptp(wave)) <= SILENCE


def windows(wave: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """Samples [start, end) of the windows, one after the other over the whole wave.

    A wave of up to WHOLE seconds is one window. Windows share nothing: no state of the network crosses a cut.
    """
    if len(wave) <= WHOLE * rate:
        return [(0, len(wave))]
    hop = rate // 100  # 10 ms
    energy = np.square(wave[: len(wave) // hop * hop].reshape(-1, hop), dtype=np.float32).mean(axis=1)
    loudness = np.convolve(
        energy, np.ones(round(QUIET * 100)), mode="same"
    )  # of the stretch around each 10 ms
    cuts = [0]
    while (rest := len(wave) - cuts[-1]) > LONGEST * rate:
        first = cuts[-1] + round(SHORTEST * rate)
        last = cuts[-1] + round(min(LONGEST * rate, rest - TAIL * rate))
        quietest = first // hop + int(loudness[first // hop : last // hop].argmin())
        cuts.append(quietest * hop + hop // 2)
    return list(zip(cuts, [*cuts[1:], len(wave)], strict=True))


def transcribe(
    model: Model,
    recordings: Sequence[Prepared],
    batch_frames: int,
    rescorer: Rescorer | None = None,
    sessions: Sequence[Hashable] | None = None,
    **decoding: Any,
) -> list[Transcript]:
    """Transcripts of prepared recordings, in their order.

    batch_frames: feature frames that go through the network at once; rescorer, sessions: a second pass, and
    what each recording belongs to, with all its windows; decoding: decoder, beam, nbest and further options
    of common.decoding.decode, over the defaults of the model.
    """
    from carousel.common.recogniser import options, recognise

    flat = [window for recording in recordings for window in recording.windows]
    if sessions is not None:
        pairs = zip(recordings, sessions, strict=True)
        sessions = [session for recording, session in pairs for _ in recording.windows]
    found = iter(recognise(model, flat, batch_frames, rescorer, sessions, **decoding))
    nbest = options(model, decoding).get("nbest", 1)
    return [
        _transcript(recording, [next(found) for _ in recording.windows], model.stride, nbest)
        for recording in recordings
    ]


def _transcript(recording: Prepared, found: list[list[Hypothesis]], stride: int, nbest: int) -> Transcript:
    readings: dict[str, Reading[Timed]] = {}
    calibration = found[0][0].calibration if found else UNCALIBRATED
    for score, picks in best_sums([[h.score for h in hypotheses] for hypotheses in found], nbest):
        symbols: list[Timed] = []
        for window, (hypotheses, pick) in enumerate(zip(found, picks, strict=True)):
            piece = []
            for s in hypotheses[pick].symbols:
                first, last = _times(recording, window, s.start * stride, s.end * stride)
                piece.append(Timed(s.text, first, last, s.confidence))
            if symbols and piece:  # a cut parts two words
                symbols.append(Timed(" ", symbols[-1].end, piece[0].start, 1.0))
            symbols += piece
        reading = Reading(tuple(single_spaces(symbols)), score, calibration)
        readings.setdefault(reading.text, reading)  # two hypotheses may differ in spaces only
    return Transcript(tuple(readings.values()), recording.duration, recording.truncated)


def _times(recording: Prepared, window: int, first: int, last: int) -> tuple[float, float]:
    """When the frames [first, last) of a window begin and end, in seconds of the recording."""
    (start, end), kept = recording.spans[window], recording.kept[window]
    inside = min(last, len(kept))  # the last output frame may reach beyond the features
    frames = kept[first], kept[inside - 1] + 1 + last - inside
    begins, ends = (seconds(min(start + float(frame) * recording.step, end)) for frame in frames)
    return begins, ends


def single_spaces(symbols: Iterable[Timed]) -> list[Timed]:
    """The symbols without spaces at the ends and without a space after a space."""
    kept: list[Timed] = []
    for symbol in symbols:
        if not symbol.text.isspace() or (kept and not kept[-1].text.isspace()):
            kept.append(symbol)
    return kept[:-1] if kept and kept[-1].text.isspace() else kept


def best_sums(scores: Sequence[Sequence[float]], count: int) -> list[tuple[float, tuple[int, ...]]]:
    """The `count` best ways to pick one score of each row: (sum, picks), best first."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for row in scores:
        sums = ((total + score, (*picks, i)) for total, picks in best for i, score in enumerate(row))
        best = heapq.nlargest(count, sums, key=lambda item: item[0])
    return best
