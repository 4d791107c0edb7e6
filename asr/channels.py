"""The channels of a call, each read apart, and their words in the order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.errors import InputError

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.domain import Prepared

SIDES = ("left", "right")
TURN = 0.8  # s: after a longer pause somebody else may have a turn


@dataclass(frozen=True, slots=True)
class Channels:
    """The Prepared of common.domain that is made of one for each channel; it is transcribed, no more."""

    names: tuple[str, ...]
    parts: tuple[Prepared, ...]

    @classmethod
    def of(cls, parts: Sequence[Prepared], names: tuple[str, ...]) -> Channels:
        """names: none for left and right, or for numbers. Raises InputError where they do not fit."""
        if names and len(parts) != len(names):
            has = "one channel" if len(parts) == 1 else f"{len(parts)} channels"
            raise InputError(f"has {has}, and {len(names)} names are given; give a name for each")
        numbers = tuple(str(number) for number in range(1, len(parts) + 1))
        return cls(names or (SIDES if len(parts) == 2 else numbers), tuple(parts))

    @property
    def windows(self) -> tuple[np.ndarray, ...]:
        return tuple(window for part in self.parts for window in part.windows)

    @property
    def notes(self) -> tuple[str, ...]:
        alone = () if len(self.parts) > 1 else ("has one channel, so there is nothing to read apart",)
        return tuple(dict.fromkeys([*alone, *(note for part in self.parts for note in part.notes)]))

    @property
    def fault(self) -> str:
        return next((part.fault for part in self.parts if part.fault), "")

    @property
    def about(self) -> dict[str, Any]:
        return {**self.parts[0].about, "channels": list(self.names)}

    @property
    def amount(self) -> float:
        return sum(part.amount for part in self.parts)

    def located(self, found: Sequence[Sequence[Hypothesis]], stride: int, nbest: int) -> list[Hypothesis]:
        """One text: the turns of all channels, by their beginnings."""
        rest, turns, texts = list(found), [], []
        for name, part in zip(self.names, self.parts, strict=True):
            own, rest = rest[: len(part.windows)], rest[len(part.windows) :]
            if not own:
                continue
            (best,) = part.located(own, stride, 1)
            texts.append(best)
            turns += [[symbol._replace(channel=name) for symbol in turn] for turn in split(best.symbols)]
        merged: list[Symbol] = []
        for turn in sorted(turns, key=lambda turn: turn[0].start):
            if merged:
                merged.append(Symbol(" ", merged[-1].end, turn[0].start, 1.0))
            merged += turn
        if not texts:
            return [Hypothesis((), 0.0)]
        return [replace(texts[0], symbols=tuple(merged), score=sum(text.score for text in texts))]


def split(symbols: Sequence[Symbol]) -> list[list[Symbol]]:
    """Symbols (without spaces at the ends) parted at the spaces that are longer than TURN."""
    turns: list[list[Symbol]] = [[]]
    for before, symbol, after in zip([None, *symbols], symbols, [*symbols[1:], None], strict=False):
        if symbol.text.isspace() and before and after and after.start - before.end > TURN:
            turns.append([])
        else:
            turns[-1].append(symbol)
    return [turn for turn in turns if turn]
