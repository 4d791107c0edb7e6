"""What holds of every decoder, and of pyctcdecode beside ours."""

import sys

import numpy as np
import pytest
from hypothesis import assume, given

from carousel.common.ctc.loss import log_likelihood
from carousel.common.decoding import DECODERS, Hypothesis, Symbol, decode, options_of, with_pyctcdecode
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet
from tests.common.decoding.test_beam import ABC, SMALL, UNLIMITED, check_alignment, lattice, peaky, spoken
from tests.oracles import ctc as oracle

# pyctcdecode


@given(SMALL)
def test_pyctcdecode_without_limits_is_enumeration_too(log_probs):
    assume(len(log_probs) and log_probs.min() > np.log(with_pyctcdecode.LEAST))
    alphabet = Alphabet("abc"[: log_probs.shape[1] - 1])
    expected = oracle.texts(log_probs)
    found = decode(log_probs, alphabet, "pyctcdecode", **UNLIMITED)
    assert {tuple(alphabet.encode(hypothesis.text)) for hypothesis in found} == expected.keys()
    for hypothesis in found:
        total, best = expected[tuple(alphabet.encode(hypothesis.text))]
        assert hypothesis.score == pytest.approx(total, abs=1e-6)
        check_alignment(hypothesis, log_probs, alphabet, best)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_symbols_that_pyctcdecode_gives_a_meaning_are_symbols(decoder):
    symbols = " |_#▁⁇\u00a0\u202f[]<>'é"
    alphabet = Alphabet(symbols)
    text = "  |_  ##▁é⁇\u00a0\u202f[<']>  "
    path = "-".join(text)
    log_probs = spoken(path, probability=0.95, symbols=symbols)
    [found] = decode(log_probs, alphabet, decoder)
    assert found.text == text
    assert [(s.start, s.end) for s in found.symbols] == [(2 * i, 2 * i + 1) for i in range(len(text))]
    assert [word.text for word in found.words()] == text.split()


def test_pyctcdecode_and_our_beam_agree():
    alphabet = Alphabet(" abcdefghijklmnopqrstuvwxyz")
    same = 0
    for seed in range(6):
        log_probs = peaky(seed, 60, len(alphabet), 15)
        same_search = {"beam": 25, "symbol_threshold": -8.0, "score_threshold": 15.0}
        [ours] = decode(log_probs, alphabet, "beam", **same_search)
        [theirs] = decode(log_probs, alphabet, "pyctcdecode", **same_search)
        same += ours.text == theirs.text
        assert ours.text == theirs.text or ours.score > theirs.score
    assert same > 3


def test_same_text_as_pyctcdecode_or_a_better_one():
    """At the same beam and pyctcdecode's own thresholds: on 99 % of utterances, by the exact score."""
    alphabet = Alphabet(" abcdefghijklmnopqrstuvwxyz")
    options = {"beam": 10, "symbol_threshold": -5.0, "score_threshold": 10.0}
    good, better = 0, 0
    for seed in range(100):
        log_probs = peaky(seed, 30, len(alphabet), 8)
        ours, theirs = (
            decode(log_probs, alphabet, name, **options)[0].text for name in ("beam", "pyctcdecode")
        )
        gain = [log_likelihood(log_probs, alphabet.encode(text)) for text in (ours, theirs)]
        good += ours == theirs or gain[0] >= gain[1]
        better += gain[0] > gain[1]
    assert good >= 99
    assert better > 2  # else the utterances are too easy to tell


def test_pyctcdecode_with_impossible_symbols_still_has_times():
    """It raises every probability to 1e-15, so it may write what cannot be; the alignment has to follow."""
    log_probs = np.array([[-np.inf, 0.0], [-np.inf, 0.0], [-np.inf, 0.0]])
    found = decode(
        log_probs, Alphabet("a"), "pyctcdecode", beam=9, nbest=9, score_threshold=1e9, symbol_threshold=-1e9
    )
    assert [hypothesis.text for hypothesis in found] == ["a", "aa", ""]
    assert [(symbol.start, symbol.end) for symbol in found[1].symbols] == [(0, 1), (2, 3)]


def test_pyctcdecode_missing_is_one_clear_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyctcdecode", None)
    with_pyctcdecode._decoder.cache_clear()
    with pytest.raises(InputError, match="pip install pyctcdecode"):
        decode(spoken("a"), ABC, "pyctcdecode")


