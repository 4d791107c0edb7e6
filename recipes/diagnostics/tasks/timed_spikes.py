"""Precise timing: a spike every so many steps, from nothing but the net's own cells.

Gers, Schraudolph & Schmidhuber 2002, generation of timed spikes; the set-up is that of generating.py. The
output is the probability of a spike.
"""

import torch

from carousel.recipes.diagnostics.generating import generating_task, spike
from carousel.recipes.diagnostics.settings import Settings
from carousel.recipes.diagnostics.task import bit_loss

TASK = generating_task(
    {"spike": spike},
    Settings(hidden=4, forget_bias=3.0, batch=8, steps=20000, check_every=100, test=1000),
    {
        f"{cell} {period}": {"cell": cell, "length": period}
        for period in (10, 20, 50)
        for cell in ("peephole", "lstm")
    },
    bit_loss,
    torch.sigmoid,
)
