"""Texts that repeat: the list of them, or of their words, is what a recogniser of them has to choose from."""

from collections import Counter
from collections.abc import Sequence

from carousel.common.text.alphabet import Alphabet

MOST = 1000  # entries of a list that is kept in a model
TIMES = {"grammar": 4, "lexicon": 10}  # that an entry occurs, on average, in a list that is closed


def lists(texts: Sequence[str], alphabet: Alphabet) -> dict[str, list[str]]:
    """By the option of decoding that takes it, each list that the texts may be of.

    grammar: whole texts; lexicon: their words, where there are texts of several. What the alphabet cannot
    write is left out.
    """
    texts = [" ".join(text.split()) for text in texts]
    words = [word for text in texts for word in text.split()]
    found = {"grammar": Counter(texts), "lexicon": Counter(words)}
    if found["grammar"].keys() == found["lexicon"].keys():
        del found["lexicon"]
    return {
        option: listed
        for option, counts in found.items()
        if len(counts) <= MOST
        and sum(counts.values()) >= TIMES[option] * len(counts)
        and (listed := sorted(entry for entry in counts if not alphabet.unknown(entry)))
    }
