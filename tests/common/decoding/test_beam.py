import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from carousel.common.ctc.loss import ctc_loss, forced_align, log_likelihood
from carousel.common.decoding import DECODERS, Hypothesis, Symbol, decode, decode_batch
from carousel.common.decoding import beam as beam_search
from carousel.common.decoding.beam import Pruning
from carousel.common.errors import InputError
from carousel.common.language import ngram
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.ngram import NGrams
from carousel.common.text.alphabet import Alphabet
from tests.oracles import ctc as oracle

ABC = Alphabet("abc")
decode(np.zeros((1, 4)), ABC, "beam")  # compiled, or loaded, before any test's time is taken
UNLIMITED = {"beam": 10**6, "nbest": 10**6, "symbol_threshold": -np.inf, "score_threshold": np.inf}


def normalised(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def lattice(seed: int, frames: int, symbols: int = 4, sharpness: float = 3.0) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(scale=sharpness, size=(frames, symbols)))


def holed(seed: int, frames: int, symbols: int) -> np.ndarray:
    """A lattice with impossible symbols in it, but none in the highest of a frame."""
    rng, log_probs = np.random.default_rng(seed), lattice(seed, frames, symbols)
    holes = rng.random(log_probs.shape) < 0.3
    holes[np.arange(frames), log_probs.argmax(axis=1)] = False
    return np.where(holes, -np.inf, log_probs)


def spoken(path: str, probability: float = 0.9, symbols: str = "abc") -> np.ndarray:
    """Log-probabilities of a path given as text with `-` for the blank; the rest is shared evenly."""
    probabilities = np.full((len(path), len(symbols) + 1), (1 - probability) / len(symbols))
    probabilities[np.arange(len(path)), [("-" + symbols).index(character) for character in path]] = (
        probability
    )
    return np.log(probabilities).astype(np.float32)


def check_alignment(found: Hypothesis, log_probs: np.ndarray, alphabet: Alphabet, best: float) -> None:
    """The places of the symbols are a path of the text with log-probability `best`, confidences its peaks."""
    text = alphabet.encode(found.text)
    path = oracle.path_of(text, [(symbol.start, symbol.end) for symbol in found.symbols], len(log_probs))
    assert list(oracle.collapse(path)) == text
    assert sum(log_probs[frame, index] for frame, index in enumerate(path)) == pytest.approx(best)
    for symbol, index in zip(found.symbols, text, strict=True):
        assert symbol.confidence == pytest.approx(np.exp(log_probs[symbol.start : symbol.end, index].max()))


SMALL = st.builds(
    lattice,
    st.integers(0, 10**6),
    st.integers(0, 5),
    st.integers(2, 4),
    st.sampled_from([0.1, 1.0, 3.0, 9.0]),
)
HOLED = st.builds(holed, st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 4))


# Greedy


def test_greedy_by_hand():
    [found] = decode(spoken("aa-ab--bcc"), ABC, "greedy")
    assert found.text == "aabbc"
    assert [(s.start, s.end) for s in found.symbols] == [(0, 2), (3, 4), (4, 5), (7, 8), (8, 10)]
    assert [s.confidence for s in found.symbols] == pytest.approx([0.9] * 5)
    assert found.score == pytest.approx(10 * np.log(0.9), rel=1e-5)


def test_greedy_confidence_is_the_peak_of_the_run():
    log_probs = np.log(np.array([[0.4, 0.6], [0.05, 0.95], [0.3, 0.7], [0.8, 0.2]]))
    [found] = decode(log_probs, Alphabet("a"))
    assert found.symbols == (Symbol("a", 0, 3, pytest.approx(0.95)),)


