"""When each word of a known text is said in a recording: forced alignment, in seconds.

A CTC network marks a symbol by a spike of a frame or two somewhere in its sound, the first symbol of a
recording often long before anybody speaks, and never says where a sound ends. So spikes say in which order
words stand, and the loudness says where they begin and end:

- two words part at the quietest 10 ms between the last spike of the one and the first spike of the other;
- from there a word is narrowed to what is heard of it: to where it is no more than BELOW dB under its peak
  and at least ABOVE dB over the floor of the recording; sound that a silence of more than HOLE seconds parts
  from the word's spikes (a breath, a click) is left out;
- inside a word a symbol lasts until the spike of the next one begins.

On digits of FSDD put together with pauses of 0 to 1 s and noise, 750 words, word edges lie a median of 7 ms
(mean 28) off; the spikes alone, 80 (120).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from carousel.asr.listening import listen
from carousel.asr.transcribe import Prepared, Timed, Transcript, prepare, seconds
from carousel.common.cli.align import Task
from carousel.common.cli.failures import Failures
from carousel.common.cli.streams import standard_input
from carousel.common.data.manifest import Sample
from carousel.common.decoding import Symbol
from carousel.common.decoding.align import Spelling, align, spell, words
from carousel.common.decoding.reading import Reading
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.model.file import Model

HOP = 0.01  # s
BELOW = 35.0  # dB under the loudest 10 ms of a word
ABOVE = 5.0  # dB over the floor of the recording: the level that 5 % of it stay under
FLOOR = 5.0  # %
AUDIBLE = 10.0  # dB: so much of a word's peak counts as heard, however loud the floor
VOICE = 20.0  # dB under the loudest 10 ms: what of the first word is surely spoken
HOLE = 0.2  # s: a stop (p, t, k) closes the mouth for up to 0.15 s inside a word
SILENT = 1e-10  # power of digital silence, -100 dB


@dataclass(frozen=True, slots=True)
class Heard:
    """A recording for alignment: what the network sees, and how loud each HOP is (dB of full scale)."""

    prepared: Prepared
    loudness: np.ndarray


@dataclass(frozen=True, slots=True)
class Aligned:
    """A text in `duration` seconds: its symbols, spaces included, which fill the pauses between words.

    spikes: output frames [start, end) in which each symbol fires; score: ln of the best path, over `frames`.
    """

    symbols: tuple[Timed, ...]
    spikes: tuple[tuple[int, int], ...]
    score: float
    frames: int
    duration: float
    truncated: bool = False

    @property
    def words(self) -> list[Timed]:
        return self.transcript.best.words

    @property
    def transcript(self) -> Transcript:
        return Transcript((Reading(self.symbols, self.score),), self.duration, self.truncated)


def word_segments(model: Model, sample: Sample) -> list[Timed]:
    """The words of a manifest's sample, in their order, from start to end in seconds of its recording.

    Raises InputError naming the recording where it cannot be read or the text cannot be aligned with it.
    """
    from carousel.asr.sound.read import read_audio
    from carousel.common.recogniser import log_probs

    if sample.audio is None:
        raise InputError(f'{sample.where}: has no "audio", so there is nothing to align the text with')
    try:
        spelling = spell(sample.text, model.alphabet)
        heard = hear(read_audio(sample.audio, model.features["sample_rate"]), model)
        return place(heard, log_probs(model, heard.prepared.windows), spelling, model).words
    except InputError as error:
        name = str(sample.audio)
        raise (error if str(error).startswith(name) else InputError(f"{name}: {error}")) from None


def hear_task(
    task: Task, model: Model, args: argparse.Namespace, failures: Failures, silent: bool = False
) -> Heard:
    """The recording of an input, of a sample, or of standard input where there is no path."""
    if task.sample is not None and task.sample.audio is None:
        raise InputError('has no "audio", so it cannot be read as speech')
    source = standard_input() if task.item.path is None else task.item.path
    recording = listen(task.item.name, source, model.features["sample_rate"], args, failures)
    return hear(recording.samples, model, silent, bool(recording.fault))


def scores_of(model: Model, heard: Sequence[Heard], batch_frames: int) -> list[list[np.ndarray]]:
    """(output frames, symbols) natural log of each window of each recording."""
    from carousel.common.recogniser import log_probs

    scores = iter(log_probs(model, [w for h in heard for w in h.prepared.windows], batch_frames))
    return [[next(scores) for _ in h.prepared.windows] for h in heard]


def hear(wave: np.ndarray, model: Model, silent: bool = False, truncated: bool = False) -> Heard:
    """wave: (samples,) at the model's sample rate. Raises InputError for one too short, or silent if it must
    not be."""
    prepared = prepare(wave, model.features, truncated)
    if not prepared.frames and not silent:
        raise InputError("is silent, so no text can be aligned with it")
    return Heard(prepared, loudness(wave, model.features["sample_rate"]))


def loudness(wave: np.ndarray, rate: int) -> np.ndarray:
    """Level of each HOP of a wave (samples,) in dB of full scale; at least one."""
    hop = round(HOP * rate)
    whole = max(len(wave) // hop, 1) * hop
    rows = wave[:whole] if len(wave) >= whole else np.pad(wave, (0, whole - len(wave)))
    power = np.square(rows.reshape(-1, hop), dtype=np.float32).mean(axis=1)
    return 10 * np.log10(power + SILENT)


def place(heard: Heard, scores: Sequence[np.ndarray], spelling: Spelling, model: Model) -> Aligned:
    """The text in a recording. scores: (frames, symbols) natural log of each window of heard.prepared."""
    log_probs, edges = joined(heard.prepared, scores, model.stride, model.alphabet)
    found = align(log_probs, spelling)
    duration = heard.prepared.duration
    spoken = words(found.symbols)
    segments = word_edges([(edges[w[0].start], edges[w[-1].start], edges[w[-1].end]) for w in spoken],
                          heard.loudness, duration)  # fmt: skip
    timed: list[Timed] = []
    for word, (start, end) in zip(spoken, segments, strict=True):
        if timed:
            space = found.symbols[len(timed)]
            timed.append(Timed(space.text, timed[-1].end, start, space.confidence))
        timed += symbol_edges(word, edges, start, end)
    spikes = tuple((symbol.start, symbol.end) for symbol in found.symbols)
    frames = sum(map(len, scores))
    return Aligned(tuple(timed), spikes, found.score, frames, duration, heard.prepared.truncated)


def joined(
    prepared: Prepared, scores: Sequence[np.ndarray], stride: int, alphabet: Alphabet
) -> tuple[np.ndarray, np.ndarray]:
    """The windows of a recording one after the other: (frames, symbols), and (frames + 1,) seconds of edges.

    Between two windows, and for a silent one, stands a frame in which blank and space are certain: the
    network has not seen that a cut may part two words.
    """
    step = stride * prepared.step
    pause = np.full((1, len(alphabet)), -np.inf, np.float32)
    pause[0, [0, *([] if alphabet.unknown(" ") else alphabet.encode(" "))]] = 0.0
    pieces: list[np.ndarray] = []
    edges: list[np.ndarray] = []
    for window, (start, end) in zip(scores, prepared.spans, strict=True):
        if pieces or not len(window):
            pieces.append(pause)
            edges.append(np.array([start]))
        pieces.append(window)
        edges.append(np.minimum(start + step * np.arange(len(window)), end))
    return np.concatenate(pieces), np.append(np.concatenate(edges), prepared.duration)


def word_edges(
    spikes: Sequence[tuple[float, float, float]], level: np.ndarray, duration: float
) -> list[tuple[float, float]]:
    """Start and end of each word in seconds, rising; the rule stands at the top of this file.

    spikes: of each word the seconds in which its first symbol's spike begins, and its last one's begins and
    ends; level: (hops,) dB.
    """
    floor = float(np.percentile(level, FLOOR)) + ABOVE
    cuts = [0]
    for (_, last, _), (first, _, _) in pairwise(spikes):
        low, high = _hop(last, level), _hop(first, level)
        if not cuts[-1]:  # the first spikes may stand in the silence before the first word
            before = level[: max(high, 1)]
            low = max(low, min(int((before > before.max() - VOICE).argmax()) + 1, high - 1))
        low = max(low, cuts[-1] + 1)
        cuts.append(low + int(level[low : max(high, low + 1)].argmin()) if low < len(level) else low)
    cuts.append(max(len(level), cuts[-1] + 1))
    segments = []
    for (first, _, end), start, stop in zip(spikes, cuts[:-1], cuts[1:], strict=True):
        part = level[start:stop]
        if len(part):
            begin, stop = _audible(part, _threshold(part, floor), first / HOP - start, end / HOP - start)
            start, stop = start + begin, start + stop
        segments.append((seconds(min(start * HOP, duration)), seconds(min(stop * HOP, duration))))
    if segments and stop >= len(level):  # the last hop may be longer than the others
        segments[-1] = (segments[-1][0], seconds(duration))
    return segments


def _hop(seconds: float, level: np.ndarray) -> int:
    return min(round(seconds / HOP), len(level))


def _threshold(level: np.ndarray, floor: float) -> float:
    peak = float(level.max())
    return max(peak - BELOW, min(floor, peak - AUDIBLE))


def _audible(level: np.ndarray, threshold: float, first: float, end: float) -> tuple[int, int]:
    """Hops [start, stop) over the threshold, of those runs that meet the spikes [first, end), or of all."""
    loud = np.flatnonzero(level > threshold)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > HOLE / HOP) + 1)
    own = [run for run in runs if run[0] <= end and run[-1] + 1 >= first] or runs
    return int(own[0][0]), int(own[-1][-1]) + 1


def symbol_edges(word: Sequence[Symbol], edges: np.ndarray, start: float, end: float) -> list[Timed]:
    """The symbols of a word from start to end: each begins with its spike, and has some time at least."""
    least = min(HOP, (end - start) / len(word))
    begins = [start]
    for i, symbol in enumerate(word[1:], start=1):
        latest = end - (len(word) - i) * least
        begins.append(min(max(float(edges[symbol.start]), begins[-1] + least), latest))
    return [
        Timed(symbol.text, seconds(begin), seconds(stop), symbol.confidence)
        for symbol, begin, stop in zip(word, begins, [*begins[1:], end], strict=True)
    ]
