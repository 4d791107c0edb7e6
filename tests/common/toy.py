"""A corpus that a small network learns in seconds, and the training of it; run as a program for tests that
kill it.

Each character is a run of frames with a bump in the column of its index, so reading it is easy but not
trivial: runs vary in length, and there is noise.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.data.manifest import write_manifest
from carousel.common.train.loop import train

SYMBOLS = "abcd"
SIZE = 6


def read(sample: Any, features: Any, augment: Any = None, rng: Any = None, cache: Any = None) -> np.ndarray:
    """The stroke's points, (x, y) = (symbol, run), as frames."""
    (runs,) = sample.strokes
    frames = np.zeros((int(runs[:, 1].sum()), SIZE), np.float32)
    at = 0
    for symbol, length in runs.astype(int).tolist():
        frames[at : at + length, symbol] = 1
        at += length
    if rng is not None and augment:
        frames += rng.normal(0, augment["noise"], frames.shape).astype(np.float32)
    return frames


def size(features: Any) -> int:
    return SIZE


def make_manifest(path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        text = "".join(rng.choice(list(SYMBOLS), rng.integers(1, 7)))
        # a pause after each symbol: index 4 is nothing's bump, so doubled letters can be told from long ones
        runs = [
            pair for c in text for pair in ((SYMBOLS.index(c), rng.integers(3, 6)), (4, rng.integers(3, 5)))
        ]
        rows.append({"strokes": [np.array(runs, np.float32)], "text": text})
    write_manifest(path, rows)


def settings(folder: Path, **trainer: Any) -> dict[str, Any]:
    """A whole resolved configuration, as conf/base.yaml would give."""
    for name, count, seed in (("train", 120, 1), ("valid", 30, 2)):
        if not (folder / f"{name}.jsonl").exists():
            make_manifest(folder / f"{name}.jsonl", count, seed)
    return {
        "name": "toy",
        "domain": "ink",
        "data": {
            "train": str(folder / "train.jsonl"),
            "valid": [str(folder / "valid.jsonl")],
            "test": None,
            "keep": None,
            "keep_share": 0.25,
        },
        "alphabet": None,
        "seed": 3,
        "init": None,
        "resume": False,
        "decoder": {},
        "vocabulary": "none",
        "card": {"licence": "none"},
        "features": {"kind": "toy"},
        "augment": {"noise": 0.1},
        "network": {"front": "stack", "stride": 2, "hidden": 24, "layers": 2, "dropout": 0.1},
        "optimizer": {
            "kind": "adamw",
            "rate": 0.03,
            "betas": [0.9, 0.98],
            "weight_decay": 0.01,
            "schedule": "cosine",
            "warmup": 0.1,
            "final": 0.05,
            "clip": 5.0,
            "weight_noise": 0.01,
        },
        "trainer": {
            "epochs": 6,
            "schedule_by": "epochs",
            "minutes": None,
            "patience": None,
            "max_frames": 250,
            "max_items": 16,
            "ema": 0.9,
            "validate_every": 1,
            "checkpoint_minutes": 0.0,  # after each step
            "accelerator": "cpu",
            "devices": 1,
            "precision": "32-true",
            "threads": 1,
            "workers": 0,
            "cache_megabytes": 10,
            "tensorboard": False,
            "loggers": None,
            "half": True,
        }
        | trainer,
    }


if __name__ == "__main__":  # python -m tests.common.toy CONFIG.json FOLDER
    train(json.loads(Path(sys.argv[1]).read_text()), read, size, Path(sys.argv[2]))
