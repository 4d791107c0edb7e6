import logging
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.decoding import beam as beam_search
from carousel.common.decoding import decode, hotwords
from carousel.common.decoding.beam import Pruning
from carousel.common.decoding.constraints import constraints_of
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet
from tests.common.decoding.test_beam import LM_LATTICES, UNLIMITED, lm_score, spoken, toy_lm
from tests.oracles import ctc as oracle

AB = Alphabet(" ab")
PHRASES = {"ab": 2.0, "b": 1.0, "a b": -1.5, "ab a": 3.0, "bb": 0.7}


def hotword_score(text: str, phrases: dict[str, float]) -> float:
    """What hotwords add to a text, by their definition."""
    text = re.sub(" +", " ", text)
    return sum(
        weight * len(re.findall(rf"(?<![^\W_])(?={re.escape(phrase)}(?![^\W_]))", text))
        for phrase, weight in phrases.items()
    )


def written(path, phrases):
    path.write_text("".join(f"{phrase}\t{weight}\n" for phrase, weight in phrases.items()))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hotwords")


def summed(table, alphabet, text):
    hot, end = table
    state, total = 0, 0.0
    for symbol in alphabet.encode(text):
        total += hot[state, symbol]["gain"]
        state = hot[state, symbol]["state"]
    return total + end[state]


@given(
    st.text(" .'aab+", max_size=14),
    st.dictionaries(
        st.text(" .'ab+", min_size=1, max_size=5).map(lambda s: " ".join(s.split())).filter(bool),
        st.sampled_from([1.0, 2.5, -4.0]),
        max_size=5,
    ),
)
def test_the_table_adds_each_whole_occurrence(text, phrases):
    """Overlaps, phrases within phrases, runs of spaces and punctuation, against a regular expression."""
    alphabet = Alphabet(" .'ab+")
    expected = hotword_score(text, phrases)
    assert summed(hotwords.table(alphabet, phrases), alphabet, text) == pytest.approx(expected, abs=1e-9)


def test_a_part_of_a_hotword_has_its_share_and_gives_it_back():
    alphabet = Alphabet(" abc")
    hot, end = table = hotwords.table(alphabet, {"abc": 3.0})
    assert hot[0, alphabet.encode("a")[0]]["gain"] == pytest.approx(1.0)
    assert end[0] == 0.0
    assert [summed(table, alphabet, text) for text in ("ab", "aba", "abc", "cabc", "abcc", "abc abc")] == (
        pytest.approx([0, 0, 3, 0, 0, 6])
    )


@settings(deadline=None)
@given(LM_LATTICES, st.sampled_from([None, "words", "characters"]), st.booleans())
def test_with_hotwords_an_unlimited_beam_is_enumeration(folder, log_probs, unit, listed):
    """Alone, with a language model, with an open lexicon, and with both."""
    options = {"hotwords": written(folder / "hot.tsv", PHRASES)}
    model = toy_lm(unit) if unit else None
    options |= {"lm": model, "lm_weight": 0.7} if model else {}
    options |= {"unknown": -2.0} if unit == "words" and not listed else {}
    if listed:
        (folder / "words.txt").write_text("ab\nbb\n")
        options |= {"lexicon": folder / "words.txt", "unlisted": -2.0}
    texts = oracle.texts(log_probs)
    found = decode(log_probs, AB, "beam", **UNLIMITED, **options)
    assert len(found) == len(texts)
    for hypothesis in found:
        text = hypothesis.text
        expected = texts[tuple(AB.encode(text))].total + hotword_score(text, PHRASES)
        expected += lm_score(model, text, 0.7, 0.0, 0.0 if listed else -2.0) if model else 0.0
        if listed:
            expected -= 2.0 * sum(len(word) for word in text.split() if word not in ("ab", "bb")) / 6
        assert hypothesis.score == pytest.approx(expected, abs=1e-5)


@settings(deadline=None)
@given(LM_LATTICES, st.integers(1, 6))
def test_a_narrow_beam_drops_nothing_that_hotwords_would_raise(folder, log_probs, beam):
    """The search skips what cannot come on the beam, which depends on the most that a symbol can add."""
    options = {"hotwords": written(folder / "hot.tsv", PHRASES), "symbol_threshold": -np.inf}
    search = beam_search.Search(
        Pruning(beam, -np.inf, np.inf), constraints_of(AB, hotwords=options["hotwords"])
    )
    kept = {(): (1.0, 0.0)}  # text -> probability of paths that end in a blank, and in its last symbol
    table = hotwords.table(AB, PHRASES)
    for row in np.exp(log_probs):
        kept = one_frame(kept, row, table, beam)
        search.feed(np.log(row)[None])
    entries = search.entries[: search.count]
    ours = np.sort(entries["blank_sum"] + entries["symbol_sum"]) * np.exp(search.scale)
    assert ours == pytest.approx(sorted(sum(pair) for pair in kept.values()))


def one_frame(kept, row, table, beam):
    """The plain algorithm: every prefix by every symbol, then the best `beam`."""
    follow, gain = table[0]["state"], table[0]["gain"]
    after: dict[tuple[int, ...], list[float]] = {}
    for text, (blank, last) in kept.items():
        stay = after.setdefault(text, [0.0, 0.0])
        stay[0] += (blank + last) * row[0]
        stay[1] += last * row[text[-1]] if text else 0.0
        state = 0
        for symbol in text:
            state = follow[state, symbol]
        for symbol in range(1, len(row)):
            before = blank if text and text[-1] == symbol else blank + last
            grown = after.setdefault((*text, symbol), [0.0, 0.0])
            grown[1] += before * row[symbol] * np.exp(gain[state, symbol])
    best = sorted(after.items(), key=lambda item: -sum(item[1]))
    return {text: tuple(pair) for text, pair in best[:beam] if sum(pair) > 0}


