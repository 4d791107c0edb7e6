"""aⁿbⁿcⁿ, trained with n up to 50 and tested up to 500: a language that is not context-free.

Gers & Schmidhuber 2001. As anbn, with S aⁿ bⁿ cⁿ T.
"""

from dataclasses import replace

from carousel.recipes.diagnostics.counting import counting_task
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings

TASK = counting_task(
    3,
    Settings(
        hidden=6,
        forget_bias=5.0,
        length=50,
        test=500,
        batch=32,
        steps=10000,
        check_every=250,
        optimizer=replace(OPTIMIZER, rate=0.01, schedule="cosine"),
    ),
)
