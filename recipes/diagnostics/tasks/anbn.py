"""aⁿbⁿ, trained with n up to 10 and tested up to 1,000: a net that counts goes beyond what it has seen.

Gers & Schmidhuber 2001. At each symbol of S aⁿ bⁿ T the net says which may come next. `length` is the largest
n of training, `test` that of the test; `up to` is the n before the first word with a mistake.
"""

from dataclasses import replace

from carousel.recipes.diagnostics.counting import counting_task
from carousel.recipes.diagnostics.settings import OPTIMIZER, Settings

TASK = counting_task(
    2,
    Settings(
        hidden=4,
        forget_bias=5.0,
        length=10,
        test=1000,
        batch=32,
        steps=10000,
        check_every=250,
        optimizer=replace(OPTIMIZER, rate=0.01, schedule="cosine"),
    ),
)
