"""Mixtures and pruned models against their definitions, token by token."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from carousel.common.errors import InputError
from carousel.common.language.kneser_ney import estimate
from carousel.common.language.mixing import _backoffs, _changes, best_weights, mix, prune
from carousel.common.language.ngram import BEGIN, END, NGrams, structure
from tests.common.language.test_ngram import SENTENCES, TOY, probability

OTHER = [line.split() for line in ("c d c", "a d d", "d", "b a c d")]


def contexts(model: NGrams, longest: int) -> list[tuple[str, ...]]:
    inner = model.words[3:]
    return [c for n in range(longest + 1) for c in itertools.product(inner, repeat=n)]


def grams(model: NGrams) -> list[set[tuple[str, ...]]]:
    """The n-grams of each order as tuples of tokens."""
    found: list[list[tuple[str, ...]]] = [[()]]
    for prefix, last, _ in structure(model.first, model.token, model.counts):
        found.append([(*found[-1][p], model.words[w]) for p, w in zip(prefix, last, strict=True)])
    return [set(order) for order in found[1:]]


@settings(deadline=None, max_examples=30)
@given(SENTENCES)
def test_structure_gives_each_n_gram_its_prefix_and_suffix(sentences):
    model = estimate(sentences, 3)
    parts = structure(model.first, model.token, model.counts)
    tuples: list[list[tuple[str, ...]]] = [[()]]
    for prefix, last, suffix in parts:
        order = [(*tuples[-1][p], model.words[w]) for p, w in zip(prefix, last, strict=True)]
        assert [tuples[-1][s] for s in suffix] == [gram[1:] for gram in order]
        tuples.append(order)


@pytest.mark.parametrize("orders", [(3, 3), (2, 3), (3, 1)])
def test_a_mixture_is_the_weighted_sum_and_sums_to_one(orders):
    models = [estimate(TOY, orders[0]), estimate(OTHER, orders[1])]
    mixture = mix(models, [0.3, 0.7])
    listed = set().union(*grams(mixture))
    assert listed == set().union(*grams(models[0]), *grams(models[1]))
    for context in contexts(mixture, 2):
        total = 0.0
        for word in [*mixture.words[3:], END, mixture.words[0]]:
            found = probability(mixture, context, word)
            total += found
            if (BEGIN, *context, word)[-3:] in listed:
                expected = sum(
                    weight * probability(model, context, word) * (word in model.words)
                    for weight, model in zip((0.3, 0.7), models, strict=True)
                )
                assert found == pytest.approx(expected, rel=1e-5)
        assert total == pytest.approx(1, abs=1e-5)


def test_the_best_weights_are_those_of_a_search():
    models = [estimate(TOY, 2), estimate(OTHER, 2)]
    held_out = [line.split() for line in ("a b d", "c d", "b a a", "z")]
    weights = best_weights(models, held_out)
    assert weights.sum() == pytest.approx(1)

    def likelihood(share: float) -> float:
        total = 0.0
        for sentence in held_out:
            for k, word in enumerate([*sentence, END]):
                p = [probability(m, tuple(sentence[:k]), word) * (word in m.words) for m in models]
                total += math.log(max(share * p[0] + (1 - share) * p[1], 1e-30))
        return total

    best = max((k / 500 for k in range(501)), key=likelihood)
    assert weights[0] == pytest.approx(best, abs=0.01)


@settings(deadline=None, max_examples=20)
@given(SENTENCES)
def test_what_an_n_gram_changes_is_the_relative_entropy_without_it(sentences):
    """Equation 3 of Stolcke (1998), the sum over all tokens after the context, for each trigram alone."""
    model = estimate(sentences, 3)
    parts = structure(model.first, model.token, model.counts)
    bounds = np.cumsum([0, *model.counts])
    scores = [model.log_prob[a:b].astype(float) for a, b in itertools.pairwise(bounds)]
    changes = _changes(parts, scores)
    words = [w for w in range(len(model.words)) if model.words[w] != BEGIN]
    prefix, last, _ = parts[2]
    first, second = parts[1][0], parts[1][1]
    for k in range(min(len(last), 6)):
        keep = [np.ones(len(s), bool) for s in scores]
        keep[2][k] = False
        without = NGrams.build(model.words, parts, scores, _backoffs(parts, scores, keep), keep)
        history = [first[prefix[k]], second[prefix[k]]]
        p, q = (np.array([_conditional(m, history, w) for w in words]) for m in (model, without))
        start = END if model.words[history[0]] == BEGIN else model.words[history[0]]
        of_history = scores[0][model.words.index(start)] + scores[1][prefix[k]]
        assert changes[2][k] == pytest.approx(
            math.exp(of_history) * (np.exp(p) * (p - q)).sum(), rel=1e-3, abs=1e-7
        )


def _conditional(model: NGrams, history: list[int], word: int) -> float:
    """ln p(word | exactly this history), from the empty state on."""
    from carousel.common.language.ngram import step

    state = 0
    for token in history:
        _, state = step(*model.automaton(), state, token)
    return float(step(*model.automaton(), state, word)[0])


def test_pruning_keeps_to_the_size_sums_to_one_and_loses_the_least_first():
    text = [list("abracadabra"), list("abba"), list("cadabra"), list("barbara"), list("brac")] * 3
    model = estimate(text, 4)
    sizes = [sum(model.counts) * share // 10 for share in (9, 6, 4)]
    perplexities = [model.perplexity(text)[0]]
    for size in sizes:
        small = prune(model, lambda counts, size=size: sum(counts) <= size)
        assert sum(small.counts) <= size
        for context in contexts(small, 2):
            total = sum(probability(small, context, w) for w in [*small.words[3:], END, small.words[0]])
            assert total == pytest.approx(1, abs=1e-4)
        perplexities.append(small.perplexity(text)[0])
    assert perplexities == sorted(perplexities)
    assert prune(model, lambda counts: True) is model


def test_what_cannot_be_mixed_is_told():
    model = estimate(TOY, 2)
    with pytest.raises(InputError, match="cannot be mixed"):
        mix([model, replace(model, unit="characters")], [0.5, 0.5])
    lacking = replace(
        model, token=np.where(np.arange(len(model.token)) == len(model.token) - 1, 99, model.token)
    )
    with pytest.raises(InputError, match="lacks the suffix"):
        prune(lacking, lambda counts: False)
