"""aⁿbⁿ and aⁿbⁿcⁿ: a net that counts goes far beyond the n that it was trained on.

Gers & Schmidhuber 2001, LSTM Recurrent Networks Learn Simple Context-Free and Context-Sensitive Languages. A
word is S aⁿ bⁿ (cⁿ) T; at each symbol the net says which symbols may come next, and a word is accepted if all
of that is right. Trained with n from 1 to `length`; tested with each n from 1 on up to `test`: `up to` is the
n before the first word that is not accepted, `accepted` the share of all.
"""

import torch
from torch import Tensor, nn

from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import Batch, Task, bit_loss

PART = 25  # words that are tested at once


def words(counts: Tensor, letters: int) -> Batch:
    """The words of some n. Symbols are S, the letters and T, of which the net never reads T nor says S."""
    lengths = 1 + letters * counts
    steps = torch.arange(int(lengths.max()))
    block = (steps - 1).clamp_min(0) // counts[:, None]  # 0 for a …
    symbols = torch.where(steps == 0, 0, (block + 1).clamp_max(letters))
    following = torch.where(steps == 0, 1, (steps // counts[:, None] + 1).clamp_max(letters + 1))
    targets = nn.functional.one_hot(following, letters + 2)[..., 1:].float()
    targets[..., 0] = (symbols <= 1).float()  # after S an a, after an a another one or
    targets[:, 1:, 1] = torch.maximum(targets[:, 1:, 1], (symbols[:, 1:] == 1).float())  # a b
    x = nn.functional.one_hot(symbols, letters + 1).float()
    return Batch(x, targets, steps < lengths[:, None], lengths)


def accepted(network: Network, letters: int, most: int) -> Tensor:
    """Of each n from 1 to most, whether its word is accepted: (most,) bool."""
    right = []
    for counts in torch.arange(1, most + 1).split(PART):
        drawn = words(counts, letters)
        said = network(drawn.x, drawn.lengths)[0] > 0
        right.append((((said == (drawn.targets > 0.5)).all(-1)) | ~drawn.asked).all(1))
    return torch.cat(right)


def counting_task(letters: int, settings: Settings) -> Task:
    """The task of 2 or 3 letters."""

    def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
        return words(torch.randint(1, settings.length + 1, (size,), generator=rng), letters)

    def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
        """Beyond what was trained only once that is right, as long words take time."""
        right = accepted(network, letters, settings.length)
        if right.all():
            right = accepted(network, letters, settings.test)
        return {"up to": float(right.long().cumprod(0).sum()), "accepted": float(right.sum()) / settings.test}

    return Task(
        settings=settings,
        variants={
            "peephole": {"cell": "peephole"},
            "plain": {"cell": "lstm"},
        },
        sizes=lambda settings: (letters + 1, letters + 1),
        batch=batch,
        loss=bit_loss,
        measure=measure,
        solved=lambda measured, settings: measured["up to"] >= settings.test,
        draw=draw_curve("up to", "all n accepted up to"),
    )
