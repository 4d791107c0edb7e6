"""Recombination against sorting, and what it does to a narrow beam."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.decoding import decode
from carousel.common.decoding.compiled.prefix_tree import ENTRY, NODE, NONE
from carousel.common.decoding.compiled.recombine import kth_largest, recombine, room_for
from carousel.common.decoding.compiled.search import FOUND
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import NGrams
from carousel.common.text.alphabet import Alphabet
from tests.common.decoding.test_beam import UNLIMITED, lattice, toy_lm


@given(st.lists(st.sampled_from([0.0, 0.5, 0.7, 1e-9, 3.0]), min_size=1), st.data())
def test_the_kth_largest_is_that_of_sorting(values, data):
    k = data.draw(st.integers(1, len(values)))
    array = np.array(values)
    assert kth_largest(array, len(values), k) == sorted(values, reverse=True)[k - 1]
    assert sorted(array) == sorted(values)


TEXTS = st.lists(
    st.tuples(*(st.integers(0, 1) for _ in range(4)), st.sampled_from([0.1, 0.2, 0.3, 0.4])), max_size=40
)


@given(TEXTS, st.integers(0, 40), st.integers(1, 3))
def test_the_likeliest_of_each_kind_stay(texts, old, keep):
    """A kind is the states of language model and hotwords, lexicon node and last symbol; equals are alike."""
    n = min(old, len(texts))
    nodes, entries = np.zeros(len(texts), NODE), np.zeros(max(n, 1), ENTRY)
    found = np.zeros(max(len(texts) - n, 1), FOUND)
    for i, (state, lexicon_node, hot, symbol, total) in enumerate(texts):
        node = nodes[i]
        node["state"], node["lexicon_node"], node["hot"], node["symbol"] = (
            state,
            lexicon_node - 1,
            hot,
            symbol,
        )
        if i < n:
            entries[i]["node"], entries[i]["blank_sum"], entries[i]["symbol_sum"] = i, total / 2, total / 2
        else:
            found[i - n]["target"], found[i - n]["score"] = i, total
    room, totals = room_for(len(texts)), np.empty(len(texts))
    count = recombine(entries, n, found, len(texts) - n, nodes, keep, totals, room)
    kept = [
        (i, float(entries[i]["blank_sum"] + entries[i]["symbol_sum"]))
        for i in range(n)
        if entries[i]["blank_sum"] > 0
    ]
    kept += [(int(y["target"]), float(y["score"])) for y in found[:count]]
    by_kind = {}
    for *kind, total in texts:
        by_kind.setdefault(tuple(kind), []).append(total)
    got = {}
    for i, total in kept:
        assert total == texts[i][-1]
        got.setdefault(texts[i][:-1], []).append(total)
    assert {kind: sorted(found) for kind, found in got.items()} == {
        kind: sorted(sorted(totals)[-keep:]) for kind, totals in by_kind.items()
    }
    assert (room[1] == NONE).all()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["words", "characters"]))
def test_paths_are_lost_but_none_is_counted_twice(seed, unit):
    """Of one text as well as of many; with the score threshold off nothing is lost either."""
    log_probs, alphabet = lattice(seed, 5, 4, 2.0), Alphabet(" ab")
    options = {**UNLIMITED, "lm": toy_lm(unit), "lm_weight": 0.7}
    every = decode(log_probs, alphabet, "beam", **options)
    scores = {hypothesis.text: hypothesis.score for hypothesis in every}
    for nbest in (1, 2):
        asked = {**options, "nbest": nbest, "score_threshold": 99.0}
        for found in decode(log_probs, alphabet, "beam", **asked):
            assert found.score <= scores[found.text] + 1e-9
    [best] = decode(log_probs, alphabet, "beam", **{**options, "nbest": 1})
    assert best == every[0]


def test_a_narrow_beam_has_room_for_what_differs_in_what_follows():
    """Five likely first letters before x would fill the beam, and only z is followed by what comes next."""
    alphabet = Alphabet("abcdexyzk")
    texts = [[first, middle, "k" if middle == "z" else "a"] for first in "abcde" for middle in "xyz"]
    model = NGrams(**{**estimate(texts, 2).__dict__, "unit": "characters"})
    log_probs = np.full((3, len(alphabet)), 1e-4)
    for frame, likely in enumerate(
        [dict.fromkeys("abcde", 0.2), {"x": 0.5, "y": 0.3, "z": 0.2}, {"k": 0.9, "a": 0.1}]
    ):
        for symbol, probability in likely.items():
            log_probs[frame, alphabet.encode(symbol)] = probability
    log_probs = np.log(log_probs / log_probs.sum(axis=1, keepdims=True))
    options = {"lm": model, "lm_weight": 1.0, "symbol_threshold": -5.0}
    for beam in (200, 5):
        assert decode(log_probs, alphabet, "beam", beam=beam, **options)[0].text.endswith("zk"), beam
    assert not decode(log_probs, alphabet, "beam", beam=5, nbest=5, **options)[0].text.endswith("zk")


@pytest.mark.parametrize("nbest", [1, 3])
def test_as_many_texts_as_asked_for_come_out(nbest):
    found = decode(lattice(3, 12, 4, 1.0), Alphabet(" ab"), "beam", beam=30, nbest=nbest, lm=toy_lm("words"))
    assert len({hypothesis.text for hypothesis in found}) == nbest