@given(SMALL)
def test_greedy_is_the_best_of_all_paths(log_probs):
    assume(len(log_probs))
    alphabet = Alphabet("abc"[: log_probs.shape[1] - 1])
    [found] = decode(log_probs, alphabet, "greedy")
    path, score = max(oracle.paths(log_probs), key=lambda pair: pair[1])
    assert found.score == pytest.approx(score)
    assert alphabet.encode(found.text) == list(oracle.collapse(path))
    check_alignment(found, log_probs, alphabet, score)


# Prefix beam search


@given(SMALL | HOLED)
def test_unlimited_beam_is_enumeration(log_probs):
    alphabet = Alphabet("abc"[: log_probs.shape[1] - 1])
    expected = oracle.texts(log_probs)
    found = decode(log_probs, alphabet, "beam", **UNLIMITED)
    assert {tuple(alphabet.encode(hypothesis.text)) for hypothesis in found} == expected.keys()
    assert len(found) == len(expected)
    for hypothesis in found:
        total, best = expected[tuple(alphabet.encode(hypothesis.text))]
        assert hypothesis.score == pytest.approx(total, abs=1e-9)
        check_alignment(hypothesis, log_probs, alphabet, best)
    scores = [hypothesis.score for hypothesis in found]
    assert scores == sorted(scores, reverse=True)


@given(SMALL | HOLED, st.integers(1, 4), st.sampled_from([-np.inf, -3.0]), st.sampled_from([np.inf, 2.0]))
def test_pruned_beam_never_scores_above_the_forward_score(log_probs, beam, symbol_threshold, score_threshold):
    alphabet = Alphabet("abc"[: log_probs.shape[1] - 1])
    expected = oracle.texts(log_probs)
    options = {"symbol_threshold": symbol_threshold, "score_threshold": score_threshold}
    found = decode(log_probs, alphabet, "beam", beam=beam, nbest=beam, **options)
    assert 1 <= len(found) <= beam
    assert len({hypothesis.text for hypothesis in found}) == len(found)
    for hypothesis in found:
        total, best = expected[tuple(alphabet.encode(hypothesis.text))]
        assert hypothesis.score <= total + 1e-9
        path = oracle.path_of(
            alphabet.encode(hypothesis.text), [(s.start, s.end) for s in hypothesis.symbols], len(log_probs)
        )
        assert sum(log_probs[frame, index] for frame, index in enumerate(path)) <= best + 1e-9


def test_best_text_is_not_that_of_the_best_path():
    """Graves 2006, figure 4: the best path is all blank, and the best text is not."""
    log_probs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    alphabet = Alphabet("a")
    assert decode(log_probs, alphabet, "greedy")[0].text == ""
    [first, second] = decode(log_probs, alphabet, "beam", nbest=2)
    assert (first.text, second.text) == ("a", "")
    assert np.exp([first.score, second.score]) == pytest.approx([0.64, 0.36])


def test_beam_width_prunes():
    """b leads after the first frame, and a after the second, but only for a beam that has kept it."""
    log_probs, alphabet = np.log(np.array([[0.02, 0.48, 0.50], [0.38, 0.60, 0.02]])), Alphabet("ab")
    [narrow] = decode(log_probs, alphabet, "beam", beam=1)
    [wide] = decode(log_probs, alphabet, "beam", beam=8)
    assert (narrow.text, np.exp(narrow.score)) == ("ba", pytest.approx(0.50 * 0.60))
    assert (wide.text, np.exp(wide.score)) == ("a", pytest.approx(0.48 * 0.98 + 0.02 * 0.60))


def test_symbol_threshold_keeps_rare_symbols_out():
    log_probs = np.log(np.array([[0.97, 0.02, 0.01], [0.97, 0.01, 0.02]]))
    alphabet = Alphabet("ab")

    def texts(threshold: float) -> set[str]:
        return {
            h.text for h in decode(log_probs, alphabet, "beam", nbest=9, beam=9, symbol_threshold=threshold)
        }

    assert texts(np.log(0.015)) == {"", "a", "b", "ab"}
    assert texts(np.log(0.5)) == {""}
    assert texts(-np.inf) == {"", "a", "b", "ab", "ba"}  # aa and bb need a blank between


