"""What comes next in a text that is being written: the likeliest words, by an LSTM language model.

A word of characters is found best first (Dijkstra 1959): of all beginnings the likeliest is spelled on, so
the first word that is whole is the likeliest of all, and the next one the second.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from carousel.common.language.lstm import END_ID, UNKNOWN_ID, LanguageModel, pick
from carousel.common.lstm.stack import State

MOST = 2000  # beginnings that are spelled on, after which the words that were found are all
SPACE = " "


def suggest(text: str, model: LanguageModel, count: int = 3) -> list[tuple[str, float]]:
    """The likeliest words with their probabilities, the best first.

    After a space, or at the begin, they are next words; else they complete the word that is begun, and their
    probabilities are those of the rest. The earlier lines of a text count as well.
    """
    lines = text.split("\n")
    begun = "" if not lines[-1] or lines[-1][-1].isspace() else lines[-1].split(SPACE)[-1]
    if model.unit == "words":
        lines[-1] = lines[-1][: len(lines[-1]) - len(begun)]
    state = None
    for line in lines[:-1]:
        _, state = model.score([line], state)
    read = [model.mark, *model.numbers(lines[-1])]
    with torch.inference_mode():
        scores, state = model.network(torch.tensor([read]), torch.tensor([len(read)]), state)
    logs = torch.log_softmax(scores[0, -1].double(), 0)
    words = _listed(logs, begun, model) if model.unit == "words" else _spelled(logs, state, begun, model)
    found: list[tuple[str, float]] = []
    for word, log in words:
        found.append((word, round(math.exp(log), 6)))
        if len(found) == count:
            break
    return found


def _listed(logs: Tensor, begun: str, model: LanguageModel) -> Iterator[tuple[str, float]]:
    for number in logs.argsort(descending=True).tolist():
        if number not in (UNKNOWN_ID, END_ID) and model.tokens[number].startswith(begun):
            yield model.tokens[number], float(logs[number])


def _spelled(logs: Tensor, state: State, begun: str, model: LanguageModel) -> Iterator[tuple[str, float]]:
    ends = {END_ID, model.index.get(SPACE, END_ID)}
    # Costs, a number that no two share, the word so far; the symbol it ends in and the state before that, of
    # one that is not whole.
    heap: list[tuple[float, int, str, tuple[int, State] | None]] = []
    ids = itertools.count()

    def spell(cost: float, word: str, logs: Tensor, state: State) -> None:
        if word:
            rest = float(torch.logsumexp(logs[sorted(ends)], 0))
            heapq.heappush(heap, (cost - rest, next(ids), word, None))
        for number, log in enumerate(logs.tolist()):
            if number not in ends and number != UNKNOWN_ID:
                heapq.heappush(heap, (cost - log, next(ids), word + model.tokens[number], (number, state)))

    spell(0.0, begun, logs, state)
    for _ in range(MOST):
        if not heap:
            return
        cost, _, word, ending = heapq.heappop(heap)
        if ending is None:
            yield word, -cost
            continue
        number, before = ending
        with torch.inference_mode():
            one = torch.ones(1, dtype=torch.long)
            scores, after = model.network(number * one[None], one, pick(before, [0]))
        spell(cost, word, torch.log_softmax(scores[0, -1].double(), 0), after)
