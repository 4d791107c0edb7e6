"""Moving digits: ten frames are seen, the next ten are to be shown (needs data=MANIFEST of mnist_strings).

Shi et al. 2015, after Srivastava, Mansimov & Salakhutdinov 2015: two digits move on straight lines through a
frame of 32 × 32 pixels (the papers: 64 × 64) and bounce off its edges. Convolutional against fully connected
LSTM of about as many weights (`small`), and of many more (`large`). `nats` is the cross-entropy a frame. A
film of each net is written as film-VARIANT-SEED.gif: what happens above, what the net shows below.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.common.train.spikes import animate
from carousel.recipes.diagnostics.convlstm import SIZE, film_network
from carousel.recipes.diagnostics.network import Network
from carousel.recipes.diagnostics.picture import draw_curve
from carousel.recipes.diagnostics.settings import CONVOLUTIONAL, OPTIMIZER, Settings
from carousel.recipes.diagnostics.task import Batch, Run, Task, bit_loss

DIGIT = 16  # pixels of a digit, each way
DIGITS = 2  # in a film
FASTEST = 3.0  # pixels a frame, each way
READ = 600  # lines of the manifest that digits are taken from
SHOWN, ENLARGED = 3, 4  # films in the animation, and its pixels a pixel


@lru_cache(maxsize=4)
def digits(manifest: str | None) -> Tensor:
    """(count, DIGIT, DIGIT) from 0 to 1, ink is 1: of lines with a gap between any two of their digits.

    Raises InputError without a manifest, and for one that holds no such line.
    """
    if manifest is None:
        raise InputError("moving_digits needs data=MANIFEST, lines of digits such as mnist_strings makes")
    found = []
    for sample, _ in zip(read_manifest(manifest), range(READ), strict=False):
        if sample.image is None:
            continue
        ink = 255 - np.asarray(Image.open(sample.image).convert("L"))
        runs = np.flatnonzero(np.diff((ink.max(axis=0) > 64).astype(int), prepend=0, append=0))
        if len(runs) == 2 * len(sample.text):
            found += [_square(ink[:, start:end]) for start, end in runs.reshape(-1, 2)]
    if not found:
        raise InputError(f"{manifest}: holds no line of digits that stand apart")
    return torch.from_numpy(np.stack(found).astype(np.float32) / 255)


def _square(ink: np.ndarray) -> np.ndarray:
    """A digit, centred and scaled to DIGIT pixels."""
    rows = np.flatnonzero(ink.max(axis=1) > 64)
    ink = ink[rows[0] : rows[-1] + 1]
    side = max(ink.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = ((side - size) // 2 for size in ink.shape)
    square[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return np.asarray(Image.fromarray(square).resize((DIGIT, DIGIT), Image.Resampling.BOX))


def films(known: Tensor, count: int, frames: int, rng: torch.Generator) -> Tensor:
    """(count, frames, SIZE, SIZE) from 0 to 1."""
    shown = torch.zeros(count, frames, SIZE, SIZE)
    room = SIZE - DIGIT
    for _ in range(DIGITS):
        which = torch.randint(len(known), (count,), generator=rng)
        start = torch.rand(count, 2, generator=rng) * room
        speed = (2 * torch.rand(count, 2, generator=rng) - 1) * FASTEST
        way = start[:, None] + speed[:, None] * torch.arange(frames)[:, None]
        places = (room - (way % (2 * room) - room).abs()).round().long()  # bounced off the edges
        for film in range(count):
            for frame, (y, x) in enumerate(places[film].tolist()):
                part = shown[film, frame, y : y + DIGIT, x : x + DIGIT]
                torch.maximum(part, known[which[film]], out=part)
    return shown


def batch(settings: Settings, size: int, rng: torch.Generator) -> Batch:
    """Half of the frames are seen."""
    frames = films(digits(settings.data), size, settings.length, rng).flatten(2)
    seen = settings.length // 2
    asked = torch.ones(size, seen, dtype=torch.bool)
    return Batch(frames[:, :seen], frames[:, seen : 2 * seen], asked, torch.full((size,), seen))


def measure(network: Network, settings: Settings, rng: torch.Generator) -> dict[str, float]:
    drawn = batch(settings, settings.test, rng)
    outputs, _ = network(drawn.x, drawn.lengths)
    losses = nn.functional.binary_cross_entropy_with_logits(outputs, drawn.targets, reduction="none")
    return {"nats": float(losses.sum(-1).mean())}


def write(run: Run, folder: Path) -> None:
    drawn = batch(run.settings, SHOWN, torch.Generator().manual_seed(run.seed))
    with torch.inference_mode():
        made = torch.sigmoid(run.network(drawn.x, drawn.lengths)[0])
    truth = torch.cat((drawn.x, drawn.targets), dim=1)
    told = torch.cat((drawn.x, made), dim=1)
    both = torch.stack((truth, told)).unflatten(-1, (SIZE, SIZE))  # (2, films, frames, SIZE, SIZE)
    pictures = []
    for frame in both.unbind(2):
        framed = nn.functional.pad(frame, (1, 1, 1, 1), value=0.5)
        page = torch.cat([torch.cat([*row], dim=1) for row in framed], dim=0)
        grey = Image.fromarray((255 * (1 - page)).round().byte().numpy())
        pictures.append(grey.resize([ENLARGED * side for side in grey.size], Image.Resampling.NEAREST))
    animate(pictures, folder / f"film-{run.variant}-{run.seed}.gif")


TASK = Task(
    settings=Settings(
        hidden=32,
        length=20,
        batch=16,
        steps=1000,
        check_every=100,
        test=200,
        optimizer=replace(OPTIMIZER, rate=0.003, schedule="cosine"),
    ),
    variants={
        "convlstm": {"cell": CONVOLUTIONAL, "hidden": 32},
        "small": {"cell": "lstm", "hidden": 26},
        "large": {"cell": "lstm", "hidden": 256},
    },
    sizes=lambda settings: (SIZE * SIZE, SIZE * SIZE),
    batch=batch,
    loss=bit_loss,
    measure=measure,
    solved=lambda measured, settings: False,  # there is always less
    draw=draw_curve("nats", "cross-entropy a frame, nats", log=False),
    write=write,
    network=film_network,
)
