"""Samples of what the model of `init` was trained on, mixed in so that it keeps what it can do."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from carousel.common.data.manifest import Sample
from carousel.common.train.data import Corpus, load_samples

KEEP = "keep"  # in `extra` of these samples
KEPT = 20  # times as many samples to draw from as an epoch takes


def kept_samples(config: Mapping[str, Any], own: int, seed: int) -> list[Sample]:
    """Of the samples of data.keep as many as are worth reading beside `own` ones, marked as such."""
    data = config["data"]
    if not data["keep"] or not data["keep_share"]:
        return []
    found = load_samples(data["keep"], config.get("text"))
    most = KEPT * _share(data, own)
    chosen = sorted(np.random.default_rng(seed).permutation(len(found))[:most].tolist())
    return [replace(found[k], extra=found[k].extra | {KEEP: True}) for k in chosen]


def drawn_samples(corpus: Corpus, data: Mapping[str, Any], seed: int, epoch: int) -> list[int]:
    """The samples of an epoch: all that are to be learnt, and those of data.keep that are drawn for it."""
    own = [k for k, sample in enumerate(corpus.samples) if KEEP not in sample.extra]
    kept = [k for k, sample in enumerate(corpus.samples) if KEEP in sample.extra]
    if not kept:
        return own
    drawn = np.random.default_rng((seed, epoch)).permutation(kept)[: _share(data, len(own))]
    return [*own, *sorted(drawn.tolist())]


def _share(data: Mapping[str, Any], own: int) -> int:
    """How many samples make data.keep_share of an epoch with `own` others."""
    return math.ceil(own * data["keep_share"] / (1 - data["keep_share"]))
