"""Precise timing: a cosine, a triangle and a rectangle, from nothing but the net's own cells.

Gers, Schraudolph & Schmidhuber 2002, periodic function generation; the set-up is that of generating.py. One
net makes all three waves at once, where the paper's nets make one each.
"""

from dataclasses import replace

from carousel.recipes.diagnostics.generating import cosine, generating_task, rectangle, triangle
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings
from carousel.recipes.diagnostics.task import squared_loss

TASK = generating_task(
    {"cosine": cosine, "triangle": triangle, "rectangle": rectangle},
    Settings(
        hidden=16,
        forget_bias=3.0,
        batch=1,
        steps=8000,
        check_every=100,
        test=1000,
        optimizer=replace(OPTIMIZER, rate=0.02, schedule="cosine"),
    ),
    {
        f"{cell} {period}": {"cell": cell, "length": period}
        for period in (10, 25)
        for cell in ("peephole", "lstm")
    },
    squared_loss,
    lambda outputs: outputs,
)
