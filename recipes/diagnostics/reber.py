"""The embedded Reber grammar: B, T or P, a word of Reber's grammar, the same T or P again, E."""

from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor, nn

from carousel.recipes.diagnostics.task import Batch

SYMBOLS = "BTPSXVE"
# Of each state of the inner word the symbols that may come, each with the state that it leads to.
GRAPH = (
    {"T": 1, "P": 2},
    {"S": 1, "X": 3},
    {"T": 2, "V": 4},
    {"X": 2, "S": 5},
    {"P": 3, "V": 5},
    {"E": 6},
)
END = 6


def word(random: Random) -> Iterator[tuple[str, str]]:
    """The symbols of a word, each with all that might have stood in its place."""
    outer = random.choice("TP")
    yield from (("B", "B"), (outer, "TP"), ("B", "B"))
    state = 0
    while state != END:
        symbol = random.choice(list(GRAPH[state]))
        yield symbol, "".join(GRAPH[state])
        state = GRAPH[state][symbol]
    yield from ((outer, outer), ("E", "E"))


def streams(size: int, count: int, continual: bool, rng: torch.Generator) -> tuple[Batch, Tensor]:
    """`size` rows of `count` words, and which symbols may come next, (size, steps, symbols) bool.

    After its last symbol a row is not asked, unless it goes on: with a B.
    """
    random = Random(int(torch.randint(1 << 30, (), generator=rng)))
    rows = [[pair for _ in range(count) for pair in word(random)] for _ in range(size)]
    following = [[*row[1:], ("B", "B")] for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    steps = int(lengths.max())
    symbols, targets = torch.zeros(size, steps, dtype=torch.long), torch.zeros(size, steps, dtype=torch.long)
    legal = torch.zeros(size, steps, len(SYMBOLS), dtype=torch.bool)
    for number, (row, after) in enumerate(zip(rows, following, strict=True)):
        symbols[number, : len(row)] = torch.tensor([SYMBOLS.index(symbol) for symbol, _ in row])
        targets[number, : len(row)] = torch.tensor([SYMBOLS.index(symbol) for symbol, _ in after])
        legal[number, : len(row)] = torch.tensor([[s in might for s in SYMBOLS] for _, might in after])
    asked = torch.arange(steps) < (lengths if continual else lengths - 1)[:, None]
    return Batch(nn.functional.one_hot(symbols, len(SYMBOLS)).float(), targets, asked, lengths), legal


def right(outputs: Tensor, legal: Tensor) -> Tensor:
    """Whether all symbols that may come are likelier than all others, (…,) bool."""
    least = outputs.masked_fill(~legal, float("inf")).amin(-1)
    most = outputs.masked_fill(legal, float("-inf")).amax(-1)
    return least > most
