"""Second pass: an LSTM language model chooses among the n-best of beam search, and remembers what it chose.

The score of a hypothesis is that of the first pass (with its n-gram model, if there is one), plus `weight`
times the ln of the model's probability of its text, plus `bonus` for each token. The text that is chosen
moves the state of its session on: the lines of a page or the utterances of a speaker, in their order.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np

from carousel.common.decoding import Hypothesis
from carousel.common.decoding.tuning import descend
from carousel.common.language.lstm import LanguageModel, State, join, load, pick
from carousel.common.text.metrics import edits

log = logging.getLogger(__name__)

WEIGHT, BONUS = 0.5, 0.0  # of a model that was not tuned
ROUNDS = 2  # of tuning, each on the states that the weights of the one before lead to


@dataclass
class Rescorer:
    """A language model and how much it counts, with the state that each session has reached."""

    model: LanguageModel
    weight: float = WEIGHT
    bonus: float = BONUS
    states: dict[Hashable, State] = field(default_factory=dict)

    def choose(
        self, nbests: Sequence[Sequence[Hypothesis]], sessions: Sequence[Hashable] | None = None
    ) -> list[list[Hypothesis]]:
        """The n-best lists in the order of both passes' scores, which become the hypotheses' own.

        sessions: what each list belongs to; the lists of a session are read in their order, and on from where
        earlier calls have left it. None instead of a session: the list stands alone.
        """
        states = dict(self.states)  # kept only when all is done: a call that fails has read nothing
        scores = self.read(nbests, [None] * len(nbests) if sessions is None else sessions, states)
        self.states = states
        found = []
        for nbest, score in zip(nbests, scores, strict=True):
            total = self.total(nbest, score)
            order = np.argsort(-total, kind="stable").tolist()
            found.append([replace(nbest[k], score=float(total[k])) for k in order])
        return found

    def read(
        self,
        nbests: Sequence[Sequence[Hypothesis]],
        sessions: Sequence[Hashable],
        states: dict[Hashable, State],
    ) -> list[np.ndarray]:
        """ln P (hypotheses,) of each list's texts after what was chosen before it; moves `states` on."""
        found: list[np.ndarray] = [np.zeros(0)] * len(nbests)
        fresh = self.model.fresh()
        for turn in _turns(sessions):
            texts = [text_of(hypothesis) for i in turn for hypothesis in nbests[i]]
            before = [states.get(sessions[i], fresh) for i in turn for _ in nbests[i]]
            scores, after = self.model.score(texts, join(before))
            end = 0
            for i in turn:
                start, end = end, end + len(nbests[i])
                found[i] = scores[start:end]
                if sessions[i] is not None:
                    best = int(self.total(nbests[i], found[i]).argmax())
                    states[sessions[i]] = pick(after, [start + best])
        return found

    def total(self, nbest: Sequence[Hypothesis], scores: np.ndarray) -> np.ndarray:
        """(hypotheses,): both passes together."""
        first = np.array([hypothesis.score for hypothesis in nbest])
        tokens = np.array([len(self.model.numbers(text_of(hypothesis))) for hypothesis in nbest])
        return first + self.weight * scores + self.bonus * tokens


def text_of(hypothesis: Hypothesis) -> str:
    """What the model is shown: single spaces, and none at the ends."""
    return " ".join(hypothesis.text.split())


def _turns(sessions: Sequence[Hashable]) -> list[list[int]]:
    """What can be read at once: the first of each session and all that stand alone, the second of each …"""
    queues: dict[Hashable, list[int]] = defaultdict(list)
    for i, session in enumerate(sessions):
        queues[("alone", i) if session is None else ("session", session)].append(i)
    return [[i for i in turn if i is not None] for turn in zip_longest(*queues.values())]


def open_rescorer(
    path: Path | None, weight: float | None = None, bonus: float | None = None
) -> Rescorer | None:
    """The second pass by the language model of a file, None without one; weight, bonus: None for those that
    it was tuned to. Raises InputError for an unusable file."""
    if path is None:
        return None
    model = load(path)
    weight = model.advice.get("weight", WEIGHT) if weight is None else weight
    bonus = model.advice.get("bonus", BONUS) if bonus is None else bonus
    return Rescorer(model, weight, bonus)


def tune(
    rescorer: Rescorer,
    path: Path,
    nbests: Sequence[Sequence[Hypothesis]],
    texts: Sequence[str],
    sessions: Sequence[Hashable],
    say: Callable[[str], None] = log.info,
) -> Rescorer:
    """The rescorer with the weight and bonus of the fewest errors on n-best lists, kept in the model's file.

    texts: what is right. Words are counted for a model over words, characters for one over characters. As
    a state depends on what was chosen before, scores are taken where the first pass, then where the weights
    found so far lead to, the weights are found for these, and the best of all is kept.
    """
    split = str.split if rescorer.model.unit == "words" else str.strip
    wrong = [
        np.array([edits(split(text), split(hypothesis.text)).errors for hypothesis in nbest])
        for text, nbest in zip(texts, nbests, strict=True)
    ]
    right = max(sum(len(split(text)) for text in texts), 1)
    rate = "WER" if rescorer.model.unit == "words" else "CER"

    def errors(scores: Sequence[np.ndarray], weight: float, bonus: float) -> float:
        """Of what these weights choose. scores: of the model, for each list."""
        chooser = replace(rescorer, weight=weight, bonus=bonus)
        rows = zip(nbests, scores, wrong, strict=True)
        return float(sum(counts[chooser.total(nbest, own).argmax()] for nbest, own, counts in rows))

    trial, tried = replace(rescorer, weight=0.0, bonus=0.0), []
    for round_ in range(ROUNDS + 1):
        scores = trial.read(nbests, sessions, {})  # on the states that this weight and bonus lead to
        tried.append((errors(scores, trial.weight, trial.bonus) / right, trial.weight, trial.bonus))
        say(f"second pass: weight {trial.weight:.2f}, bonus {trial.bonus:+.2f}: {rate} {tried[-1][0]:.2%}")
        if round_ < ROUNDS:
            (weight, bonus), _ = descend(partial(errors, scores))
            trial = replace(rescorer, weight=weight, bonus=bonus)
    _, weight, bonus = min(tried)
    rescorer.model.advice = {"weight": weight, "bonus": bonus}
    rescorer.model.save(path)
    say(f"best: weight {weight:.2f}, bonus {bonus:+.2f}, kept in {path}")
    return replace(rescorer, weight=weight, bonus=bonus, states={})
