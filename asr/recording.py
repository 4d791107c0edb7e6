"""A recording as the network takes it, in one window or several, and where in it a text is said.

A Recording is the Prepared of common.domain. Its times are seconds.

Where only voices are read (asr.voice), windows are made of the stretches in which somebody speaks, and what
is between them is neither seen by the network nor taken into the moments of the features.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from carousel.asr import features
from carousel.asr.align import loudness, seconds, symbol_edges, word_edges
from carousel.asr.channels import Channels
from carousel.asr.features import size
from carousel.asr.reader import read
from carousel.asr.voice import chances, is_speech
from carousel.asr.windows import Span, windows, windows_of_voices
from carousel.common.calibration import UNCALIBRATED, Calibration
from carousel.common.decoding import Box, Hypothesis, Symbol
from carousel.common.decoding.align import Spelling, align, spell, words
from carousel.common.domain import WHOLE, Reading, Transcript
from carousel.common.errors import InputError, named

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.ctc.spotting import Detection
    from carousel.common.data.manifest import Sample
    from carousel.common.domain import Item, Prepared
    from carousel.common.model.file import Model

__all__ = ["Recording", "open", "prepare", "read", "size", "without_rests"]

SILENCE = (
    4 / 32768
)  # range of samples that a converter at rest gives (dither, an offset): nobody speaks in it


def open(source: Any, domain: str = "speech") -> Iterator[Item]:
    """The one recording of a path, an open file, bytes, or a wave (samples,) at the model's sample rate."""

    def read(settings: dict[str, Any], reading: Reading) -> Prepared:
        if isinstance(source, np.ndarray):
            return prepare(source, settings, reading)
        from carousel.asr.sound.read import read_channels, read_recording

        rate = settings["sample_rate"]
        if reading.channels is None:
            found = read_recording(source, rate)
            return prepare(found.samples, settings, reading, found.notes, found.fault)
        parts = [
            prepare(one.samples, settings, reading, one.notes, one.fault)
            for one in read_channels(source, rate)
        ]
        return cast("Prepared", Channels.of(parts, reading.channels))  # asked for by transcription alone

    yield None, read


