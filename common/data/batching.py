"""Batches of samples of like length, bounded by total frames, in an order that can be resumed."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def bucketed_batches(
    lengths: Sequence[int], max_frames: int, max_items: int, seed: int, epoch: int, shuffle: bool = True
) -> list[list[int]]:
    """Splits samples into batches whose padded size (items × longest) is at most `max_frames`.

    A sample longer than `max_frames` is a batch of its own. With `shuffle`, lengths are jittered by ±10 %
    before sorting, so that batches differ from epoch to epoch while little is padded, and the order of the
    batches is random. The result depends on (seed, epoch) alone.
    """
    numbers = np.asarray(lengths)
    rng = np.random.default_rng((seed, epoch))
    keys = numbers * rng.uniform(0.9, 1.1, len(numbers)) if shuffle else numbers
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    for index in np.argsort(keys, kind="stable").tolist():
        longest_with = max(longest, int(numbers[index]))
        if batch and (longest_with * (len(batch) + 1) > max_frames or len(batch) >= max_items):
            batches.append(batch)
            batch, longest_with = [], int(numbers[index])
        batch.append(index)
        longest = longest_with
    if batch:
        batches.append(batch)
    if shuffle:
        rng.shuffle(batches)
    return batches


def share(batches: list[list[int]], rank: int, world: int) -> list[list[int]]:
    """The batches of one process of `world`: as many for each (the first ones are repeated to fill up)."""
    if world == 1 or not batches:
        return batches
    missing = -len(batches) % world
    filled = batches + [batches[k % len(batches)] for k in range(missing)]
    return filled[rank::world]


def pad(features: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays (frames, size) → zero-padded (batch, longest, size) float32 and lengths (batch,) int64."""
    lengths = torch.tensor([len(f) for f in features], dtype=torch.long)
    batch = np.zeros((len(features), int(lengths.max()), features[0].shape[1]), np.float32)
    for row, f in zip(batch, features, strict=True):
        row[: len(f)] = f
    return torch.from_numpy(batch), lengths


def batches(lengths: Sequence[int], batch_frames: int) -> list[list[int]]:
    """Indices of `lengths` in batches of like length, the longest first; zero lengths are left out.

    count × longest ≤ batch_frames in each batch, except for one sequence that is longer than that alone.
    """
    found: list[list[int]] = []
    for index in sorted((i for i, length in enumerate(lengths) if length), key=lambda i: -lengths[i]):
        if found and (len(found[-1]) + 1) * lengths[found[-1][0]] <= batch_frames:
            found[-1].append(index)
        else:
            found.append([index])
    return found
