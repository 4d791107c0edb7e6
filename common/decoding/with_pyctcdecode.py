"""pyctcdecode's beam search behind our interface, for comparison.

pyctcdecode gives some labels a meaning of its own (`|` and every space part words, `_` and "" are blanks,
`##…` and `▁…` are word pieces) and squeezes runs of spaces. So it never sees our symbols: symbol i goes in as
a private code point and comes back as symbol i, spaces included. Its word times are those of whichever path
it met first, and none when no label is a space, so symbols take theirs from the best alignment of the text.
"""

import functools
import logging
from typing import Any

import numpy as np

from carousel.common.ctc.loss import forced_align
from carousel.common.decoding import Hypothesis, check, check_search
from carousel.common.decoding.hypothesis import timed_symbols
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet

PRIVATE = 0xF0000  # first code point of the private planes 15 and 16: room for 131,072 symbols
LEAST = 1e-15  # pyctcdecode's lowest probability (its MIN_TOKEN_CLIP_P): no path is impossible to it


def decode(
    log_probs: np.ndarray,
    alphabet: Alphabet,
    *,
    beam: int = 16,
    nbest: int = 1,
    symbol_threshold: float = -5.0,
    score_threshold: float = 10.0,
) -> list[Hypothesis]:
    """The best texts that pyctcdecode finds, best first, as decode of common.decoding.beam (which see).

    The thresholds' defaults are pyctcdecode's (its token_min_logp and -beam_prune_logp). The score is the
    natural log of the probability of all paths to the text that its beam kept; probabilities are raised to
    1e-15 at least. Raises InputError as every decoder, and when pyctcdecode is not installed.
    """
    check(log_probs, alphabet)
    check_search(beam, nbest, symbol_threshold, score_threshold)
    if not len(log_probs):
        return [Hypothesis((), 0.0)]
    found = _decoder(len(alphabet)).decode_beams(
        log_probs.astype(np.float64),
        beam_width=beam,
        beam_prune_logp=-score_threshold,
        token_min_logp=symbol_threshold,
    )
    possible = np.maximum(log_probs, np.log(LEAST))
    hypotheses = []
    for text, _, _, score, _ in found[:nbest]:
        indices = [ord(character) - PRIVATE for character in text]
        hypotheses.append(
            Hypothesis(timed_symbols(alphabet, indices, forced_align(possible, indices)), float(score))
        )
    return hypotheses


@functools.lru_cache(maxsize=8)
def _decoder(symbols: int) -> Any:
    """pyctcdecode's decoder for so many symbols with the blank: alphabets of one size are the same to it."""
    # On import it warns of a missing kenlm, which nobody needs who has not asked for a language model.
    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)
    try:
        import pyctcdecode.alphabet
        import pyctcdecode.decoder
    except ImportError as error:
        raise InputError(
            f"decoder pyctcdecode cannot be loaded ({error}): pip install pyctcdecode (it needs numpy below "
            "2 and so Python 3.12 or older), or take decoder beam"
        ) from error
    labels = ["", *(chr(PRIVATE + index) for index in range(1, symbols))]  # "" is its blank
    return pyctcdecode.decoder.BeamSearchDecoderCTC(pyctcdecode.alphabet.Alphabet(labels, is_bpe=False))
