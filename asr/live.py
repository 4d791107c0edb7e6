"""Speech that is read while it is spoken: text that settles after a delay and is then never taken back.

The layers see both ways, so a stretch of speech goes through them again and again as it grows, from its
beginning to now. What an output frame says is kept from the first time that `delay` seconds after it have
been heard: a latency-controlled bidirectional network (Y. Zhang et al., "Highway Long Short-Term Memory RNNs
for Distant Speech Recognition", ICASSP 2016, section 4), but that the past is seen whole, where theirs
carries its state. A stretch ends in a pause, as the windows of a long recording do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from carousel.asr import features
from carousel.asr.align import power, seconds
from carousel.asr.recording import ENOUGH, LONGEST, is_silent, pauses_in, single_spaces
from carousel.common.decoding import Hypothesis, Symbol, decode_batch
from carousel.common.domain import Transcript
from carousel.common.model.file import Model
from carousel.common.options import DELAY
from carousel.common.recogniser import options

EVERY = 0.5  # s of new sound after which the network looks again
REST = 0.4  # s of silence that the network is shown after now: it has never seen speech that breaks off
CONTEXT = 12.0  # s of earlier stretches that the network is shown as well, for voice and channel
LATE = 0.6  # s after a pause has begun in which letters of before it may still fire
LEVELS = 100  # of loudness a second


class Live:
    """A recording that comes block by block.

    Greedy text settles after `delay` seconds. A search may change its mind within a stretch of speech, so
    what it finds settles where the stretch ends: in a pause, or after half a minute without one.
    decoding: options of common.decoding.decode_batch over those of the model.
    """

    def __init__(
        self, model: Model, decoding: Mapping[str, Any], delay: float = DELAY, every: float = EVERY
    ) -> None:
        self.model, self.delay, self.every = model, delay, every
        self.rate: int = model.features["sample_rate"]
        self.options = options(model, decoding)
        self._greedy = self.options.get("decoder", "greedy") == "greedy"
        unknown = model.alphabet.unknown(" ")
        self._space = -1 if unknown else model.alphabet.encode(" ")[0]
        self._step = model.stride * features.frame_stride(model.features)  # s of an output frame
        self.done: list[Hypothesis] = []  # of the stretches that have ended, in seconds
        self._wave = np.zeros(0, np.float32)  # what the network sees: what is being spoken, and some before
        self._base = self._new = 0  # samples before it, and those that the network has not looked at
        self._ends: list[float] = []  # s where stretches ended
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []  # of the stretch: seconds (frames,), and scores
        self._until = 0.0  # s up to which the frames are kept
        self._rest: tuple[np.ndarray, np.ndarray] = self._nothing()

    @property
    def heard(self) -> float:
        """Seconds so far."""
        return (self._base + len(self._wave)) / self.rate

    @property
    def growing(self) -> str:
        """What has settled of the stretch that is being spoken."""
        return self._read(self._kept).text if self._greedy else ""

    @property
    def settled(self) -> str:
        """The text that stays. It only grows."""
        return " ".join(filter(None, [*(hypothesis.text for hypothesis in self.done), self.growing]))

    @property
    def text(self) -> str:
        """All that was understood so far. What follows the settled text may change."""
        spoken = self._read([*self._kept, self._rest])
        return " ".join(filter(None, (hypothesis.text for hypothesis in [*self.done, spoken])))

    def feed(self, block: np.ndarray) -> bool:
        """Takes the next samples, float32 at the model's rate, and tells whether the network has looked."""
        self._wave = np.concatenate([self._wave, block])
        self._new += len(block)
        if self._new < self.every * self.rate:
            return False
        self._look()
        return True

    def close(self) -> Transcript:
        """The transcript of all that was fed."""
        self._look(over=True)
        self._kept.append(self._rest)
        self._end()
        symbols: list[Symbol] = []
        for hypothesis in self.done:
            if symbols and hypothesis.symbols:
                symbols.append(Symbol(" ", symbols[-1].end, hypothesis.symbols[0].start, 1.0))
            symbols += hypothesis.symbols
        score = sum(hypothesis.score for hypothesis in self.done)
        reading = Hypothesis(tuple(single_spaces(symbols)), score, self.model.calibration)
        return Transcript((reading,), {"duration": seconds(self.heard), "truncated": False})

    def _look(self, over: bool = False) -> None:
        """Shows the stretch to the network, and keeps what has settled. over: nothing comes after it."""
        self._new = 0
        times, scores = self._seen(0.0 if over else REST)
        edge = self.heard - self.delay
        cut = self._cut(edge, times, scores)
        if cut is not None:
            edge = cut
        elif not self._greedy:
            edge = self._until  # until the stretch ends its frames are seen anew
        settled = (times >= self._until) & (times < edge)
        self._kept.append((times[settled], scores[settled]))
        self._until = max(self._until, edge)
        later = times >= self._until
        self._rest = times[later], scores[later]
        if cut is not None:
            self._end()
            self._ends.append(cut)
            oldest = next(end for end in self._ends if cut - end <= CONTEXT)
            samples = round(oldest * self.rate) - self._base
            if samples > 0:
                self._wave, self._base = self._wave[samples:], self._base + samples

    def _seen(self, rest: float) -> tuple[np.ndarray, np.ndarray]:
        """Seconds at which each output frame begins, and its scores (frames, symbols)."""
        settings = self.model.features
        if len(self._wave) < self.rate * settings["window"] or is_silent(self._wave):
            return self._nothing()
        array, frames = features.without_rests(features.extract(self._wave, settings), settings)
        if not len(array):
            return self._nothing()
        after = features.rest(rest, settings)
        (scores,) = self.model.log_probs([np.concatenate([array, after])])
        times = self._base / self.rate + frames[:: self.model.stride] * self._step / self.model.stride
        return times, scores[: len(times)]

    def _nothing(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(0), np.zeros((0, len(self.model.alphabet)), np.float32)

    def _cut(self, edge: float, times: np.ndarray, scores: np.ndarray) -> float | None:
        """Where the stretch ends, in seconds between what is kept and `edge`, if it does there.

        That is behind a space that the network has read, by a pause if there is one, or within a long pause:
        letters may fire late, so a pause alone does not tell where a word ends.
        """
        level = power(self._wave, self.rate // LEVELS)
        starts, stops = (self._base / self.rate + ends / LEVELS for ends in pauses_in(level))
        spaces = times[scores.argmax(axis=1) == self._space] + self._step
        paused = (spaces[:, None] >= starts) & (spaces[:, None] <= stops + LATE)
        silent = starts[stops - starts > LATE] + LATE
        begun = self._ends[-1] if self._ends else 0.0
        for ends in (np.append(spaces[paused.any(axis=1)], silent), spaces if edge > begun + LONGEST else []):
            inside = [end for end in ends if max(self._until, begun + ENOUGH) <= end < edge]
            if inside:
                return float(max(inside))
        return edge if edge > begun + 2 * LONGEST else None

    def _end(self) -> None:
        """The stretch is over."""
        self.done.append(self._read(self._kept))
        self._kept = []

    def _read(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> Hypothesis:
        """The best text of these frames, in seconds."""
        times, scores = (np.concatenate(arrays) for arrays in zip(self._nothing(), *parts, strict=True))
        ((best, *_),) = decode_batch([scores], self.model.alphabet, **self.options)
        symbols = [
            symbol._replace(
                start=seconds(times[int(symbol.start)]), end=seconds(times[int(symbol.end) - 1] + self._step)
            )
            for symbol in best.symbols
        ]
        found = replace(best, symbols=tuple(single_spaces(symbols)))
        return found.calibrated(self.model.calibration)
