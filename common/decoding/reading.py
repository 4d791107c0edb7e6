"""A text that was read, with its symbols where they are: in seconds of a recording, or boxes of a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, Protocol, Self, TypeVar

from carousel.common.calibration import UNCALIBRATED, Calibration


class Item(Protocol):
    """A symbol or a word in its place."""

    @property
    def text(self) -> str: ...

    @property
    def confidence(self) -> float:
        """In 0 … 1."""

    @classmethod
    def around(cls, items: Sequence[Self], text: str, confidence: float) -> Self:
        """What begins where the first of some neighbours does, and ends where the last does."""


Placed = TypeVar("Placed", bound=Item)


@dataclass(frozen=True, slots=True)
class Reading(Generic[Placed]):
    """One way to read an input, without spaces at its ends; score: natural log, of all that was read."""

    symbols: tuple[Placed, ...]
    score: float
    calibration: Calibration = UNCALIBRATED

    @property
    def text(self) -> str:
        return "".join(symbol.text for symbol in self.symbols)

    @property
    def words(self) -> list[Placed]:
        """The words of text.split()."""
        runs = (list(run) for space, run in groupby(self.symbols, lambda s: s.text.isspace()) if not space)
        return [
            type(run[0]).around(
                run, "".join(s.text for s in run), self.calibration.word(s.confidence for s in run)
            )
            for run in runs
        ]

    @property
    def confidence(self) -> float | None:
        """The chance that the whole text is right (common.calibration); None where nothing was read."""
        inked = [symbol.confidence for symbol in self.symbols if not symbol.text.isspace()]
        return self.calibration.text(inked) if inked else None

    def summary(self) -> dict[str, Any]:
        """Text, confidence and score as `--format json` has them."""
        confidence = self.confidence
        return {
            "text": self.text,
            "confidence": None if confidence is None else round(confidence, 4),
            "score": round(self.score, 4),
        }
