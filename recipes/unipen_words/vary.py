"""What other hands and tablets cost: python -m carousel.recipes.unipen_words.vary MODEL MANIFEST [--count N]

The samples of a manifest are written larger, slanted, turned, with strokes in another order, or with fewer
points, and read greedily each time. Shows the character error rate of each change. What is drawn at random
depends on the sample's number alone.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from carousel.common.cli.options import count
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.data.manifest import Sample, read_manifest
from carousel.common.errors import InputError
from carousel.common.text.metrics import error_rates

OPTIONS = {
    "model": {"help": "a model for pen strokes, or its name"},
    "manifest": {"help": "pen strokes with their texts"},
    "--count": {"type": count, "help": "so many samples, evenly from the whole (default: all)"},
}

Strokes = list[np.ndarray]  # (points, 2) each, y downwards
Change = Callable[[Strokes, np.random.Generator], Strokes]


def scaled(factor: float) -> Change:
    return lambda strokes, rng: [stroke * factor for stroke in strokes]


def turned(degrees: float) -> Change:
    """Anticlockwise, as seen."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return lambda strokes, rng: [stroke @ np.array([[cos, -sin], [sin, cos]]) for stroke in strokes]


def slanted(degrees: float) -> Change:
    """To the right."""
    shear = np.array([[1.0, 0.0], [-np.tan(np.radians(degrees)), 1.0]])
    return lambda strokes, rng: [stroke @ shear for stroke in strokes]


def reversed_strokes(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Each stroke from its end to its beginning."""
    return [stroke[::-1] for stroke in strokes]


def late_strokes(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """A fifth of the strokes, one at least, comes after all others, as dots and bars do."""
    late = set(rng.permutation(len(strokes))[: max(len(strokes) // 5, 1)].tolist())
    first = [stroke for number, stroke in enumerate(strokes) if number not in late]
    return first + [strokes[number] for number in sorted(late)]


def shuffled(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    return [strokes[number] for number in rng.permutation(len(strokes))]


def coarse(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Every third point, and the last of each stroke."""
    return [np.concatenate([stroke[:-1][::3], stroke[-1:]]) for stroke in strokes]


CHANGES: dict[str, Change] = {
    "as written": lambda strokes, rng: strokes,
    "a tenth of the size": scaled(0.1),
    "thirty times the size": scaled(30),
    **{f"turned by {angle}°": turned(angle) for angle in (-15, -10, -5, 5, 10, 15)},
    **{f"slanted by {angle}°": slanted(angle) for angle in (-30, -15, 15, 30)},
    "strokes backwards": reversed_strokes,
    "a fifth of the strokes late": late_strokes,
    "strokes in any order": shuffled,
    "every third point": coarse,
}


def varied(samples: Sequence[Sample], change: Change) -> Iterator[Strokes]:
    """The strokes of each sample, changed."""
    for number, sample in enumerate(samples):
        strokes = [np.asarray(stroke, np.float64) for stroke in sample.strokes or []]
        yield change(strokes, np.random.default_rng(number))


def prepare(arguments: Namespace) -> None:
    """Shows the table. Raises InputError for a model of another kind."""
    import carousel
    from carousel.common.recogniser import recognise
    from carousel.hwr.features import extract

    model = carousel.load(str(arguments.model)).model
    if model.domain != "ink":
        raise InputError(f"{arguments.model}: is a model for {model.domain}; take one for pen strokes")
    samples = list(read_manifest(arguments.manifest))
    samples = samples[:: max(len(samples) // (arguments.count or len(samples)), 1)]
    for name, change in CHANGES.items():
        arrays = [extract(strokes, model.features)[0] for strokes in varied(samples, change)]
        found = recognise(model, arrays, decoder="greedy")
        pairs = ((sample.text, best.text) for sample, (best, *_) in zip(samples, found, strict=True))
        rates = error_rates(pairs)
        low, high = rates["cer_interval"]
        show(f"{name:28s} {rates['cer']:7.2%}  [{low:.2%}, {high:.2%}]")


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
