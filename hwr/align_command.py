"""`hwr align`: words and letters of known texts in pictures of lines or in ink, as json or a table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli import align as align_command
from carousel.common.cli import runner as command
from carousel.common.cli.align import Task
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.decoding import Hypothesis
    from carousel.common.decoding.align import Spelling
    from carousel.common.model.file import Model
    from carousel.hwr.recognise import Line, Prepared

    Source = tuple[Model, Prepared, Spelling]

FORMATS = ("json", "tsv")


def align(
    args: argparse.Namespace,
    suffixes: tuple[str, ...],
    read_source: Callable[[Input], tuple[str, Any]],
    models: Callable[[str], Model],
    also: Callable[[Path], bool],
) -> int:
    """The command; its options are those of common.cli.align.

    read_source: ("image", picture) or ("ink", strokes) of an input; models: the
    model for "image" or "ink"; also: whether a file of a folder is ink though its suffix does not tell.
    """
    failures = Failures()
    tasks = align_command.tasks(args, suffixes, "picture or ink", failures, also)
    if not tasks:
        return failures.status
    emit = command.emitter([task.item for task in tasks], args)

    from carousel.common.decoding.align import align as align_text
    from carousel.common.recogniser import log_probs
    from carousel.hwr.recognise import by_model, line_of, read_task

    if args.model:
        models("any")  # a model that cannot be used is told once, not for each input

    def read(task: Task) -> Source:
        model, prepared = read_task(task, read_source, models)
        return model, prepared, align_command.spell_task(task, model.alphabet, args)

    def work(sources: list[Source]) -> list[tuple[Source, np.ndarray]]:
        return by_model(sources, score)

    def score(model: Model, sources: list[Source]) -> list[tuple[Source, np.ndarray]]:
        scores = log_probs(model, [prepared.features for _, prepared, _ in sources], args.batch_frames)
        return list(zip(sources, scores, strict=True))

    def write(task: Task, scored: tuple[Source, np.ndarray]) -> None:
        (model, prepared, spelling), scores = scored
        hypothesis = align_text(scores, spelling)
        line = line_of(prepared, [hypothesis], model)
        text = WRITERS[args.format](line, hypothesis, len(scores), task.item.name, model.card["name"])
        emit(task.item, text)

    align_command.run(tasks, read, work, write, failures, lambda source: len(source[1].features), args)
    return failures.status


def as_json(line: Line, found: Hypothesis, frames: int, name: str, model: str) -> str:
    """As `hwr recognise` writes it, with the score of a frame, and of each symbol the network's frames."""
    from carousel.hwr.formats import as_json as recognised

    whole = json.loads(recognised(line, name, model))
    del whole["nbest"]
    whole["score_per_frame"] = round(found.score / frames, 4)
    for row, symbol in zip(whole["symbols"], found.symbols, strict=True):
        row["frames"] = [symbol.start, symbol.end]
    return json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n"


def tsv(line: Line, found: Hypothesis, frames: int, name: str, model: str) -> str:
    """Of each word left, top, right and bottom in the input's coordinates, confidence and text."""
    rows = ["left\ttop\tright\tbottom\tconfidence\ttext"]
    for word in line.best.words:
        box = [f"{number:.2f}" for number in word.box] if word.box else [""] * 4
        rows.append("\t".join([*box, f"{word.confidence:.4f}", word.text]))
    return "\n".join(rows) + "\n"


WRITERS = {"json": as_json, "tsv": tsv}
