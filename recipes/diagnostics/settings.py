"""The settings of a diagnostic task. Nothing heavy is imported, as --help shows them."""

from dataclasses import dataclass

from carousel.common.settings.field import MISSING, setting
from carousel.common.settings.training import CELLS, AdamW

OPTIMIZER = AdamW(rate=0.005, weight_decay=0.0, schedule="constant", warmup=0.0, clip=1.0)
RNN = "rnn"  # the simple recurrent net (Elman 1990), to compare with
CONVOLUTIONAL = "convlstm"  # of moving_digits alone


@dataclass(frozen=True)
class Settings:
    name: str = setting(MISSING, "of the run, which writes to runs/NAME")
    seeds: tuple[int, ...] = setting((1, 2, 3), "a training each", least=0)
    variants: tuple[str, ...] | None = setting(None, "those of the task to run; null: all")
    cell: str = setting("lstm", "of the recurrent layer", choices=(*CELLS, RNN, CONVOLUTIONAL))
    hidden: int = setting(16, "cells", least=1)
    gain: float = setting(1.0, "of an rnn: the recurrent matrix is this times an orthogonal one", above=0)
    forget_bias: float = setting(1.0, "of the forget gate at first, and of what keeps in a GRU")
    chrono: int = setting(
        0,
        "steps over which cells remember at first, ln U(1, chrono - 1) in place of forget_bias and less that "
        "at the input gate (Tallec & Ollivier 2018); 0: off",
        least=0,
    )
    length: int = setting(100, "T, the steps of a sequence; what exactly, the task says", least=2)
    sines: int = setting(2, "of evolino: how many are superimposed", least=1)
    first: int = setting(0, "a curriculum: T at first, raised as soon as the task is solved; 0: off", least=0)
    batch: int = setting(32, "sequences or streams a step", least=1)
    steps: int = setting(5000, "of the optimizer, at most", least=0)
    check_every: int = setting(100, "steps between two tests", least=1)
    test: int = setting(1000, "sequences, streams or the like to test on", least=1)
    data: str | None = setting(None, "a manifest, for a task whose data is not made by a rule")
    optimizer: AdamW = setting(OPTIMIZER, "of the training")
