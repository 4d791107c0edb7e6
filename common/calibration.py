"""Calibrated confidences: of all that is read with confidence c, the share c shall be right.

A network is surer of itself than it is right (Guo, Pleiss, Sun & Weinberger, ICML 2017), so confidences pass
through maps that were fitted on a valid set. There are three levels, each made of the one below:

- a symbol: its highest posterior in its frames, through the map of symbols;
- a word: the product of its symbols (all of them are right, if they err independently), through the map of
  words, which also makes up for that they do not;
- a hypothesis: the product of all its symbols but the spaces, through the map of hypotheses; it is the
  chance that the whole text is right.

A map is a temperature and a shift of the log-odds (Platt 1999). Fitted on the valid sets of AN4, UNIPEN words
and Copiste lines and measured on their test sets (mean of the words' calibration errors, bins of equal mass):
2.6 %, against 5.6 % by a temperature alone, 5.3 % by one of the frames' posteriors, 3.3 % by a word's least
symbol. A temperature of the posteriors below these maps is as good (2.4 %), but needs the frames once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, Self, TypedDict

import numpy as np

from carousel.common.text.alphabet import normalise
from carousel.common.text.metrics import matched

BINS = 15  # of equal width, as in Guo et al.
LEAST = 10  # right ones, and wrong ones, without which nothing can be fitted
TEXTS, FOLDS = 20, 5  # the fewest on which a fit can be tried, and in how many parts they are for that
EDGE = 1e-7  # float32 cannot tell a probability from 1 that is nearer than this


@dataclass(frozen=True, slots=True)
class Map:
    """confidence → sigmoid(log-odds / temperature + shift); above 1 a temperature says: less sure."""

    temperature: float = 1.0
    shift: float = 0.0

    def __call__(self, confidence: float) -> float:
        if self.temperature == 1 and self.shift == 0:
            return confidence
        odds = float(_log_odds(np.float64(confidence))) / self.temperature + self.shift
        return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The maps of the three levels; without any, confidences are what the network says."""

    symbols: Map = Map()
    words: Map = Map()
    hypotheses: Map = Map()

    def word(self, symbols: Iterable[float]) -> float:
        """Confidence of a word by the calibrated ones of its symbols."""
        return self.words(math.prod(symbols))

    def text(self, symbols: Iterable[float]) -> float:
        """Confidence of a whole text by the calibrated ones of its symbols without the spaces."""
        return self.hypotheses(math.prod(symbols))

    def as_json(self) -> dict[str, dict[str, float]]:
        """What `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Calibration:
        """None stands for no maps. Raises ValueError for what cannot be used."""
        if value is None:
            return cls()
        names = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or value.keys() != names:
            raise ValueError(f"confidence has no maps of {', '.join(sorted(names))}")
        for name, numbers in value.items():
            if not isinstance(numbers, Mapping) or numbers.keys() != {"temperature", "shift"}:
                raise ValueError(f"the map of {name} has no temperature and shift")
            if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers.values()):
                raise ValueError(f"the map of {name} is not made of numbers")
            if numbers["temperature"] <= 0:
                raise ValueError(f"the temperature of {name} is not above 0")
        return cls(**{name: Map(**numbers) for name, numbers in value.items()})


UNCALIBRATED = Calibration()


class Sure(Protocol):
    """A symbol or a word of a hypothesis."""

    @property
    def text(self) -> str: ...
    @property
    def confidence(self) -> float: ...


class Hypothesis(Protocol):
    """What of common.decoding.Hypothesis is looked at here."""

    @property
    def confidence(self) -> float | None: ...
    def stripped(self) -> Sequence[Sure]: ...
    def words(self) -> Sequence[Sure]: ...
    def calibrated(self, calibration: Calibration) -> Self: ...


LEVELS = tuple(field.name for field in fields(Calibration))
Outcomes = dict[str, tuple[np.ndarray, np.ndarray]]  # level -> (confidences, whether right), (count,) each


def outcomes(pairs: Iterable[tuple[str, Hypothesis]]) -> Outcomes:
    """How sure and whether right was each symbol, word and text of (reference, hypothesis) pairs.

    Right are the symbols (words) that a smallest set of edits from the reference keeps, and texts that are
    the reference. Spaces at the ends have no part, nor have texts of which nothing was read.
    """
    found: dict[str, list[tuple[float, bool]]] = {level: [] for level in LEVELS}
    for reference, hypothesis in pairs:
        symbols, words = hypothesis.stripped(), hypothesis.words()
        if hypothesis.confidence is None:
            continue
        said = normalise(reference).strip()
        text = [symbol.text for symbol in symbols]
        kept = matched(said, text)
        found["symbols"] += [(s.confidence, right) for s, right in zip(symbols, kept, strict=True)]
        kept = matched(said.split(), [word.text for word in words])
        found["words"] += [(w.confidence, right) for w, right in zip(words, kept, strict=True)]
        found["hypotheses"].append((hypothesis.confidence, said == "".join(text)))
    return {level: _columns(rows) for level, rows in found.items()}


def _columns(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1] > 0


def fit(pairs: Iterable[tuple[str, Hypothesis]]) -> Calibration:
    """The calibration by (reference, hypothesis) pairs of a valid set, hypotheses without one of their own.

    A level with fewer than 10 right or 10 wrong ones keeps the identity.
    """
    pairs = list(pairs)
    calibration = Calibration(symbols=fit_map(*outcomes(pairs)["symbols"]))
    known = outcomes((reference, hypothesis.calibrated(calibration)) for reference, hypothesis in pairs)
    words, hypotheses = (fit_map(*known[level]) for level in ("words", "hypotheses"))
    return Calibration(calibration.symbols, words, hypotheses)


def gain(pairs: Iterable[tuple[str, Hypothesis]], own: Calibration) -> tuple[float, float]:
    """How much less cross-entropy texts have by a calibration that was fitted on others of the pairs than by
    `own`, in the mean of the texts, and the standard error of that mean (cross-validation)."""
    pairs = list(pairs)
    gains: list[float] = []
    for part in range(FOLDS):
        found = fit(pair for k, pair in enumerate(pairs) if k % FOLDS != part)
        gains += [_loss(pair, own) - _loss(pair, found) for pair in pairs[part::FOLDS]]
    return float(np.mean(gains)), float(np.std(gains)) / math.sqrt(len(gains))


def _loss(pair: tuple[str, Hypothesis], calibration: Calibration) -> float:
    """The cross-entropy of a text: the mean of its symbols, that of its words, and its own, added up."""
    reference, hypothesis = pair
    total = 0.0
    for confidences, right in outcomes([(reference, hypothesis.calibrated(calibration))]).values():
        if len(right):
            odds = _log_odds(confidences)
            total += float(np.logaddexp(0, np.where(right, -odds, odds)).mean())
    return total


def fit_map(confidences: np.ndarray, right: np.ndarray) -> Map:
    """The temperature and shift of the least cross-entropy (Platt 1999, with his softened targets).

    By Newton's method, steps halved until they help (Lin, Lin & Weng 2007): the function is convex. The
    identity where there is too little to fit on, or where the surer ones are not the righter ones.
    """
    positive, negative = int(right.sum()), int((~right).sum())
    if min(positive, negative) < LEAST:
        return Map()
    inputs = np.stack([_log_odds(confidences), np.ones(len(right))], axis=1)  # (count, 2)
    targets = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(weights: np.ndarray) -> float:
        odds = inputs @ weights
        return float((np.logaddexp(0, odds) - targets * odds).sum())

    weights = np.array([1.0, 0.0])
    for _ in range(100):
        chances = 1 / (1 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        gradient = inputs.T @ (chances - targets)
        curvature = (inputs * (chances * (1 - chances))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        step, size = np.linalg.solve(curvature, gradient), 1.0
        while size > 1e-8 and loss(weights - size * step) > loss(weights):
            size /= 2
        weights = weights - size * step
        if abs(size * step).max() < 1e-8:
            break
    slope, shift = weights.tolist()
    return Map(round(1 / slope, 4), round(shift, 4)) if slope > 1e-3 else Map()


def _log_odds(confidences: Any) -> Any:
    clipped = np.clip(confidences, EDGE, 1 - EDGE)
    return np.log(clipped) - np.log1p(-clipped)


class Bin(TypedDict):
    confidence: float  # mean of those in it
    right: float  # share
    count: int


def reliability(confidences: np.ndarray, right: np.ndarray) -> list[Bin]:
    """The 15 bins of equal width that hold anything, from the least sure to the surest."""
    which = np.minimum((confidences * BINS).astype(int), BINS - 1)
    return [
        Bin(
            confidence=float(confidences[which == index].mean()),
            right=float(right[which == index].mean()),
            count=int((which == index).sum()),
        )
        for index in np.unique(which)
    ]


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, equation 3), in 15 bins of equal width; 0 of nothing."""
    bins = reliability(confidences, right)
    return sum(b["count"] * abs(b["confidence"] - b["right"]) for b in bins) / max(len(right), 1)


def summary(found: Outcomes) -> dict[str, dict[str, float]]:
    """Of each level the expected calibration error, how sure and how right on the mean, and of how many."""
    return {
        level: {
            "ece": calibration_error(confidences, right),
            "confidence": float(confidences.mean()) if len(right) else 0.0,
            "right": float(right.mean()) if len(right) else 0.0,
            "count": len(right),
        }
        for level, (confidences, right) in found.items()
    }
