"""Best path decoding (Graves 2006, section 3.2): the likeliest symbol of each frame, runs merged."""

import numpy as np

from carousel.common.decoding import Hypothesis, check
from carousel.common.decoding.hypothesis import timed_symbols
from carousel.common.text.alphabet import Alphabet


def decode(log_probs: np.ndarray, alphabet: Alphabet) -> list[Hypothesis]:
    """The text of the best path, as a list of one.

    log_probs: (frames, symbols) natural log, column 0 the blank. A symbol's frames are its run on the best
    path, its confidence the highest posterior in that run; the score is the log-probability of the best path
    alone, a lower bound of the text's. Raises InputError for NaN or a shape that does not fit the alphabet.
    """
    check(log_probs, alphabet)
    if not len(log_probs):
        return [Hypothesis((), 0.0)]
    path = log_probs.argmax(axis=1)  # (frames,)
    peaks = log_probs[np.arange(len(path)), path]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(path)) + 1])  # of runs, blank ones too
    ends = np.append(starts[1:], len(path))
    confidences = np.exp(np.maximum.reduceat(peaks, starts).astype(np.float64))
    spoken = path[starts] > 0
    spans = zip(starts[spoken].tolist(), ends[spoken].tolist(), confidences[spoken].tolist(), strict=True)
    symbols = timed_symbols(alphabet, path[starts[spoken]].tolist(), spans)
    return [Hypothesis(symbols, float(peaks.sum(dtype=np.float64)))]
