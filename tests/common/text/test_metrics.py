import json
import math

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carousel.common.text.metrics import Edits, edits, error_rates, without

LINES = st.text(alphabet="abc é", max_size=12)
PAIRS = st.lists(st.tuples(LINES.filter(str.strip), LINES), min_size=1, max_size=6)


def distance(a: str, b: str) -> int:
    """Levenshtein by its recursion, for short strings."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        distance(a[1:], b) + 1,
        distance(a, b[1:]) + 1,
        distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


@given(st.text(alphabet="ab", max_size=5), st.text(alphabet="abc", max_size=5))
def test_edits_are_a_smallest_set(reference, hypothesis):
    counted = edits(reference, hypothesis)
    assert counted.errors == distance(reference, hypothesis)
    assert counted.insertions - counted.deletions == len(hypothesis) - len(reference)
    assert counted.length == len(reference)


def test_edits_of_words_and_by_kind():
    assert edits(["one", "two", "three"], ["one", "too", "three", "four"]) == Edits(1, 1, 0, 3)
    assert edits("abcdef", "abdf") == Edits(0, 0, 2, 6)
    assert edits("", "ab") == Edits(0, 2, 0, 0)
    assert edits("ab", "") == Edits(0, 0, 2, 2)


def test_edits_of_sequences_longer_than_a_machine_word():
    rng = np.random.default_rng(0)
    for _ in range(5):
        reference, hypothesis = ("".join(rng.choice(list("abcde"), size=400)) for _ in range(2))
        theirs = jiwer.process_characters(reference, hypothesis)
        expected = Edits(theirs.substitutions, theirs.insertions, theirs.deletions, 400)
        assert edits(reference, hypothesis) == expected


@given(PAIRS)
def test_rates_and_counts_are_those_of_jiwer(pairs):
    references, hypotheses = zip(*pairs, strict=True)
    report = error_rates(pairs)
    # The same squeezing of spaces is not done by jiwer for characters, so both see the texts as they are.
    chars = jiwer.process_characters(list(references), list(hypotheses))
    words = jiwer.process_words(list(references), list(hypotheses))
    for ours, rate, theirs in (
        (report["chars"], report["cer"], chars.cer),
        (report["words"], report["wer"], words.wer),
    ):
        assert rate == pytest.approx(theirs)
        assert ours["total"] > 0
    for ours, theirs in ((report["chars"], chars), (report["words"], words)):
        assert ours["substitutions"] == theirs.substitutions
        assert ours["insertions"] == theirs.insertions
        assert ours["deletions"] == theirs.deletions
        assert ours["total"] == theirs.hits + theirs.substitutions + theirs.deletions


def test_rates_are_totals_over_totals():
    report = error_rates([("a", "b"), ("aaaa aaaa", "aaaa aaaa")])
    assert report["cer"] == 1 / 10  # the mean of the two lines' rates would be 1/2
    assert report["wer"] == 1 / 3
    assert report["items"] == 2
    assert report["words"] == {"total": 3, "substitutions": 1, "insertions": 0, "deletions": 0}


def test_composed_and_decomposed_letters_are_the_same():
    report = error_rates([("cafe\u0301", "caf\u00e9"), ("caf\u00e9", "cafe\u0301")])
    assert report["cer"] == 0
    assert report["chars"]["total"] == 8


def test_case_and_punctuation_count():
    assert error_rates([("Yes, I do.", "yes I do")])["chars"]["substitutions"] == 1
    assert error_rates([("Yes, I do.", "yes I do")])["chars"]["deletions"] == 2


def test_empty_references_and_hypotheses():
    heard_nothing = error_rates([("abc", "")])
    assert heard_nothing["cer"] == heard_nothing["wer"] == 1
    one_empty = error_rates([("", "ab"), ("abcd", "abcd")])
    assert one_empty["cer"] == 2 / 4
    assert one_empty["chars"]["insertions"] == 2
    all_empty = error_rates([("", "ab"), (" ", "")])
    assert all_empty["cer"] == 2
    assert all_empty["words"] == {"total": 0, "substitutions": 0, "insertions": 1, "deletions": 0}
    assert error_rates([])["cer_interval"] == [0, 0]
    assert error_rates([("", "")])["wer"] == 0


def test_report_is_json_with_the_agreed_keys():
    report = error_rates([("a b", "a c"), ("x", "")])
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report) == ["items", "cer", "cer_interval", "wer", "wer_interval", "chars", "words"]
    assert list(report["chars"]) == ["total", "substitutions", "insertions", "deletions"]


def test_interval_is_the_binomial_one_for_lines_of_one_symbol():
    items, errors = 2000, 600
    pairs = [("a", "b")] * errors + [("a", "a")] * (items - errors)
    report = error_rates(pairs)
    rate = errors / items
    half = 1.96 * math.sqrt(rate * (1 - rate) / items)
    assert report["cer_interval"] == pytest.approx([rate - half, rate + half], abs=0.2 * half)
    assert report["wer_interval"] == report["cer_interval"]  # each symbol is a word: the same resamples


def test_interval_resamples_items_and_not_symbols():
    whole_lines = error_rates([("a" * 50, "b" * 50), ("a" * 50, "a" * 50)] * 20)
    spread = error_rates([("a" * 50, "a" * 25 + "b" * 25)] * 40)
    assert whole_lines["cer"] == spread["cer"] == 0.5
    assert spread["cer_interval"] == [0.5, 0.5]
    low, high = whole_lines["cer_interval"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 40), rel=0.2)


def test_interval_is_seeded():
    rng = np.random.default_rng(3)
    pairs = [("abcd", "abcd"[: rng.integers(5)]) for _ in range(50)]
    assert error_rates(pairs) == error_rates(pairs)
    assert error_rates(pairs, seed=1)["cer_interval"] != error_rates(pairs, seed=2)["cer_interval"]
    assert error_rates(pairs, seed=1)["cer"] == error_rates(pairs, seed=2)["cer"]


def test_interval_in_blocks_has_all_resamples(monkeypatch):
    pairs = [("a", "b")] * 30 + [("a", "a")] * 70
    whole = error_rates(pairs)
    monkeypatch.setattr("carousel.common.text.metrics.BLOCK", 700)  # 7 resamples at a time
    assert error_rates(pairs) == whole


@pytest.mark.parametrize(
    ("text", "ignored", "left"),
    [
        ("Straße, NR. 5!", ["case"], "strasse, nr. 5!"),
        ("It's a well-known fact.", ["punctuation"], "Its a well known fact"),
        ("« Où ? » — dit-il", ["punctuation"], "Où dit il"),
        ("and/or: 5 %, $3 + 1", ["punctuation"], "and or 5 $3 + 1"),
        ("U.S.A.", ["case", "punctuation"], "usa"),
        ("A.", [], "A."),
    ],
)
def test_case_and_punctuation_can_be_ignored(text: str, ignored: list[str], left: str):
    assert without(text, ignored) == left


def test_error_rates_ignore_on_both_sides():
    pairs = [("Hello, world!", "HELLO WORLD"), ("dit-il", "dit il.")]
    assert error_rates(pairs)["wer"] == 4 / 3
    assert error_rates(pairs, ignored=["case"])["wer"] == 4 / 3
    found = error_rates(pairs, ignored=["case", "punctuation"])
    assert (found["wer"], found["cer"], found["words"]["total"]) == (0, 0, 4)
