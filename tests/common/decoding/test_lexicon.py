import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.decoding import decode
from carousel.common.decoding.compiled import scoring
from carousel.common.decoding.constraints import constraints_of
from carousel.common.errors import InputError
from carousel.common.model.file import Model
from carousel.common.recogniser import options
from carousel.common.text.alphabet import Alphabet
from tests.common.decoding.test_beam import LM_LATTICES, UNLIMITED, lm_score, spoken, toy_lm
from tests.oracles import ctc as oracle

AB = Alphabet(" ab")


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexicon") / "words.txt"
    path.write_text("ab a-pronunciation\nb\nabb\n")
    return path


@settings(deadline=None)
@given(LM_LATTICES, st.sampled_from([None, "words", "characters"]), st.sampled_from([0.0, -1.5]))
def test_in_open_mode_unlisted_words_pay_their_cost_once(lexicon, log_probs, unit, cost):
    """Listed or not: every text comes out, prefixes of listed words and words of the language model too."""
    model = toy_lm(unit) if unit else None
    options = {"lm": model, "lm_weight": 0.7} if model else {}
    found = decode(log_probs, AB, "beam", **UNLIMITED, lexicon=lexicon, unlisted=cost, bonus=0.3, **options)
    texts = oracle.texts(log_probs)
    assert len(found) == len(texts)
    for hypothesis in found:
        text = hypothesis.text
        expected = texts[tuple(AB.encode(text))].total
        expected += lm_score(model, text, 0.7, 0.3, 0.0) if model else 0.3 * len(text.split())
        expected += cost * sum(len(word) for word in text.split() if word not in ("ab", "b", "abb")) / 6
        assert hypothesis.score == pytest.approx(expected, abs=1e-5)


@settings(deadline=None)
@given(st.text("ab", min_size=1, max_size=20), st.booleans())
def test_unknown_words_cost_in_proportion(lexicon, word, listed):
    """Else two unknown words would be glued together; wherever a word leaves those that are known."""
    model = toy_lm("words")
    options = {"lexicon": lexicon, "unlisted": -3.0} if listed else {"unknown": -3.0}
    added = constraints_of(AB, lm=model, lm_weight=0.7, bonus=0.0, **options).added(AB.encode(f"b {word}"))
    known = ("ab", "b", "abb") if listed else model.words
    cost = 0.0 if word in known else -3.0 * len(word) / 6
    first = 0.0 if "b" in known else -0.5
    assert added == pytest.approx(lm_score(model, f"b {word}", 0.7, 0.0, 0.0) + first + cost, abs=1e-5)


@settings(deadline=None)
@given(LM_LATTICES, st.sampled_from([None, "words", "characters"]))
def test_closed_mode_writes_listed_words_only(lexicon, log_probs, unit):
    model = toy_lm(unit) if unit else None
    options = {"lm": model, "lm_weight": 0.7} if model else {}
    found = decode(log_probs, AB, "beam", **UNLIMITED, lexicon=lexicon, **options)
    expected = {
        text: total + (lm_score(model, text, 0.7, 0.0, 0.0) if model else 0.0)
        for indices, (total, _) in oracle.texts(log_probs).items()
        if set((text := AB.decode(indices)).split()) <= {"ab", "b", "abb"}
    }
    assert {h.text for h in found} == expected.keys()
    for hypothesis in found:
        assert hypothesis.score == pytest.approx(expected[hypothesis.text], abs=1e-5)


def test_open_mode_writes_an_unlisted_word_where_the_network_is_sure(lexicon):
    log_probs = spoken("aba-ab", 0.9, " ab")
    assert decode(log_probs, AB, "beam", lexicon=lexicon, unlisted=-2.0)[0].text == "abaab"
    assert decode(log_probs, AB, "beam", lexicon=lexicon, unlisted=-50.0)[0].text != "abaab"


def test_a_lexicon_is_read_in_the_case_of_the_model_and_names_what_is_lost(tmp_path, caplog):
    path = tmp_path / "words.txt"
    path.write_text("\ufeffOne\nt3o\n", encoding="utf-8")
    alphabet = Alphabet(" ENOT")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            [found] = decode(spoken("OT-NE", 0.7, " ENOT"), alphabet, "beam", lexicon=path)
    assert found.text == "ONE"
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 1 of 2 words cannot be written, such as T3O: the model does not have '3' (U+0033)"
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"unlisted": -1.0}, "give a lexicon too"),
        ({"lexicon": True, "unlisted": 1.0}, "unlisted must be at most 0"),
        ({"lexicon": True, "unlisted": math.nan}, "unlisted must be a number"),
        ({"lexicon": True, "unlisted": "x"}, "unlisted must be a number"),
        ({"lexicon": True, "unlisted": [-1.0]}, "unlisted must be a number"),
    ],
)
def test_senseless_options_are_input_errors(lexicon, options, sentence):
    options = {**options, **({"lexicon": lexicon} if "lexicon" in options else {})}
    with pytest.raises(InputError, match=sentence):
        decode(np.zeros((2, 4)), AB, "beam", **options)


