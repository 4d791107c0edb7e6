"""n-gram models made of others: interpolated, and pruned to a size.

Both work on the n-grams of each order as `structure` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numba
import numpy as np

from carousel.common.errors import InputError
from carousel.common.language.ngram import BEGIN_ID, END_ID, UNKNOWN_ID, NGrams, step, structure

ROUNDS = 50  # of expectation maximisation, which has settled long before
LEAST = 1e-12  # probability mass that is left to what a context does not list, at the least


def mix(models: Sequence[NGrams], weights: Sequence[float]) -> NGrams:
    """Linear interpolation: Σ weights[m] · p_m(token | context) for each n-gram that any model lists.

    weights: (models,) sum to 1. Raises InputError for models over different units.
    """
    if len({(model.unit, model.running) for model in models}) > 1:
        raise InputError("language models over words, characters or running text cannot be mixed")
    words = list(dict.fromkeys(word for model in models for word in model.words))
    number = {word: k for k, word in enumerate(words)}
    numbers = [np.array([number[word] for word in model.words]) for model in models]
    own = [model.number(words) for model in models]  # (words,) of the mixture as each model numbers them
    known = [own_m != UNKNOWN_ID for own_m in own]
    for of_model in known:
        of_model[UNKNOWN_ID] = True
    structures = [structure(model.first, model.token, model.counts) for model in models]
    place = [np.zeros(1, np.int64) for _ in models]  # (n-grams of model m,) their number in the mixture
    state = [np.zeros(1, np.int32) for _ in models]  # (n-grams of the mixture,) model m's state after each
    kept, log_probs = [], []
    for n in range(max(model.order for model in models)):
        holding = [m for m, model in enumerate(models) if n < model.order]
        keys = {
            m: place[m][structures[m][n][0]] * len(words) + numbers[m][structures[m][n][1]] for m in holding
        }
        union = np.unique(np.concatenate(list(keys.values())))
        prefix, last = union // len(words), union % len(words)
        suffix = np.zeros(len(union), np.int64)
        before = place
        place = [
            np.searchsorted(union, keys[m]) if m in keys else np.zeros(0, np.int64)
            for m in range(len(models))
        ]
        for m in holding:
            suffix[place[m]] = before[m][structures[m][n][2]]
        total = np.full(len(union), -np.inf)
        for m, model in enumerate(models):
            scores, state[m] = _advance(*model.automaton(), state[m][prefix], own[m][last])
            share = np.where(known[m][last], scores, -np.inf) + np.log(max(weights[m], 1e-300))
            total = np.logaddexp(total, share)
        kept.append((prefix, last, suffix))
        log_probs.append(total)
    found = NGrams.build(words, kept, log_probs, _backoffs(kept, log_probs))
    return replace(found, unit=models[0].unit, running=models[0].running)


def best_weights(models: Sequence[NGrams], sentences: Iterable[Sequence[str]]) -> np.ndarray:
    """(models,) the weights of a mixture that give sentences the highest probability.

    By expectation maximisation; tokens that no model knows have no say.
    """
    lists = [list(sentence) for sentence in sentences]
    rows = []
    for model in models:
        index = model.index()
        ends = [] if model.running else [True]
        known = [[word in index for word in sentence] + ends for sentence in lists]
        scores = [model.scores(sentence) for sentence in lists]
        rows.append(np.where(np.concatenate(known), np.exp(np.concatenate(scores)), 0.0))
    probabilities = np.stack(rows)  # (models, tokens)
    probabilities = probabilities[:, probabilities.any(axis=0)]
    weights = np.full(len(models), 1 / len(models))
    for _ in range(ROUNDS if probabilities.size else 0):
        shares = weights[:, None] * probabilities
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights


def prune(model: NGrams, fits: Callable[[list[int]], bool]) -> NGrams:
    """The model with as many n-grams as fit: those go first that change it least.

    fits: whether so many n-grams of each order do. What the loss of one n-gram alone changes is the relative
    entropy of the models before and after (Stolcke 1998, "Entropy-based pruning of backoff language models",
    equation 5). Unigrams stay, and so do prefixes and suffixes of what stays.
    """
    if fits(model.counts):
        return model
    parts = structure(model.first, model.token, model.counts)
    bounds = np.cumsum([0, *model.counts])
    log_probs = [model.log_prob[a:b].astype(np.float64) for a, b in pairwise(bounds)]
    changes = _changes(parts, log_probs)
    low, high = 0.0, float(max(change.max(initial=0.0) for change in changes[1:]))
    keep = _kept(parts, changes, high)
    for _ in range(40):  # bisection in the logarithm, where sizes are even
        middle = float(np.sqrt(max(low, high * 1e-12) * high))
        tried = _kept(parts, changes, middle)
        if fits([int(k.sum()) for k in tried]):
            high, keep = middle, tried
        else:
            low = middle
        if low > 0.99 * high:
            break
    backoffs = _backoffs(parts, log_probs, keep)
    found = NGrams.build(model.words, parts, log_probs, backoffs, keep)
    return replace(found, unit=model.unit, running=model.running, advice=model.advice)


Part = tuple[np.ndarray, np.ndarray, np.ndarray]


def _changes(parts: Sequence[Part], log_probs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of each n-gram the relative entropy, in nats a token, of the model without it."""
    found = [np.full(len(log_probs[0]), np.inf)]
    history = log_probs[0].copy()  # (n-grams of the order below,) ln of the probability of each as a context
    history[BEGIN_ID] = history[END_ID]  # a sentence begins where one ends
    for (prefix, _, suffix), scores, lower in zip(parts[1:], log_probs[1:], log_probs, strict=False):
        p, below = np.exp(scores), np.exp(lower[suffix])
        left, left_below = (_left(prefix, mass, len(lower))[prefix] for mass in (p, below))
        before = np.log(left) - np.log(left_below)
        after = np.log(left + p) - np.log(left_below + below)
        gain = p * (lower[suffix] + after - scores) + left * (after - before)
        found.append(-np.exp(history[prefix]) * gain)
        history = history[prefix] + scores
    return found