def test_hotwords_decide_where_the_network_doubts_and_only_there(tmp_path):
    alphabet = Alphabet(" abn")
    doubt = spoken("an-nb", 0.9, " abn")
    doubt[1, [3, 4]] = np.log([0.35, 0.55])
    path = written(tmp_path / "hot.tsv", {"abnb": 2.0})
    assert decode(doubt, alphabet, "beam")[0].text == "annb"
    assert decode(doubt, alphabet, "beam", hotwords=path)[0].text == "abnb"
    sure = spoken("an-nb", 0.99, " abn")
    assert decode(sure, alphabet, "beam", hotwords=path)[0].text == "annb"


@given(st.integers(0, 10**6), st.lists(st.integers(0, 12), max_size=3))
def test_block_by_block_is_the_same_as_all_at_once(folder, seed, cuts):
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(4), 12))
    constraints = constraints_of(AB, hotwords=written(folder / "hot.tsv", PHRASES), lm=toy_lm("words"))
    whole, parts = (beam_search.Search(Pruning(5, -4.0, 9.0), constraints) for _ in range(2))
    whole.feed(log_probs)
    for block in np.split(log_probs, sorted(cuts)):
        parts.feed(block)
    assert parts.best(AB, 5) == whole.best(AB, 5)


def test_texts_that_fell_off_the_beam_are_forgotten(folder, monkeypatch):
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(4), 300))
    options = {"beam": 6, "nbest": 6, "hotwords": written(folder / "hot.tsv", PHRASES)}
    expected = decode(log_probs, AB, "beam", **options)
    monkeypatch.setattr(beam_search, "BLOCK", 7)
    monkeypatch.setattr(beam_search, "COMPACT", 50)
    assert decode(log_probs, AB, "beam", **options) == expected


def test_the_file_has_comments_weights_and_phrases(tmp_path):
    path = tmp_path / "hot.txt"
    path.write_text("# names\nNew   York\t4.5\nOslo # far\n\n", encoding="utf-8")
    assert hotwords.read(path) == {"New York": 4.5, "Oslo": None}


def test_what_cannot_be_written_is_named_once(tmp_path, caplog):
    path = tmp_path / "hot.txt"
    path.write_text("ab\ncafé\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            decode(spoken("ab", 0.9, " ab"), AB, "beam", hotwords=path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: café cannot be written: the model does not have 'c' (U+0063), 'f' (U+0066), 'é' (U+00E9)"
    ]


def test_the_case_is_that_of_the_model(tmp_path):
    path = written(tmp_path / "hot.txt", {"bb": 5.0})
    alphabet = Alphabet(" AB")
    log_probs = spoken("AB-B", 0.6, " AB")
    lower = decode(log_probs, alphabet, "beam", **UNLIMITED, hotwords=path)
    plain = {h.text: h.score for h in decode(log_probs, alphabet, "beam", **UNLIMITED)}
    assert {h.text: h.score for h in lower}["BB"] == pytest.approx(plain["BB"] + 5)


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("# nothing\n\n", {}, "has no hotword"),
        ("ab\tmuch\n", {}, "line 1 is not WORD or WORD<tab>WEIGHT"),
        ("ab\n\t3\n", {}, "line 2 is not WORD"),
        ("ab\tnan\n", {}, "line 1 is not WORD"),
        ("ab\n", {"hotword_weight": np.inf}, "hotword_weight must be a number"),
        (None, {}, "cannot be read as a list of hotwords"),
        (None, {"hotwords": None, "hotword_weight": 1.0}, "give a file of hotwords"),
    ],
)
def test_senseless_hotwords_are_input_errors(tmp_path, content, options, sentence):
    path = tmp_path / "hot.txt"
    if content:
        path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        decode(np.zeros((2, 4)), AB, "beam", **{"hotwords": path, **options})


@pytest.mark.parametrize("weight", ["1000", "9999999", "30.5", "-101", "inf", "nan", "1e400"])
def test_a_weight_that_would_spoil_other_words_is_refused(folder, weight):
    path = folder / f"{weight}.tsv"
    path.write_text(f"a\nb\t{weight}\n")
    with pytest.raises(InputError, match=rf"{weight}.tsv: line 2") as error:
        hotwords.read(path)
    assert weight in str(error.value)
    path.write_text("a\nb\t30\nab\t-100\n")
    assert hotwords.read(path) == {"a": None, "b": 30.0, "ab": -100.0}
    with pytest.raises(InputError, match="hotword_weight must be"):
        decode(spoken("ab", 0.9, " ab"), AB, "beam", hotwords=path, hotword_weight=float(weight))


def test_hits_by_the_hundred_do_not_overflow(folder):
    """Each adds e^20 to the probability of the text, which no float holds after 35 of them."""
    path = folder / "many.tsv"
    path.write_text("a\t20\n")
    log_probs = np.full((1000, 4), -6.0)
    log_probs[np.arange(1000), np.arange(1000) % 4 % 3 * (np.arange(1000) % 4 != 2)] = 0.0
    log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))
    found = decode(log_probs, AB, "beam", hotwords=path)[0]
    assert np.isfinite(found.score) and found.score > 20 * 200
    assert len(found.text.split()) > 200 and set(found.text.split()) == {"a"}
