"""What the recipes for pen strokes share: rows, their faults, and corpora that are manifests already."""

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from carousel.common.data.manifest import read_manifest
from carousel.common.errors import InputError
from carousel.hwr.ink.features import extract
from carousel.recipes import splits
from carousel.recipes.splits import SPLITS, Row

SUFFIX = ".jsonl.gz"
FRAMES_A_CHARACTER = 2  # ink of fewer frames than this for each character is cut short, or has a wrong label


def prepare(arguments: Namespace) -> None:
    """CORPUS/{split}.jsonl.gz to OUTPUT/{split}.jsonl.gz without what cannot be used.

    Raises InputError, before anything is written, for a file that is not there.
    """
    files = {split: f"{split}{SUFFIX}" for split in SPLITS}
    splits.require(arguments.corpus, files.values())
    write_splits(arguments.output, {split: rows(arguments.corpus / file) for split, file in files.items()})


def rows(manifest: Path) -> Iterable[Row]:
    """The samples of a manifest; whole coordinates are written as whole numbers."""
    for sample in read_manifest(manifest):
        strokes = [compact(stroke) for stroke in sample.strokes or []]
        yield {"strokes": strokes, "text": sample.text, "writer": sample.group, **sample.extra}


def compact(stroke: np.ndarray) -> np.ndarray:
    """The same points (points, 2), as integers where they are whole."""
    finite = bool(np.isfinite(stroke).all())
    whole = stroke.astype(np.int64) if finite else stroke
    return whole if finite and (whole == stroke).all() else stroke


def write_splits(output: Path, parts: Mapping[str, Iterable[Row]]) -> None:
    """Writes OUTPUT/{split}.jsonl.gz and the report.

    Ink too short for its text is left out of train and valid only: a test set stays whole.
    """
    splits.write_splits(
        output,
        parts,
        fault=lambda split, row: fault(row["text"], row["strokes"], strict=split != "test"),
        suffix=SUFFIX,
    )


def fault(text: str, strokes: Sequence[np.ndarray], strict: bool = True) -> str | None:
    """Why a sample cannot be used, or None. strict: also when there is too little ink for the text."""
    if reason := splits.text_fault(text):
        return reason
    if not strokes:
        return "no ink"
    try:
        frames = len(extract(strokes, {})[0])
    except InputError:
        return "coordinates that are not finite numbers"
    if strict and frames < FRAMES_A_CHARACTER * len(text.replace(" ", "")):
        return f"less ink than {FRAMES_A_CHARACTER} frames a character"
    return None