def test_symbol_threshold_lets_the_highest_symbol_through():
    logits = np.zeros((3, 27))
    logits[[0, 1, 2], [7, 0, 7]] = 0.1
    alphabet = Alphabet("abcdefghijklmnopqrstuvwxyz")
    found = decode(normalised(logits), alphabet, "beam", nbest=9, symbol_threshold=0.0)
    assert {hypothesis.text for hypothesis in found} == {"", "g", "gg"}


def test_score_threshold_drops_what_is_far_behind():
    log_probs = spoken("a-b")
    assert len(decode(log_probs, ABC, "beam", nbest=16)) == 16
    assert [h.text for h in decode(log_probs, ABC, "beam", nbest=16, score_threshold=1.0)] == ["ab"]


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_doubled_letters_survive_frames_of_blanks(decoder):
    [found] = decode(spoken("-aa" + "-" * 200 + "aa-", probability=0.9999), ABC, decoder)
    assert found.text == "aa"
    assert [(s.start, s.end) for s in found.symbols] == [(1, 3), (203, 205)]


def test_prefix_that_comes_back_is_merged_with_its_children():
    """In doubtful lattices prefixes fall off the beam and return; no text may ever be on it twice."""
    for seed in range(8):
        search = beam_search.Search(Pruning(20, -np.inf, np.inf))
        for frame in lattice(seed, 60, sharpness=1.5):
            search.feed(frame[None])
            texts = [hypothesis.text for hypothesis in search.best(ABC, 20)]
            assert len(set(texts)) == len(texts)


