"""Where long recordings are cut: into windows at their quietest places, or around those who speak."""

from __future__ import annotations

import numpy as np

from carousel.asr.align import power
from carousel.asr.voice import GAP, voices

Span = tuple[int, int]  # samples [start, end)

WHOLE = 180.0  # s: up to here a recording goes through the network in one piece
SHORTEST, LONGEST = 20.0, 30.0  # s: a longer one is cut at the quietest place between these
ENOUGH = 5.0  # s: a window of less takes the next stretch, too
TAIL = 1.0  # s: the least that a cut leaves behind it
QUIET = 0.2  # s: the stretch whose loudness a cut looks at


def windows_of_voices(wave: np.ndarray, rate: int, hop: int, chance: np.ndarray) -> list[list[Span]]:
    """Samples [start, end) of the stretches of each window, whole hops from the first start on.

    chance: of a voice, as of asr.voice.

    What is longer than a window is cut as by `windows`; short stretches share
    one, as a word alone tells too little of its channel, and who speaks after them may have another.
    """
    duration, found = len(wave) / rate, []
    for start, end in voices(chance, duration):
        begin = 0 if start < GAP else round(start * rate / hop) * hop
        stop = len(wave) if duration - end < GAP else round(end * rate / hop) * hop
        found += [(begin + a, begin + b) for a, b in windows(wave[begin:stop], rate, len(wave))]
    enough = (ENOUGH if len(wave) > WHOLE * rate else WHOLE) * rate
    groups: list[list[Span]] = []
    held = enough
    for a, b in found:
        if held >= enough:
            groups.append([])
            held = 0
        groups[-1].append((a, b))
        held += b - a
    return groups


def windows(wave: np.ndarray, rate: int, whole: int = 0) -> list[Span]:
    """Samples [start, end) of the windows, one after the other over the whole wave.

    A wave of up to WHOLE seconds, or that is a part of one (whole: its samples), is one window. Windows share
    nothing: no state of the network crosses a cut.
    """
    if max(len(wave), whole) <= WHOLE * rate or len(wave) <= LONGEST * rate:
        return [(0, len(wave))]
    hop = rate // 100  # 10 ms
    loudness = np.convolve(  # of the stretch around each 10 ms
        power(wave, hop), np.ones(round(QUIET * 100)), mode="same"
    )
    cuts = [0]
    while (rest := len(wave) - cuts[-1]) > LONGEST * rate:
        first = cuts[-1] + round(SHORTEST * rate)
        last = cuts[-1] + round(min(LONGEST * rate, rest - TAIL * rate))
        quietest = first // hop + int(loudness[first // hop : last // hop].argmin())
        cuts.append(quietest * hop + hop // 2)
    return list(zip(cuts, [*cuts[1:], len(wave)], strict=True))
