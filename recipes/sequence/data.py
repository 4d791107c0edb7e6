"""Manifests of sequences: features and times as .npy, and what they are to give.

A line is a JSON object. `features`: an .npy file of (frames, size) or (frames,) numbers, its path relative to
the manifest; `times`: one of (frames,) that do not fall, for irregular sampling. By task: `class`, a string;
`labels`, an .npy file of (frames,) whole numbers from 0 on; `symbols`, a list of strings. A forecast needs
nothing else; `anomalies`, a list of [from, to) in frames, is what its scores are measured by.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from carousel.common.errors import InputError
from carousel.common.text.file import UNREADABLE

KEYS = {"classify": "class", "label": "labels", "ctc": "symbols"}  # of what a task learns


class Sequence(NamedTuple):
    """A line of a manifest."""

    where: str  # for messages: manifest and line
    x: np.ndarray  # (frames, size) float32
    gaps: np.ndarray | None  # (frames,) time since the frame before, 0 at the first
    target: Any  # a string, (frames,) int64, or a list of strings; None for a forecast
    anomalies: list[tuple[int, int]]


def read(manifest: str | Path, task: str, timed: bool) -> list[Sequence]:
    """All sequences of a manifest. timed: whether times are needed.

    Raises InputError for what cannot be used, with the line.
    """
    path = Path(manifest)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as a manifest ({error})") from None
    found = []
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f"{where}: is not a JSON object, as a manifest has one a line")
        found.append(_sequence(where, path.parent, row, task, timed))
    if not found:
        raise InputError(f"{path}: holds no sequences")
    sizes = {one.x.shape[1]: one.where for one in reversed(found)}
    if len(sizes) > 1:
        told = ", ".join(f"{size} at {where}" for size, where in sorted(sizes.items()))
        raise InputError(f"{path}: sequences have frames of different sizes ({told})")
    return found


def pieces(one: Sequence, window: int) -> list[Sequence]:
    """A sequence of labels or of nothing, cut into pieces of at most so many frames."""
    return [
        one._replace(
            x=one.x[start : start + window],
            gaps=None if one.gaps is None else one.gaps[start : start + window],
            target=None if one.target is None else one.target[start : start + window],
            anomalies=[],
        )
        for start in range(0, len(one.x), window)
    ]


def _sequence(where: str, folder: Path, row: Mapping[str, Any], task: str, timed: bool) -> Sequence:
    x = _array(where, folder, row, "features")
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise InputError(f"{where}: features must be (frames, size) finite numbers, not {x.shape}")
    gaps = None
    if timed:
        times = _array(where, folder, row, "times")
        gaps = np.diff(times, prepend=times[:1]) if times.ndim == 1 else times
        if gaps.shape != x.shape[:1] or not (gaps >= 0).all():
            raise InputError(f"{where}: times must be {len(x)} numbers that do not fall, one a frame")
    target = _target(where, folder, row, task, len(x))
    return Sequence(where, x.astype(np.float32), gaps, target, _spans(where, row, len(x)))


def _array(where: str, folder: Path, row: Mapping[str, Any], key: str) -> np.ndarray:
    if not isinstance(row.get(key), str):
        raise InputError(f"{where}: lacks {key}, the path of an .npy file")
    path = folder / row[key]
    try:
        array = np.load(path, allow_pickle=False)
        if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
            raise ValueError(f"{array.dtype}, not real numbers")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{where}: {path} cannot be read as .npy ({error})") from None
    return array


def _target(where: str, folder: Path, row: Mapping[str, Any], task: str, frames: int) -> Any:
    if task not in KEYS or KEYS[task] not in row:
        return None
    if task == "label":
        labels = _array(where, folder, row, "labels")
        if labels.shape != (frames,) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise InputError(f"{where}: labels must be {frames} whole numbers from 0 on, one a frame")
        return labels.astype(np.int64)
    target = row[KEYS[task]]
    if task == "classify" and not isinstance(target, str):
        raise InputError(f"{where}: class must be a string, not {target!r}")
    if task == "ctc" and not (isinstance(target, list) and all(isinstance(one, str) for one in target)):
        raise InputError(f"{where}: symbols must be a list of strings, not {target!r}")
    return target


def _spans(where: str, row: Mapping[str, Any], frames: int) -> list[tuple[int, int]]:
    try:
        spans = [(int(start), int(end)) for start, end in row.get("anomalies", ())]
    except (TypeError, ValueError):
        spans = [(0, 0)]
    if not all(0 <= start < end <= frames for start, end in spans):
        raise InputError(f"{where}: anomalies must be pairs [from, to) of the {frames} frames")
    return spans