def test_pyctcdecode_is_quiet(capfd):
    with_pyctcdecode._decoder.cache_clear()
    decode(spoken("a"), ABC, "pyctcdecode")
    assert capfd.readouterr() == ("", "")


# One interface


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_no_frames_give_an_empty_text(decoder):
    assert decode(np.zeros((0, 4), dtype=np.float32), ABC, decoder) == [Hypothesis((), 0.0)]


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_broken_inputs_are_input_errors(decoder):
    log_probs = spoken("abc")
    with pytest.raises(InputError, match="alphabet of 3"):
        decode(log_probs, Alphabet("ab"), decoder)
    with pytest.raises(InputError, match="shape"):
        decode(log_probs[0], ABC, decoder)
    log_probs[1, 2] = np.nan
    with pytest.raises(InputError, match="NaN in frame 1"):
        decode(log_probs, ABC, decoder)
    log_probs[1] = -np.inf
    with pytest.raises(InputError, match=r"3\.0 as the highest value in frame 2"):
        decode(np.where(np.arange(4)[:, None] == 2, 3.0, np.log(0.25)) + np.zeros((4, 4)), ABC, decoder)
    with pytest.raises(InputError, match="-inf as the highest value in frame 1"):
        decode(log_probs, ABC, decoder)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_only_blanks_are_an_empty_text(decoder):
    [found] = decode(spoken("----"), ABC, decoder)
    assert (found.text, found.symbols, found.words()) == ("", (), [])


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_input_is_left_as_it_was(decoder):
    log_probs = spoken("a-bc").copy()
    before = log_probs.copy()
    decode(log_probs, ABC, decoder)
    assert np.array_equal(log_probs, before)


@pytest.mark.parametrize("decoder", ["beam", "pyctcdecode"])
def test_nbest_is_sorted_and_at_most_as_long(decoder):
    log_probs = lattice(3, 8)
    five = decode(log_probs, ABC, decoder, beam=20, nbest=5)
    assert len(five) == 5
    assert [h.score for h in five] == sorted((h.score for h in five), reverse=True)
    assert five[:1] == decode(log_probs, ABC, decoder, beam=20)


@pytest.mark.parametrize("decoder", ["beam", "pyctcdecode"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"beam": 0}, "beam must be a whole number"),
        ({"beam": 2.5}, "beam must be a whole number"),
        ({"nbest": 0}, "nbest must be a whole number"),
        ({"nbest": 17}, "needs a beam of at least 17"),
        ({"symbol_threshold": 1.0}, "symbol_threshold"),
        ({"score_threshold": float("nan")}, "score_threshold"),
    ],
)
def test_senseless_settings_are_input_errors(decoder, options, sentence):
    with pytest.raises(InputError, match=sentence):
        decode(spoken("abc"), ABC, decoder, **options)


def test_unknown_decoders_and_options_are_named():
    log_probs = spoken("abc")
    with pytest.raises(InputError, match="no decoder 'viterbi'; there are: beam, greedy, pyctcdecode"):
        decode(log_probs, ABC, "viterbi")
    with pytest.raises(InputError, match="decoder greedy has no option beam; its options: none"):
        decode(log_probs, ABC, "greedy", beam=16)
    with pytest.raises(InputError, match="decoder greedy has no option nbest"):
        decode(log_probs, ABC, "greedy", nbest=2)
    with pytest.raises(
        InputError, match="no option lexicon; its options: beam, nbest, score_threshold, symbol_threshold"
    ):
        decode(log_probs, ABC, "pyctcdecode", lexicon="words.txt")


def test_options_left_open_take_the_defaults_of_the_decoder():
    log_probs = lattice(0, 10)
    assert decode(log_probs, ABC, "greedy", beam=None, score_threshold=None) == decode(log_probs, ABC)
    assert decode(log_probs, ABC, "beam", beam=None) == decode(
        log_probs, ABC, "beam", beam=options_of("beam")["beam"]
    )
    assert options_of("greedy") == {}


def test_words_are_parted_at_spaces_and_as_sure_as_all_their_letters_together():
    letters = [(" ", 1.0), ("a", 0.9), ("b", 0.5), (" ", 0.2), (" ", 1.0), ("c", 0.8)]
    symbols = tuple(
        Symbol(text, 2 * i, 2 * i + 1, confidence) for i, (text, confidence) in enumerate(letters)
    )
    assert Hypothesis(symbols, -1.0).words() == [Symbol("ab", 2, 5, 0.45), Symbol("c", 10, 11, 0.8)]
    assert Hypothesis((), 0.0).words() == []