def without_rests(array: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    return features.without_rests(array, settings)[0]


@dataclass(frozen=True, slots=True)
class Recording:
    """Windows of a recording, each with where it starts and ends in seconds."""

    windows: tuple[np.ndarray, ...]  # (frames, size) each; no frames where the recording is silent
    spans: tuple[tuple[float, float], ...]
    kept: tuple[np.ndarray, ...]  # (frames,) each: which frames from the start of the span on these are
    loudness: np.ndarray  # (hops,) dB of full scale, of each HOP
    duration: float  # s
    step: float  # seconds per frame of the features
    notes: tuple[str, ...] = ()
    fault: str = ""  # that its file ends too early
    chances: np.ndarray | None = None  # of a voice (asr.voice), where only voices are read

    @property
    def about(self) -> dict[str, Any]:
        return {"duration": self.duration, "truncated": bool(self.fault)}

    @property
    def amount(self) -> float:
        return self.duration / 60

    def located(self, found: Sequence[Sequence[Hypothesis]], stride: int, nbest: int) -> list[Hypothesis]:
        """In a text no space is doubled; its score is the sum over the windows."""
        readings: dict[str, Hypothesis] = {}
        calibration = found[0][0].calibration if found else UNCALIBRATED
        for score, picks in best_sums([[h.score for h in hypotheses] for hypotheses in found], nbest):
            symbols: list[Symbol] = []
            for window, (hypotheses, pick) in enumerate(zip(found, picks, strict=True)):
                piece = [self._timed(window, symbol, stride) for symbol in hypotheses[pick].symbols]
                if symbols and piece:  # a cut parts two words
                    symbols.append(Symbol(" ", symbols[-1].end, piece[0].start, 1.0))
                symbols += piece
            if self.chances is not None:
                symbols = spoken(symbols, calibration, self.chances)
            reading = Hypothesis(tuple(single_spaces(symbols)), score, calibration)
            readings.setdefault(reading.text, reading)  # two hypotheses may differ in spaces only
        return list(readings.values())

    def _timed(self, window: int, symbol: Symbol, stride: int) -> Symbol:
        """A symbol with seconds of the recording instead of output frames of a window."""
        (start, end), kept = self.spans[window], self.kept[window]
        first, last = int(symbol.start) * stride, int(symbol.end) * stride
        inside = min(last, len(kept))  # the last output frame may reach beyond the features
        frames = kept[first], kept[inside - 1] + 1 + last - inside
        begins, ends = (seconds(min(start + float(frame) * self.step, end)) for frame in frames)
        return symbol._replace(start=begins, end=ends)

    def aligned(self, scores: Sequence[np.ndarray], spelling: Spelling, model: Model) -> Transcript:
        log_probs, edges = self.joined(scores, model)
        found = align(log_probs, spelling)
        spoken = words(found.symbols)
        spikes = [tuple(edges[[int(w[0].start), int(w[-1].start), int(w[-1].end)]]) for w in spoken]
        timed: list[Symbol] = []
        for word, (start, end) in zip(spoken, word_edges(spikes, self.loudness, self.duration), strict=True):
            if timed:
                timed.append(found.symbols[len(timed)]._replace(start=timed[-1].end, end=start))
            timed += symbol_edges(word, edges, start, end)
        return Transcript(
            (Hypothesis(tuple(timed), found.score),),
            self.about,
            spikes=tuple((int(symbol.start), int(symbol.end)) for symbol in found.symbols),
            frames=sum(map(len, scores)),
        )

    def joined(self, scores: Sequence[np.ndarray], model: Model) -> tuple[np.ndarray, np.ndarray]:
        """The windows one after the other: (frames, symbols), and (frames + 1,) seconds of their edges.

        Between two windows, and for a silent one, stands a frame in which blank and space are certain: the
        network has not seen that a cut may part two words.
        """
        step = model.stride * self.step
        pause = np.full((1, len(model.alphabet)), -np.inf, np.float32)
        pause[0, _nothing(model)] = 0.0
        pieces: list[np.ndarray] = []
        edges: list[np.ndarray] = []
        for window, (start, end) in zip(scores, self.spans, strict=True):
            if pieces or not len(window):
                pieces.append(pause)
                edges.append(np.array([start]))
            pieces.append(window)
            edges.append(np.minimum(start + step * np.arange(len(window)), end))
        return np.concatenate(pieces), np.append(np.concatenate(edges), self.duration)

    def searched(self, scores: Sequence[np.ndarray], model: Model) -> SearchedRecording:
        log_probs, edges = self.joined(scores, model)
        letters = np.flatnonzero(~np.isin(log_probs.argmax(axis=1), _nothing(model)))
        return SearchedRecording(model, self, scores, log_probs, edges, letters)

    def draw(
        self, scores: np.ndarray, hypothesis: Hypothesis, model: Model, picture: Path, title: str
    ) -> None:
        from carousel.common.plots import draw_activations

        shown = self.windows[0].T  # (filters, frames)
        length = model.stride * self.step
        draw_activations(
            shown, scores, hypothesis, model.alphabet, picture,
            title=title, seconds=length, stride=model.stride,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SearchedRecording:
    """A recording in which keywords are looked for."""

    model: Model
    prepared: Recording
    scores: Sequence[np.ndarray]  # of each window
    log_probs: np.ndarray
    edges: np.ndarray  # (frames + 1,) seconds
    letters: np.ndarray  # frames in which a greedy decoder reads one, rising

    def place(self, at: Detection) -> tuple[float, float, Box | None]:
        """Start and end as of asr.align, between the letters before it and after it."""
        edges = self.edges
        before, after = self.letters[self.letters < at.start][-1:], self.letters[self.letters >= at.end][:1]
        spikes = [(edges[i], edges[i], edges[i + 1]) for i in before]
        spikes.append((edges[at.start], edges[at.begin], edges[at.end]))
        spikes += [(edges[i], edges[i], edges[i + 1]) for i in after]
        start, end = word_edges(spikes, self.prepared.loudness, self.prepared.duration)[len(before)]
        return float(start), float(end), None

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        aligned = self.prepared.aligned(self.scores, spelling, self.model)
        return [(symbol.start, symbol.end) for symbol in aligned.best.symbols]


def word_segments(model: Model, sample: Sample) -> list[Symbol]:
    """The words of a manifest's sample, in their order, from start to end in seconds of its recording.

    Raises InputError naming the recording where it cannot be read or the text cannot be aligned with it.
    """
    from carousel.asr.sound.read import read_audio
    from carousel.common.recogniser import log_probs

    if sample.audio is None:
        raise InputError(f'{sample.where}: has no "audio", so there is nothing to align the text with')
    try:
        spelling = spell(sample.text, model.alphabet)
        recording = prepare(read_audio(sample.audio, model.features["sample_rate"]), model.features)
        if not any(map(len, recording.windows)):
            raise InputError("is silent, so no text can be aligned with it")
        return recording.aligned(log_probs(model, recording.windows), spelling, model).words
    except InputError as error:
        raise InputError(named(str(error), str(sample.audio))) from None


def _nothing(model: Model) -> list[int]:
    """The blank and, if the alphabet has it, the space."""
    return [0] if model.alphabet.unknown(" ") else [0, *model.alphabet.encode(" ")]


def prepare(
    wave: np.ndarray,
    settings: Mapping[str, Any],
    reading: Reading = WHOLE,
    notes: tuple[str, ...] = (),
    fault: str = "",
) -> Recording:
    """Features of a wave (samples,) at settings["sample_rate"], in one window or, if it is long, several.

    reading: whether long rests stay as they are (`features.without_rests`), and whether only voices are read.
    Raises InputError for a wave shorter than one analysis window: it has no frame, which is not silence.
    """
    rate = settings["sample_rate"]
    if len(wave) < rate * settings["window"]:
        what = "1 sample" if len(wave) == 1 else f"{len(wave)} samples"
        because = f"{fault}, which are too few: " if fault else ""
        raise InputError(
            f"{because}only {what} long, and it takes {settings['window'] * 1000:.0f} ms to make out a sound"
        )
    chance = chances(wave, rate) if reading.voices else None
    level = loudness(wave, rate)
    hop = round(features.frame_stride(settings) * rate)
    found, kept, spans = [], [], []
    if chance is None:
        cut = [[span] for span in windows(wave, rate)]
    else:
        cut = windows_of_voices(wave, rate, hop, chance)
    for parts in cut:
        array, numbers = _features(wave, parts, hop, settings)
        if not reading.rests:
            array, left = features.without_rests(array, settings)
            numbers = numbers[left]
        found.append(array)
        kept.append(numbers)
        spans.append((parts[0][0] / rate, parts[-1][1] / rate))
    return Recording(
        windows=tuple(found),
        kept=tuple(kept),
        spans=tuple(spans),
        loudness=level,
        duration=len(wave) / rate,
        step=features.frame_stride(settings),
        notes=notes,
        fault=fault,
        chances=chance,
    )


def _features(
    wave: np.ndarray, parts: Sequence[Span], hop: int, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """(frames, size) of the parts of a wave as if they were one, and the frame of the span that each is."""
    sound = wave[slice(*parts[0])] if len(parts) == 1 else np.concatenate([wave[a:b] for a, b in parts])
    if is_silent(sound):
        return np.zeros((0, size(settings)), np.float32), np.arange(0)
    array = features.extract(sound, settings)
    first = parts[0][0]
    numbers = np.concatenate([np.arange((a - first) // hop, -(-(b - first) // hop)) for a, b in parts])
    return array, numbers[: len(array)]


def is_silent(wave: np.ndarray) -> bool:
    """True for digital silence: no signal but an offset and dither. A quiet voice is not silent."""
    return float(np.ptp(wave)) <= SILENCE


def spoken(symbols: Sequence[Symbol], calibration: Calibration, chance: np.ndarray) -> list[Symbol]:
    """The symbols without the words that are no speech (`asr.voice.is_speech`)."""
    words = iter(Hypothesis(tuple(symbols), 0.0, calibration).words())
    kept: list[Symbol] = []
    inside = keep = False
    for symbol in symbols:
        if symbol.text.isspace():
            inside = False
        elif not inside:
            inside, keep = True, is_speech(next(words), chance)
        if keep or not inside:
            kept.append(symbol)
    return kept


def single_spaces(symbols: Iterable[Symbol]) -> list[Symbol]:
    """The symbols without spaces at the ends and without a space after a space."""
    kept: list[Symbol] = []
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
