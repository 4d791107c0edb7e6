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

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from carousel.common.decoding import Symbol

HOP = 0.01  # s
BELOW = 35.0  # dB under the loudest 10 ms of a word
ABOVE = 5.0  # dB over the floor of the recording: the level that 5 % of it stay under
FLOOR = 5.0  # %
AUDIBLE = 10.0  # dB: so much of a word's peak counts as heard, however loud the floor
VOICE = 20.0  # dB under the loudest 10 ms: what of the first word is surely spoken
HOLE = 0.2  # s: a stop (p, t, k) closes the mouth for up to 0.15 s inside a word
SILENT = 1e-10  # power of digital silence, -100 dB


def seconds(time: float) -> float:
    """A time in whole microseconds: 1.8, not the 1.7999999999999998 that 60 × 0.03 gives."""
    return round(float(time), 6)


def loudness(wave: np.ndarray, rate: int) -> np.ndarray:
    """Level of each HOP of a wave (samples,) in dB of full scale; at least one."""
    return 10 * np.log10(power(wave, round(HOP * rate)) + SILENT)


def power(wave: np.ndarray, hop: int) -> np.ndarray:
    """Mean square of each hop of a wave (samples,), float32; at least one. It makes no copy of the wave."""
    whole = max(len(wave) // hop, 1) * hop
    rows = (wave[:whole] if len(wave) >= whole else np.pad(wave, (0, whole - len(wave)))).reshape(-1, hop)
    return np.einsum("ij,ij->i", rows, rows, dtype=np.float32) / np.float32(hop)


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


def symbol_edges(word: Sequence[Symbol], edges: np.ndarray, start: float, end: float) -> list[Symbol]:
    """The symbols of a word from start to end: each begins with its spike, and has some time at least."""
    least = min(HOP, (end - start) / len(word))
    begins = [start]
    for i, symbol in enumerate(word[1:], start=1):
        latest = end - (len(word) - i) * least
        begins.append(min(max(float(edges[int(symbol.start)]), begins[-1] + least), latest))
    return [
        symbol._replace(start=seconds(begin), end=seconds(stop))
        for symbol, begin, stop in zip(word, begins, [*begins[1:], end], strict=True)
    ]
