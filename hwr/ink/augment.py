"""Variations of pen strokes for training: what another hand, mood or pen might have made of the same word.

Each is an affine map of the whole ink, a smooth bend of the plane (the elastic distortion of P. Simard, D.
Steinkraus, J. Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis",
ICDAR 2003, here with waves in place of a filtered noise field: pen points are few), a shift and scaling of
single strokes, or a coarser pen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from carousel.common.settings.augment import Ink
from carousel.common.settings.field import check, defaults

DEFAULTS: dict[str, float] = defaults(Ink)
WAVES = 4


def augment_ink(
    strokes: Sequence[np.ndarray], settings: Mapping[str, Any], rng: np.random.Generator
) -> list[np.ndarray]:
    """Strokes (points, 2) varied; as many strokes, in the same order, float64. The input is left as it is."""
    check(Ink, settings, "augment", partial=True)
    options = {**DEFAULTS, **settings}
    arrays = [np.asarray(stroke, dtype=np.float64).reshape(-1, 2) for stroke in strokes]
    arrays = [array for array in arrays if len(array)]
    if not arrays or rng.random() >= options["chance"]:
        return arrays
    lengths = np.array([len(array) for array in arrays])
    points = np.concatenate(arrays)
    centre = points.mean(axis=0)
    height = 3.5 * float(np.std(points[:, 1])) or 1.0  # of the ink; a filled box has √12 deviations
    points = (points - centre) / height
    points = points @ _affine(options, rng)
    points += _bend(points, options, rng)
    points = _move_strokes(points, lengths, options, rng)
    points = points * height + centre
    ends = np.cumsum(lengths)
    keep = rng.random(len(points)) >= rng.random() * options["drop"]
    keep[ends - 1] = True
    keep[ends - lengths] = True
    return [
        points[end - n : end][keep[end - n : end]]
        for n, end in zip(lengths.tolist(), ends.tolist(), strict=True)
    ]


def _affine(options: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """Matrix (2, 2) to be multiplied from the right: slant, then stretch, then rotation."""
    angle, slant, stretch = rng.normal(size=3) * (options["rotation"], options["slant"], options["stretch"])
    cos, sin = np.cos(angle), np.sin(angle)
    half = np.exp(stretch / 2)
    rotation = np.array([[cos, sin], [-sin, cos]])
    return np.array([[1.0, 0.0], [slant, 1.0]]) @ np.diag([half, 1 / half]) @ rotation


def _bend(points: np.ndarray, options: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """Displacements (points, 2): a few plane waves of random direction, length, phase and push."""
    number = 2 * np.pi / options["bend_length"] * rng.uniform(0.1, 1.0, size=WAVES)
    direction = rng.uniform(0, 2 * np.pi, size=WAVES)
    wave = number * np.stack([np.cos(direction), np.sin(direction)])  # (2, waves)
    push = rng.normal(size=(WAVES, 2)) * options["bend"] * np.sqrt(2 / WAVES)
    return np.sin(points @ wave + rng.uniform(0, 2 * np.pi, size=WAVES)) @ push


def _move_strokes(
    points: np.ndarray, lengths: np.ndarray, options: Mapping[str, float], rng: np.random.Generator
) -> np.ndarray:
    """Each stroke shifted, and scaled about its mean, a little."""
    starts = np.cumsum(lengths) - lengths
    means = np.add.reduceat(points, starts, axis=0) / lengths[:, None]
    scale = np.exp(rng.normal(size=(len(lengths), 1)) * options["stroke_scale"])
    shift = rng.normal(size=(len(lengths), 2)) * options["stroke_shift"]
    return points * scale.repeat(lengths, axis=0) + (means * (1 - scale) + shift).repeat(lengths, axis=0)
