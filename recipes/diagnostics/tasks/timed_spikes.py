"""Precise timing: a spike every so many steps, from nothing but the net's own cells.

Gers, Schraudolph & Schmidhuber 2002, generation of timed spikes; the set-up is that of generating.py. The
output is the probability of a spike; spikes and what is between them weigh the same, or the net would settle
for none.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from carousel.recipes.diagnostics.generating import generating_task, spike
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings
from carousel.recipes.diagnostics.task import Batch


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy, nats: the mean over spikes and that over the rest, added."""
    spikes = batch.targets.mean()
    weights = torch.where(batch.targets > 0, 1 / spikes, 1 / (1 - spikes))
    return nn.functional.binary_cross_entropy_with_logits(outputs, batch.targets, weights)


TASK = generating_task(
    {"spike": spike},
    Settings(
        hidden=8,
        forget_bias=3.0,
        batch=1,
        steps=8000,
        check_every=100,
        test=1000,
        optimizer=replace(OPTIMIZER, rate=0.03, schedule="cosine"),
    ),
    {
        f"{cell} {period}": {"cell": cell, "length": period}
        for period in (10, 20, 50)
        for cell in ("peephole", "lstm")
    },
    loss,
    torch.sigmoid,
)
