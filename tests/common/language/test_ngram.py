import gzip
import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carousel.common.errors import InputError
from carousel.common.language import ngram, ngram_files
from carousel.common.language.kneser_ney import FALLBACK, discounts, estimate
from carousel.common.language.ngram import BEGIN, END, SPACE, UNKNOWN, NGrams

TOY = [line.split() for line in ("a b a c", "b a a", "c", "a b c a b")]
SENTENCES = st.lists(st.lists(st.sampled_from("abcd"), max_size=7), min_size=1, max_size=8).filter(any)


def probability(model: NGrams, history: tuple[str, ...], word: str) -> float:
    numbers = model.number([*history, word])
    return math.exp(ngram.read(*model.automaton(), model.start, numbers)[-1])


class Naive:
    """Modified Kneser-Ney as the paper writes it, on dictionaries: no numbering, no automaton."""

    def __init__(self, sentences: list[list[str]], order: int):
        whole = [[BEGIN, *s, END] for s in sentences]
        counts = [
            Counter(tuple(s[i : i + n]) for s in whole for i in range(len(s) - n + 1))
            for n in range(1, order + 1)
        ]
        self.counts = []
        for n, count in enumerate(counts, start=1):
            if n == order:
                self.counts.append(dict(count))
                continue
            before = Counter(gram[1:] for gram in counts[n])
            self.counts.append({g: c if g[0] == BEGIN else before[g] for g, c in count.items()})
        self.counts[0].pop((BEGIN,), None)
        self.discounts = [discounts(np.array(list(c.values()))) for c in self.counts]
        self.words = {w for s in sentences for w in s} | {END, UNKNOWN}

    def __call__(self, history: tuple[str, ...], word: str) -> float:
        n = len(history) + 1
        if n > len(self.counts):
            return self(history[1:], word)
        counts = {g[-1]: c for g, c in self.counts[n - 1].items() if g[:-1] == history}
        lower = self(history[1:], word) if history else 1 / len(self.words)
        if not counts:
            return lower
        taken = {w: self.discounts[n - 1][min(c, 3) - 1] for w, c in counts.items() if c}
        total = sum(counts.values())
        own = max(counts.get(word, 0) - taken.get(word, 0.0), 0.0)
        return own / total + sum(taken.values()) / total * lower


@settings(deadline=None, max_examples=40)
@given(SENTENCES, st.integers(1, 4))
def test_estimates_are_those_of_the_paper(sentences, order):
    order = min(order, 2 + max(map(len, sentences)))
    model, naive = estimate(sentences, order), Naive(sentences, order)
    for history in [(), ("a",), ("b", "a"), ("d", "c"), ("x",)]:
        context = (BEGIN, *history)[-(order - 1) :] if order > 1 else ()
        for word in naive.words:
            assert probability(model, history, word) == pytest.approx(naive(context, word), rel=1e-5)


