"""Frames with their phones, for recipes.sequence: python -m carousel.recipes.phones.frames MANIFEST OUTPUT

Framewise phone classification (Graves & Schmidhuber 2005). The phone of each frame is that of `phones` in the
manifest, [phone, from, to] in seconds, as the recipe timit writes it; or that of the forced alignment of the
text by --model, each phone lasting until the next begins. Features are those of the model, or 13 cepstra with
deltas. OUTPUT.jsonl is a manifest for task=label, OUTPUT/ holds its arrays.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from carousel.asr.domain import SPEECH
from carousel.asr.features import frame_stride
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import show
from carousel.common.ctc.loss import forced_align
from carousel.common.data.manifest import Sample, read_manifest
from carousel.common.errors import InputError
from carousel.common.files import atomic_text
from carousel.common.model.catalogue import open_model
from carousel.common.model.file import Model
from carousel.common.recogniser import log_probs
from carousel.common.settings.features import Mfcc
from carousel.common.settings.field import defaults
from carousel.recipes.phones import phones_of, written

OPTIONS: dict[str, dict[str, Any]] = {
    "manifest": {"help": "recordings with texts of phones"},
    "output": {"type": Path, "help": "OUTPUT.jsonl and OUTPUT/ are written"},
    "--model": {"metavar": "M", "help": "a model of phones that aligns them"},
    "--phones": {
        "metavar": "FILE",
        "help": "list of the phones, the number of each; made where it is missing",
    },
    "--fold": {"action": "store_true", "help": "39 classes; a glottal stop is silence"},
}
SILENCE = "sil"
PLAIN = defaults(Mfcc)


def prepare(arguments: Namespace) -> None:
    """Raises InputError for a manifest or model that cannot be used, and for phones that are not listed."""
    model = open_model(arguments.model, SPEECH.models, (SPEECH.name,)) if arguments.model else None
    settings = model.features if model else PLAIN
    samples = list(read_manifest(arguments.manifest))
    arrays = [SPEECH.work.read(sample, settings) for sample in samples]
    stride = frame_stride(settings)
    if model:
        spans = [
            aligned(scores, sample, model, len(array) * stride)
            for scores, sample, array in zip(log_probs(model, arrays), samples, arrays, strict=True)
        ]
    else:
        spans = [list(_timed(sample)) for sample in samples]
    named = [
        labels(several, len(array), stride, arguments.fold)
        for several, array in zip(spans, arrays, strict=True)
    ]
    known = _numbers(Path(arguments.phones or f"{arguments.output}.phones"), named)
    _write(arguments.output, arrays, [[known[name] for name in row] for row in named])
    frames = sum(map(len, arrays))
    show(f"{arguments.output}.jsonl: {len(samples)} utterances, {frames} frames, {len(known)} phones")


def _numbers(path: Path, named: list[list[str]]) -> dict[str, int]:
    """The number of each phone: its line in the file, which is made of these if it is not there."""
    names = {name for row in named for name in row}
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(sorted(names)) + "\n", encoding="utf-8")
    known = {name: number for number, name in enumerate(path.read_text(encoding="utf-8").split())}
    if strange := names - known.keys():
        raise InputError(f"{path}: does not list {', '.join(sorted(strange))}")
    return known


def _write(output: Path, arrays: list[np.ndarray], numbers: list[list[int]]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    with atomic_text(output.with_name(output.name + ".jsonl")) as file:
        for number, (array, row) in enumerate(zip(arrays, numbers, strict=True)):
            paths = {key: f"{output.name}/{number:05d}-{key}.npy" for key in ("features", "labels")}
            np.save(output.parent / paths["features"], array)
            np.save(output.parent / paths["labels"], np.array(row))
            file.write(json.dumps(paths) + "\n")


def aligned(
    scores: np.ndarray, sample: Sample, model: Model, seconds: float
) -> list[tuple[str, float, float]]:
    """(phone, from, to) in seconds: from where each begins to where the next does, the last one as long as it
    is seen. scores: (frames, symbols) log-probabilities; seconds: how long the recording is."""
    spans = forced_align(scores, model.alphabet.encode(sample.text))
    starts = [span.start for span in spans]
    stride = seconds / len(scores)
    return [
        (phone, start * stride, end * stride)
        for phone, start, end in zip(
            phones_of(sample.text), starts, [*starts[1:], spans[-1].end], strict=True
        )
    ]


def _timed(sample: Sample) -> Iterator[tuple[str, float, float]]:
    if not sample.extra.get("phones"):
        raise InputError(f"{sample.where}: lacks phones with their times; give a --model that aligns them")
    for phone, start, end in sample.extra["phones"]:
        yield written([phone]).lower(), start, end


def labels(spans: list[tuple[str, float, float]], frames: int, stride: float, fold: bool) -> list[str]:
    """The phone in the middle of each frame, which `stride` seconds part; silence where there is none."""
    found = [SILENCE] * frames
    for phone, start, end in spans:
        first, last = (max(0, round(time / stride)) for time in (start, end))
        name = (phones_of(phone.capitalize(), fold=True) or [SILENCE])[0] if fold else phone
        found[first:last] = [name] * (min(last, frames) - min(first, frames))
    return found


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
