"""A recording as the network takes it, in one window or several, and where in it a text is said.

A Recording is the Prepared of common.domain. Its times are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from carousel.asr import features
from carousel.asr.align import loudness, power, seconds, symbol_edges, word_edges
from carousel.asr.channels import Channels
from carousel.asr.features import centres, size
from carousel.asr.reader import read, recording_of, whole_wave
from carousel.asr.sound.read import duration as length
from carousel.asr.sound.read import read_channels, read_recording
from carousel.common.calibration import UNCALIBRATED
from carousel.common.data.manifest import Sample
from carousel.common.decoding import Box, Hypothesis, Symbol
from carousel.common.decoding.align import Spelling, align, spell, words
from carousel.common.decoding.hypothesis import best_sums
from carousel.common.domain import EVERYTHING, Transcript, Wanted
from carousel.common.errors import InputError, named

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.ctc.spotting import Detection
    from carousel.common.domain import Item, Prepared
    from carousel.common.model.file import Model

__all__ = ["Recording", "length", "open", "prepare", "read", "shown", "size", "without_rests"]

WHOLE = 180.0  # s: up to here a recording goes through the network in one piece
ENOUGH = 3.0  # s: a longer one is cut in the first pause after these
PAUSE, DEPTH = 0.3, 10**-2.5  # s, and how far (in power, 25 dB) below speech a pause is
SHORTEST, LONGEST = 10.0, 15.0  # s: without a pause, it is cut at the quietest place between these
TAIL = 1.0  # s: the least that a cut leaves behind it
QUIET = 0.2  # s: the stretch whose loudness a cut looks at
SILENCE = (
    4 / 32768
)  # range of samples that a converter at rest gives (dither, an offset): nobody speaks in it


def open(source: Any, domain: str = "speech", longest: float = math.inf) -> Iterator[Item]:
    """The one recording of a path, an open file, bytes, a sample of a manifest, or a wave (samples,) at the
    model's sample rate. longest: seconds of a file above which it is an InputError, before all is decoded."""

    def read(settings: dict[str, Any], wanted: Wanted) -> Prepared:
        if isinstance(source, np.ndarray):
            return prepare(source, settings, wanted)
        rate = settings["sample_rate"]
        if isinstance(source, Sample):
            found = recording_of(source, rate)
            return prepare(found.samples, settings, wanted, found.notes, found.fault, source.start)
        if wanted.channels is None:
            found = read_recording(source, rate, longest)
            return prepare(found.samples, settings, wanted, found.notes, found.fault)
        parts = [
            prepare(one.samples, settings, wanted, one.notes, one.fault)
            for one in read_channels(source, rate)
        ]
        return cast("Prepared", Channels.of(parts, wanted.channels))  # asked for by transcription alone

    yield None, read


def shown(sample: Sample) -> tuple[str, bytes]:
    """The first LONGEST seconds as MP3. Raises InputError."""
    import io

    import soundfile

    from carousel.asr.sound.read import SAMPLE_RATE

    wave = recording_of(sample, SAMPLE_RATE).samples[: round(LONGEST * SAMPLE_RATE)]
    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, format="MP3")
    return "audio/mpeg", file.getvalue()