@pytest.mark.parametrize("prune", [(), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_of_any_context_sum_to_one(order, prune):
    model = estimate(TOY, order, prune=prune)
    words = [word for word in model.words if word != BEGIN]
    for length in range(3):
        for history in itertools.product("abcx", repeat=length):
            total = sum(probability(model, history, word) for word in words)
            assert total == pytest.approx(1, abs=1e-5)


def test_discounts_by_hand_and_where_counts_are_too_few():
    counts = np.repeat([1, 2, 3, 4, 7], [10, 5, 3, 2, 1])
    y = 10 / (10 + 2 * 5)
    assert discounts(counts) == pytest.approx((1 - 2 * y * 5 / 10, 2 - 3 * y * 3 / 5, 3 - 4 * y * 2 / 3))
    assert discounts(np.array([1, 1, 5])) == FALLBACK


def test_pruning_and_a_vocabulary_make_it_smaller():
    whole = estimate(TOY, 3)
    assert estimate(TOY, 3, prune=(0, 0, 1)).counts[2] < whole.counts[2]
    small = estimate(TOY, 3, vocabulary=2)
    assert set(small.words) == {UNKNOWN, BEGIN, END, "a", "b"}
    assert probability(small, (), "c") == probability(small, (), "zebra") > 0


@pytest.mark.parametrize("name", ["m.arpa", "m.arpa.gz", "m.safetensors"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_files_keep_the_model(tmp_path, name, order):
    model = estimate(TOY, order, prune=(0, 0, 1))
    ngram_files.save(model, tmp_path / name)
    again = ngram_files.load(tmp_path / name)
    assert again.words[:3] == [UNKNOWN, BEGIN, END] and again.counts == model.counts
    for sentence in [*TOY, ["x", "a"], []]:
        assert again.scores(sentence) == pytest.approx(model.scores(sentence), abs=1e-4)


def test_arpa_by_hand(tmp_path):
    """Base 10, backing off twice, and an unknown word."""
    lines = r"""
\data\
ngram 1=5
ngram 2=2
ngram 3=1

\1-grams:
-99	<s>	-0.5
-1.0	</s>
-0.4	a	-0.3
-0.6	b	-0.2
-2.0	<unk>

\2-grams:
-0.1	<s> a	-0.7
-0.2	a b

\3-grams:
-0.05	<s> a b

\end\
""".splitlines()
    path = tmp_path / "hand.arpa.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    model = ngram_files.load(path)
    tenth = [score / math.log(10) for score in model.scores(["a", "b", "b", "zebra"])]
    assert tenth == pytest.approx([-0.1, -0.05, -0.2 - 0.6, -0.2 - 2.0, -1.0], abs=1e-5)
    assert model.perplexity([["a", "b"]])[0] == pytest.approx(10 ** ((0.1 + 0.05 + 0.2 + 1.0) / 3), rel=1e-5)


def test_a_pruned_arpa_file_may_lack_suffixes(tmp_path):
    text = (
        "\\data\\\nngram 1=4\nngram 2=1\nngram 3=1\n\n"
        "\\1-grams:\n-1 <s> -0.5\n-1 </s>\n-0.5 a -0.25\n-0.7 b\n\n"
        "\\2-grams:\n-0.1 <s> a -0.3\n\n\\3-grams:\n-0.05 <s> a b\n\n\\end\\\n"
    )
    (tmp_path / "x.arpa").write_text(text)
    model = ngram_files.load(tmp_path / "x.arpa")
    tenth = [score / math.log(10) for score in model.scores(["a", "b", "a"])]
    assert tenth[:3] == pytest.approx([-0.1, -0.05, -0.5], abs=1e-5)  # `a b` weighs nothing and is not known
    assert probability(model, ("b", "a"), "b") == pytest.approx(10 ** (-0.25 - 0.7), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "not a whole ARPA"),
        ("\\data\\\n\\1-grams:\n-1 a\n", "not a whole ARPA"),
        ("\\data\\\n\\1-grams:\nx a\n\\end\\\n", "line 3"),
        ("\\data\\\n\\1-grams:\n-1 a b c\n\\end\\\n", "line 3"),
        ("\\data\\\n\\1-grams:\n-1 a\n-1 b\n\\2-grams:\n-1 a b\n-1 a b\n\\end\\\n", "twice"),
        ("\\data\\\n\\1-grams:\n-1 a\n-1 a\n\\end\\\n", "order 1 twice"),
        (
            "\\data\\\nngram 1=3\n\\1-grams:\n-1 a\n\\end\\\n",
            "of order 1, and says that it has 3",
        ),
        ("\\data\\\nngram 2=3\n\\1-grams:\n-1 a\n\\end\\\n", "has 0 n-grams of order 2"),
        ("\\data\\\n\\1-grams:\n-1 a\n\\2-grams:\n-1 a c\n\\end\\\n", "'c' in an n-gram and not among"),
        ("\\data\\\n\\1-grams:\nnan a\n\\end\\\n", "line 3 has nan where the logarithm of a probability"),
        ("\\data\\\n\\1-grams:\n-inf a\n\\end\\\n", "line 3 has -inf where the logarithm of a probability"),
        ("\\data\\\n\\1-grams:\n0.5 a\n\\end\\\n", "line 3 has 0.5 where the logarithm of a probability"),
        ("\\data\\\n\\1-grams:\n-1 a inf\n\\end\\\n", "line 3 has inf where the logarithm of a backoff"),
        ("\\data\\\n\\1-grams:\n-1 \u2581un\n\\end\\\n", "over pieces of words"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "bad.arpa"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as error:
        ngram_files.load(path)
    assert str(error.value).startswith(str(path))


def test_a_file_of_arrays_is_checked_before_compiled_code_sees_it(tmp_path):
    model = estimate(TOY, 2)
    broken = {**model.__dict__, "follow": model.follow + 1000}
    ngram_files.save(NGrams(**broken), tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match="damaged"):
        ngram_files.load(tmp_path / "bad.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="damaged"):
        ngram_files.load(tmp_path / "cut.safetensors")


def test_characters_with_spaces_and_running_text(tmp_path):
    text = ngram.tokens("un et un", "characters")
    assert text == ["u", "n", SPACE, "e", "t", SPACE, "u", "n"]
    model = NGrams(**{**estimate([text * 20], 3).__dict__, "unit": "characters", "running": True})
    assert len(model.scores(text)) == len(text)
    assert probability(model, (), "u") > 0.3  # it starts as if after a space
    ngram_files.save(model, tmp_path / "m.safetensors")
    assert ngram_files.load(tmp_path / "m.safetensors").running


def test_senseless_requests_are_input_errors():
    for sentences, order, message in (([[]], 2, "no token"), (TOY, 7, "1 to 6"), ([["a", "<s>"]], 1, "<s>")):
        with pytest.raises(InputError, match=message):
            estimate(sentences, order)