def test_a_language_model_in_another_case_says_what_to_do():
    with pytest.raises(InputError, match="has no word that the model's alphabet can write; make it of texts"):
        decode(spoken("AB", 0.9, " AB"), Alphabet(" AB"), "beam", lm=toy_lm("words"))


def test_what_is_kept_of_a_search_is_not_taken_for_another(lexicon):
    """True is equal to 1, and no weight."""
    log_probs, model = spoken("ab-b", 0.9, " ab"), toy_lm("words")
    first = decode(log_probs, AB, "beam", lm=model, lm_weight=1, unknown=-1.0)
    other = decode(log_probs, AB, "beam", lm=model, lm_weight=2, unknown=-1.0)
    assert first[0].score != other[0].score
    assert decode(log_probs, AB, "beam", lm=model, lm_weight=1, unknown=-1.0) == first
    with pytest.raises(InputError, match="lm_weight must be a number"):
        decode(log_probs, AB, "beam", lm=model, lm_weight=True, unknown=-1.0)


@settings(deadline=None, max_examples=200)
@given(
    st.text(" ab", max_size=12),
    st.sampled_from([None, "words", "characters"]),
    st.sampled_from([None, "lexicon", "grammar"]),
    st.booleans(),
    st.sampled_from([-3.0, 0.0, 2.5]),
    st.sampled_from([0.0, -0.5, -20.0]),
)
def test_no_symbol_gives_more_than_is_told_before(lexicon, text, unit, words, hot, bonus, cost):
    """The search leaves out what cannot come among the best by that."""
    options = {"lm": toy_lm(unit), "lm_weight": 1.7} if unit else {}
    options |= {"lexicon": lexicon, "unlisted": cost} if words == "lexicon" else {}
    options |= {"unknown": cost} if unit == "words" and not words else {}
    if words == "grammar":
        options["grammar"] = lexicon.parent / "grammar.txt"
        options["grammar"].write_text("ab b\na ab\nbb\n")
    if hot:
        options["hotwords"] = lexicon.parent / "hot.tsv"
        options["hotwords"].write_text("ab\t2.0\nb a\t-1.0\n")
    constraints = constraints_of(AB, **options, bonus=bonus)
    tables, state, lexicon_node, seen = constraints.tables, constraints.start, 0, 0
    for symbol in AB.encode(text):
        most = scoring.most_after(tables, lexicon_node)
        gain, state, lexicon_node, seen = scoring.gain_of(tables, state, lexicon_node, seen, symbol)
        assert np.exp(gain) <= most
        if gain == -np.inf:
            break


def test_the_list_of_a_model_is_what_it_writes_unless_another_or_none_is_asked_for(lexicon):
    """As a file of the same entries; # is a character in a list, and begins a comment in a file."""
    alphabet = Alphabet(" #ab")
    model = tiny("grammar", ["a#", "b a"], alphabet)
    scores = spoken("b#", 0.6, " #ab")

    def read(**asked):
        return decode(scores, alphabet, **options(model, asked))[0].text

    assert read() in ("a#", "b a")
    assert read(decoder="greedy") == read(grammar="none") == read(lexicon="none") == "b#"
    assert read(lexicon=lexicon) == "b", "a list that is asked for takes the place of the model's own"
    words = tiny("lexicon", ["ab", "#b"], alphabet)
    assert decode(spoken("a-b", 0.9, " #ab"), alphabet, **options(words, {}))[0].text == "ab"
    assert decode(spoken("#-a", 0.9, " #ab"), alphabet, **options(words, {}))[0].text.split() in ([], ["#b"])
    broken = tiny("grammar", ["ax"], alphabet)
    with pytest.raises(InputError, match=r"the model's own list: line 1: ax cannot be written"):
        decode(scores, alphabet, **options(broken, {}))


def tiny(option, entries, alphabet):
    """A model without a network, that keeps a list."""
    return Model(None, alphabet, "ink", {}, {}, 1, decoder={"decoder": "beam", option: entries})
