"""What the `prepare.py` of every corpus of pen strokes shares: the command line, checks of samples, and the
report."""

from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.data.manifest import Sample, read_manifest, write_manifest
from carousel.common.errors import InputError
from carousel.hwr.ink.features import extract
from carousel.recipes.command import require

SPLITS = ("train", "valid", "test")
FRAMES_A_CHARACTER = 2  # ink of fewer frames than this for each character is cut short, or has a wrong label


def prepare_manifests(arguments: Namespace) -> None:
    """CORPUS/{split}.jsonl.gz to OUTPUT/{split}.jsonl.gz without what cannot be used; prints the counts.

    Raises InputError, before anything is written, for a file that is not there.
    """
    files = {name: f"{name}.jsonl.gz" for name in SPLITS}
    require(arguments.corpus, files.values())
    splits = {name: map(row, read_manifest(arguments.corpus / file)) for name, file in files.items()}
    write_splits(arguments.output, splits)


def row(sample: Sample) -> dict[str, Any]:
    """The sample as a line of a manifest; whole coordinates are written as whole numbers."""
    strokes = [compact(stroke) for stroke in sample.strokes or []]
    return {"strokes": strokes, "text": sample.text, "writer": sample.group, **sample.extra}


def compact(stroke: np.ndarray) -> np.ndarray:
    """The same points (points, 2), as integers where they are whole."""
    finite = bool(np.isfinite(stroke).all())
    whole = stroke.astype(np.int64) if finite else stroke
    return whole if finite and (whole == stroke).all() else stroke


def write_splits(output: Path, splits: Mapping[str, Iterable[dict[str, Any]]]) -> None:
    """Write OUTPUT/{split}.jsonl.gz, print samples, writers and characters of each, and what was left out and
    why.

    Ink too short for its text is left out of train and valid only: a test set stays whole.
    Raises InputError when a split has no sample, or when a writer is in two splits.
    """
    seen: dict[str, str] = {}
    for name, rows in splits.items():
        left_out: Counter[str] = Counter()
        totals: Counter[str] = Counter()
        writers: set[str] = set()
        path = output / f"{name}.jsonl.gz"
        if not write_manifest(path, _usable(rows, name != "test", left_out, totals, writers)):
            raise InputError(
                f"{path}: no sample of this split can be used; see that CORPUS is the whole corpus"
            )
        for writer in writers:
            if seen.setdefault(writer, name) != name:
                raise InputError(
                    f"{path}: writer {writer} is in {seen[writer]} as well; splits must not share writers"
                )
        print(
            f"{path}: {totals['samples']} samples, {len(writers)} writers, {totals['characters']} characters"
        )
        for reason, count in left_out.most_common():
            print(f"  left out: {count} × {reason}")


def _usable(
    rows: Iterable[dict[str, Any]],
    strict: bool,
    left_out: Counter[str],
    totals: Counter[str],
    writers: set[str],
) -> Iterator[dict[str, Any]]:
    """The rows without fault; counts both kinds."""
    for item in rows:
        reason = fault(item["text"], item["strokes"], strict)
        if reason:
            left_out[reason] += 1
            continue
        totals.update(samples=1, characters=len(item["text"]))
        writers.add(str(item["writer"]))
        yield item


def fault(text: str, strokes: Sequence[np.ndarray], strict: bool = True) -> str | None:
    """Why a sample cannot be used, or None. strict: also when there is too little ink for the text."""
    if not text.strip():
        return "empty text"
    if not text.isprintable():
        return "text with a control character"
    if not strokes:
        return "no ink"
    try:
        frames = len(extract(strokes, {})[0])
    except InputError:
        return "coordinates that are not finite numbers"
    characters = len(text.replace(" ", ""))
    if strict and frames < FRAMES_A_CHARACTER * characters:
        return f"less ink than {FRAMES_A_CHARACTER} frames a character"
    return None