def peaky(seed: int, frames: int, symbols: int, written: int, height: float = 5.0) -> np.ndarray:
    """Like the outputs of a trained network: mostly blank, spikes, some doubt."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(frames, symbols))
    path = np.zeros(frames, dtype=int)
    path[rng.choice(frames, written, replace=False)] = rng.integers(1, symbols, written)
    logits[np.arange(frames), path] += height
    return normalised(logits)


def test_ten_thousand_frames_do_not_underflow():
    log_probs = peaky(0, 10_000, 4, 1500, height=4.0)
    [found] = decode(log_probs, ABC, "beam", beam=8)
    target = ABC.encode(found.text)
    exact = -ctc_loss(
        torch.from_numpy(log_probs)[None], torch.tensor([10_000]), [torch.tensor(target)]
    ).item()
    assert len(target) > 1000
    assert exact < -700  # below the logarithm of the least float64
    assert 1.2 * exact < found.score <= exact + 0.1  # torch sums in single precision
    flat = np.full((10_000, 4), -np.log(4))
    assert np.isfinite(decode(flat, ABC, "beam", beam=2, score_threshold=np.inf)[0].score)


def test_wide_beam_finds_the_forward_score_and_the_best_alignment():
    log_probs = peaky(1, 40, 4, 10, height=6.0)
    for found in decode(
        log_probs, ABC, "beam", beam=200, nbest=3, symbol_threshold=-np.inf, score_threshold=np.inf
    ):
        target = ABC.encode(found.text)
        assert found.score == pytest.approx(log_likelihood(log_probs, target), abs=1e-3)
        aligned = forced_align(log_probs, target)
        assert [(s.start, s.end, s.confidence) for s in found.symbols] == [
            (start, end, pytest.approx(confidence)) for start, end, confidence in aligned
        ]


@given(st.integers(0, 10**6), st.lists(st.integers(0, 12), max_size=4))
def test_block_by_block_is_the_same_as_all_at_once(seed, cuts):
    log_probs = lattice(seed, 12)
    search = beam_search.Search(Pruning(5, -4.0, 9.0))
    for block in np.split(log_probs, sorted(cuts)):
        search.feed(block)
    whole = decode(log_probs, ABC, "beam", beam=5, nbest=5, symbol_threshold=-4.0, score_threshold=9.0)
    assert search.best(ABC, 5) == whole


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("threads", [1, 3, None])
def test_a_batch_is_its_utterances_in_their_order(decoder, threads):
    batch = [lattice(seed, 40 + 7 * seed % 30) for seed in range(12)]
    found = decode_batch(batch, ABC, threads=threads, decoder=decoder)
    assert found == [decode(log_probs, ABC, decoder) for log_probs in batch]
    assert decode_batch([], ABC, threads=threads, decoder=decoder) == []


@pytest.mark.parametrize("nbest", [1, 5])
def test_a_batch_of_all_lengths_is_what_each_gives_block_by_block(nbest):
    """More and fewer frames than are searched in one call, and none at all."""
    lengths = [30, 0, beam_search.BLOCK + 1, 5, 0, beam_search.BLOCK, 1, 400, 400, 400]
    batch = [lattice(seed, length) for seed, length in enumerate(lengths)]
    searches = [beam_search.Search(Pruning(8, -4.0, 9.0, nbest)) for _ in batch]
    for search, log_probs in zip(searches, batch, strict=True):
        search.feed(log_probs)
    expected = [search.best(ABC, nbest) for search in searches]
    limits = {"symbol_threshold": -4.0, "score_threshold": 9.0}
    assert decode_batch(batch, ABC, 1, "beam", beam=8, nbest=nbest, **limits) == expected


def test_a_batch_names_what_is_wrong_with_one_of_it():
    batch = [lattice(seed, 20) for seed in range(4)]
    batch[2][7] = np.nan
    with pytest.raises(InputError, match="NaN in frame 7"):
        decode_batch(batch, ABC, 1, "beam")
    assert decode_batch(batch[:2], ABC, 1, "beam") == [decode(b, ABC, "beam") for b in batch[:2]]


def test_memory_of_an_earlier_search_leaves_no_trace():
    """Room of a search is used again by the next, of another alphabet and with other texts in it."""
    fresh = [beam_search.Search(Pruning(20, -np.inf, np.inf)) for _ in range(3)]
    utterances = [lattice(1, 60), lattice(2, 60, symbols=7), lattice(3, 60)]
    alphabets = [ABC, Alphabet("abcdef"), ABC]
    for search, log_probs, alphabet in zip(fresh, utterances, alphabets, strict=True):
        search.feed(log_probs)
        expected = search.best(alphabet, 20)
        options = {"nbest": 20, "symbol_threshold": -np.inf, "score_threshold": np.inf}
        assert decode(log_probs, alphabet, "beam", beam=20, **options) == expected


# Language models and lexicons, against enumeration


def toy_lm(unit: str, running: bool = False) -> NGrams:
    texts = ["ab a", "ba ab", "a ab b", "bb a"]
    model = estimate([ngram.tokens(text, unit) for text in texts], 3)
    return NGrams(**{**model.__dict__, "unit": unit, "running": running})


def lm_score(model: NGrams, text: str, weight: float, bonus: float, unknown: float) -> float:
    """What the language model adds to a text, by its definition."""
    said = ngram.tokens(text, model.unit)
    index = model.index()
    score = weight * float(model.scores(said).sum()) + bonus * len(said)
    if model.running and model.unit == "characters":
        score += weight * float(model.scores([*said, ngram.SPACE])[-1])
    if model.unit == "words":
        score += unknown * sum(len(word) for word in said if word not in index) / 6
    return score


LM_LATTICES = st.builds(
    lattice, st.integers(0, 10**6), st.integers(1, 5), st.just(4), st.sampled_from([0.3, 2.0])
)


@settings(deadline=None)
@given(LM_LATTICES, st.sampled_from(["words", "characters"]), st.booleans(), st.sampled_from([0.0, 0.7, 1.5]))
def test_with_a_language_model_an_unlimited_beam_is_enumeration(log_probs, unit, running, weight):
    alphabet, model = Alphabet(" ab"), toy_lm(unit, running)
    options = {"lm": model, "lm_weight": weight, "bonus": 0.3}
    options |= {"unknown": -2.0} if unit == "words" else {}
    found = decode(log_probs, alphabet, "beam", **UNLIMITED, **options)
    texts = oracle.texts(log_probs)
    assert len(found) == len(texts)
    for hypothesis in found:
        total, _ = texts[tuple(alphabet.encode(hypothesis.text))]
        expected = total + lm_score(model, hypothesis.text, weight, 0.3, -2.0)
        assert hypothesis.score == pytest.approx(expected, abs=1e-5)


@settings(deadline=None)
@given(LM_LATTICES)
def test_with_a_lexicon_only_its_words_are_written(log_probs):
    alphabet = Alphabet(" ab")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "words.txt"
        path.write_text("ab\nb\nnot-writable\n")
        found = decode(log_probs, alphabet, "beam", **UNLIMITED, lexicon=path)
    expected = {
        text: total
        for indices, (total, _) in oracle.texts(log_probs).items()
        if set((text := alphabet.decode(indices)).split()) <= {"ab", "b"}
    }
    complete = [h for h in found if set(h.text.split()) <= {"ab", "b"}]
    assert {h.text for h in complete} == expected.keys()
    assert found[0].text in expected
    for hypothesis in complete:
        assert hypothesis.score == pytest.approx(expected[hypothesis.text], abs=1e-9)


def test_a_language_model_decides_where_the_network_doubts():
    log_probs = np.log(np.array([[0.02, 0.9, 0.04, 0.04], [0.02, 0.02, 0.47, 0.49], [0.9, 0.02, 0.04, 0.04]]))
    alphabet = Alphabet(" ab")
    model = estimate([[ngram.SPACE, "a"]] * 9, 2)
    model = NGrams(**{**model.__dict__, "unit": "characters"})
    assert decode(log_probs, alphabet, "beam")[0].text == " b"
    assert decode(log_probs, alphabet, "beam", lm=model)[0].text == " a"
    assert decode(log_probs, alphabet, "beam", lm=model, lm_weight=0.0)[0].text == " b"


def test_texts_that_fell_off_the_beam_are_forgotten(monkeypatch):
    log_probs = lattice(5, 300, sharpness=1.5)
    expected = decode(log_probs, ABC, "beam", beam=6, nbest=6)
    monkeypatch.setattr(beam_search, "BLOCK", 7)
    monkeypatch.setattr(beam_search, "COMPACT", 50)
    assert decode(log_probs, ABC, "beam", beam=6, nbest=6) == expected


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"lm": "none.arpa"}, "none.arpa"),
        ({"lexicon": "none.txt"}, "none.txt"),
        ({"lm": toy_lm("words"), "lm_weight": -1.0}, "lm_weight"),
        ({"lm": toy_lm("words"), "bonus": math.nan}, "bonus"),
        ({"lm": toy_lm("characters"), "unknown": -1.0}, "unknown goes with"),
    ],
)
def test_senseless_constraints_are_an_input_error(options, sentence):
    with pytest.raises(InputError, match=sentence):
        decode(spoken("abc"), ABC, "beam", **options)


def test_marks_of_the_language_model_are_no_words():
    alphabet = Alphabet(" </>abs")
    log_probs = spoken("<s>", probability=0.6, symbols=" </>abs")
    model = toy_lm("words")
    scores = {
        h.text: h.score for h in decode(log_probs, alphabet, "beam", lm=model, lm_weight=0.0, **UNLIMITED)
    }
    plain = {h.text: h.score for h in decode(log_probs, alphabet, "beam", **UNLIMITED)}
    assert scores["<s>"] == pytest.approx(plain["<s>"] - 2.5)  # unknown, as any other word would be