def _left(prefix: np.ndarray, mass: np.ndarray, contexts: int) -> np.ndarray:
    """(contexts,) the probability mass of what each does not list."""
    return np.maximum(1 - np.bincount(prefix, mass, minlength=contexts), LEAST)


def _kept(parts: Sequence[Part], changes: Sequence[np.ndarray], least: float) -> list[np.ndarray]:
    """What stays when n-grams that change less than `least` go, with prefixes and suffixes of what stays."""
    keep = [change > least for change in changes]
    for n in range(len(keep) - 1, 0, -1):
        for part in (parts[n][0], parts[n][2]):
            keep[n - 1][part[keep[n]]] = True
    return keep


def _backoffs(
    parts: Sequence[Part], log_probs: Sequence[np.ndarray], keep: Sequence[np.ndarray] | None = None
) -> list[np.ndarray]:
    """ln of the weight of each n-gram as a context: what it leaves to tokens that it does not list, over
    what the context below gives to the same."""
    found = []
    for n, (lower, (prefix, _, suffix)) in enumerate(zip(log_probs, parts[1:], strict=False), start=1):
        here = slice(None) if keep is None else keep[n]
        listed, below = log_probs[n][here], lower[suffix[here]]
        left, left_below = (_left(prefix[here], np.exp(mass), len(lower)) for mass in (listed, below))
        found.append(np.log(left) - np.log(left_below))
    return [*found, np.zeros(len(log_probs[-1]))]


@numba.njit(cache=True)
def _advance(first, token, log_prob, follow, backoff, shorter, states, words):  # type: ignore[no-untyped-def]
    """ln of the probability of each word in a state of its own, and the states after."""
    scores, after = np.empty(len(words)), np.empty(len(words), np.int32)
    for k in range(len(words)):
        scores[k], after[k] = step(first, token, log_prob, follow, backoff, shorter, states[k], words[k])
    return scores, after