def without_rests(array: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    return features.without_rests(array, settings)[0]


@dataclass(frozen=True, slots=True)
class Recording:
    """Windows of a recording, each with where it starts and ends in seconds."""

    windows: tuple[np.ndarray, ...]  # (frames, size) each; no frames where the recording is silent
    spans: tuple[tuple[float, float], ...]
    kept: tuple[np.ndarray, ...]  # (frames,) each: which frames of the span these are
    loudness: np.ndarray  # (hops,) dB of full scale, of each HOP
    duration: float  # s
    step: float  # seconds per frame of the features
    notes: tuple[str, ...] = ()
    fault: str = ""  # that its file ends too early
    start: float = 0.0  # s of the file; all times that are told count from the file's beginning

    @property
    def about(self) -> dict[str, Any]:
        part = {"start": self.start} if self.start else {}
        return {**part, "duration": self.duration, "truncated": bool(self.fault)}

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
            reading = Hypothesis(tuple(single_spaces(symbols)), score, calibration)
            readings.setdefault(reading.text, reading)  # two hypotheses may differ in spaces only
        return list(readings.values())

    def _timed(self, window: int, symbol: Symbol, stride: int) -> Symbol:
        """A symbol with seconds of the recording instead of output frames of a window."""
        (start, end), kept = self.spans[window], self.kept[window]
        first, last = int(symbol.start) * stride, int(symbol.end) * stride
        inside = min(last, len(kept))  # the last output frame may reach beyond the features
        frames = kept[first], kept[inside - 1] + 1 + last - inside
        begins, ends = (seconds(self.start + min(start + float(frame) * self.step, end)) for frame in frames)
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
        if self.start:
            timed = [self._moved(symbol) for symbol in timed]
        return Transcript(
            (Hypothesis(tuple(timed), found.score),),
            self.about,
            spikes=tuple((int(symbol.start), int(symbol.end)) for symbol in found.symbols),
            frames=sum(map(len, scores)),
        )

    def _moved(self, symbol: Symbol) -> Symbol:
        """With times that count from the file's beginning."""
        start, end = (seconds(self.start + time) for time in (symbol.start, symbol.end))
        return symbol._replace(start=start, end=end)

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

        hertz = centres(model.features) if model.features["kind"] == "logmel" else None
        shown = self.windows[0].T[
            : None if hertz is None else len(hertz)
        ]  # (filters, frames), without slopes
        length = model.stride * self.step
        draw_activations(
            shown, scores, hypothesis, model.alphabet, picture,
            title=title, seconds=length, stride=model.stride, hertz=hertz,
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
        offset = self.prepared.start
        return seconds(offset + start), seconds(offset + end), None

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        aligned = self.prepared.aligned(self.scores, spelling, self.model)
        return [(symbol.start, symbol.end) for symbol in aligned.best.symbols]


def word_segments(model: Model, sample: Sample) -> list[Symbol]:
    """The words of a manifest's sample, in their order, from start to end in seconds of its recording.

    Raises InputError naming the recording where it cannot be read or the text cannot be aligned with it.
    """
    from carousel.common.recogniser import log_probs

    if sample.audio is None:
        raise InputError(f'{sample.where}: has no "audio", so there is nothing to align the text with')
    try:
        spelling = spell(sample.text, model.alphabet)
        recording = prepare(whole_wave(sample, model.features["sample_rate"]), model.features)
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
    wanted: Wanted = EVERYTHING,
    notes: tuple[str, ...] = (),
    fault: str = "",
    offset: float = 0.0,
) -> Recording:
    """Features of a wave (samples,) at settings["sample_rate"], in one window or, if it is long, several.

    wanted: whether long rests stay as they are (`features.without_rests`); offset: s, of the wave in its
    file.
    Raises InputError for a wave shorter than one analysis window: it has no frame, which is not silence.
    """
    rate = settings["sample_rate"]
    if len(wave) < rate * settings["window"]:
        what = "1 sample" if len(wave) == 1 else f"{len(wave)} samples"
        because = f"{fault}, which are too few: " if fault else ""
        raise InputError(
            f"{because}only {what} long, and it takes {settings['window'] * 1000:.0f} ms to make out a sound"
        )
    spans = windows(wave, rate)
    empty = np.zeros((0, size(settings)), np.float32)
    found, kept = [], []
    for start, end in spans:
        array = empty if is_silent(wave[start:end]) else features.extract(wave[start:end], settings)
        left = (array, np.arange(len(array))) if wanted.rests else features.without_rests(array, settings)
        found.append(left[0])
        kept.append(left[1])
    return Recording(
        windows=tuple(found),
        kept=tuple(kept),
        spans=tuple((start / rate, end / rate) for start, end in spans),
        loudness=loudness(wave, rate),
        duration=len(wave) / rate,
        step=features.frame_stride(settings),
        notes=notes,
        fault=fault,
        start=offset,
    )


def is_silent(wave: np.ndarray) -> bool:
    """True for digital silence: no signal but an offset and dither. A quiet voice is not silent."""
    return float(np.ptp(wave)) <= SILENCE


def windows(wave: np.ndarray, rate: int) -> list[tuple[int, int]]:
    """Samples [start, end) of the windows, one after the other over the whole wave.

    A wave of up to WHOLE seconds is one window. A longer one is cut in the first pause after ENOUGH seconds,
    as who speaks after it, and how loud, may be another; without one at the quietest place between SHORTEST
    and LONGEST. Windows share nothing: no state of the network crosses a cut.
    """
    if len(wave) <= WHOLE * rate:
        return [(0, len(wave))]
    hop = rate // 100  # 10 ms
    level = power(wave, hop)
    around = np.convolve(level, np.ones(round(QUIET * 100)), mode="same")  # of the stretch around each 10 ms
    starts, ends = pauses_in(level)
    pauses = (starts + ends) // 2
    cuts = [0]
    while (rest := len(wave) - cuts[-1]) > LONGEST * rate:
        least, first, last = (
            (cuts[-1] + round(min(seconds, rest / rate - TAIL) * rate)) // hop
            for seconds in (ENOUGH, SHORTEST, LONGEST)
        )
        within = pauses[(pauses >= least) & (pauses < last)]
        quietest = int(within[0]) if len(within) else first + int(around[first:last].argmin())
        cuts.append(quietest * hop + hop // 2)
    return list(zip(cuts, [*cuts[1:], len(wave)], strict=True))


def pauses_in(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each stretch of PAUSE seconds or more that is far below the speech starts and ends, in hops.

    level: mean square of each 10 ms. What counts as speech is its loudest twentieth.
    """
    quiet = level < np.percentile(level, 95) * DEPTH
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet, [0]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    long = ends - starts >= round(PAUSE * 100)
    return starts[long], ends[long]


def single_spaces(symbols: Iterable[Symbol]) -> list[Symbol]:
    """The symbols without spaces at the ends and without a space after a space."""
    kept: list[Symbol] = []
    for symbol in symbols:
        if not symbol.text.isspace() or (kept and not kept[-1].text.isspace()):
            kept.append(symbol)
    return kept[:-1] if kept and kept[-1].text.isspace() else kept
