"""`asr align`: words and letters of known texts in seconds, as CTM, Praat TextGrid, json or subtitles."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli import align as align_command
from carousel.common.cli import runner as command
from carousel.common.cli.align import Task
from carousel.common.cli.failures import Failures

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.asr.align import Aligned, Heard
    from carousel.asr.transcribe import Timed
    from carousel.common.decoding.align import Spelling

    Source = tuple[Heard, Spelling]
    Scored = tuple[Heard, Spelling, list[np.ndarray]]

FORMATS = ("ctm", "textgrid", "json", "srt", "vtt", "tsv")


def align(args: argparse.Namespace, models: Path, domains: tuple[str, ...], suffixes: tuple[str, ...]) -> int:
    """The command; its options are those of common.cli.align."""
    failures = Failures()
    tasks = align_command.tasks(args, suffixes, "recording", failures)
    if not tasks:
        return failures.status
    emit = command.emitter([task.item for task in tasks], args)

    from carousel.asr.align import hear_task, place, scores_of
    from carousel.asr.features import size
    from carousel.common.model.catalogue import open_model

    model = open_model(args.model, models, domains, args.device, size, args.precision)

    def read(task: Task) -> Source:
        spelling = align_command.spell_task(task, model.alphabet, args)
        return hear_task(task, model, args, failures), spelling

    def work(sources: list[Source]) -> list[Scored]:
        scores = scores_of(model, [heard for heard, _ in sources], args.batch_frames)
        return [(*source, own) for source, own in zip(sources, scores, strict=True)]

    def write(task: Task, scored: Scored) -> None:
        heard, spelling, scores = scored
        name = task.item.stem if args.format == "ctm" else task.item.name
        emit(
            task.item, write_as(args.format)(place(heard, scores, spelling, model), name, model.card["name"])
        )

    align_command.run(tasks, read, work, write, failures, lambda source: source[0].prepared.frames, args)
    return failures.status


def write_as(form: str) -> Callable[[Aligned, str, str], str]:
    """From an alignment, the recording's name and the model's to the text of a file."""
    if form in OWN:
        return OWN[form]
    from carousel.asr.formats import FORMATS as WRITERS

    return lambda aligned, name, model: WRITERS[form](aligned.transcript, name, model)


def as_json(aligned: Aligned, name: str, model: str) -> str:
    """One JSON object on one line: times in seconds, confidences in 0 … 1, `frames` the network's."""
    best = aligned.transcript.best
    whole = {
        "file": name,
        "model": model,
        "duration": round(aligned.duration, 3),
        "truncated": aligned.truncated,
        "text": best.text,
        "confidence": round(best.confidence or 0.0, 4),
        "score": round(aligned.score, 4),
        "score_per_frame": round(aligned.score / aligned.frames, 4),
        "words": [_timed(word) for word in aligned.words],
        "symbols": [
            {**_timed(symbol), "frames": list(spike)}
            for symbol, spike in zip(aligned.symbols, aligned.spikes, strict=True)
        ],
    }
    return json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n"


def _timed(item: Timed) -> dict[str, object]:
    times = {"start": round(item.start, 3), "end": round(item.end, 3)}
    return {"text": item.text, **times, "confidence": round(item.confidence, 4)}


def textgrid(aligned: Aligned, name: str, model: str) -> str:
    """Praat's TextGrid, the long form, with interval tiers `words` and `characters`; pauses are empty."""
    letters = [symbol for symbol in aligned.symbols if not symbol.text.isspace()]
    tiers = (("words", aligned.words), ("characters", letters))
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {aligned.duration:.6f}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (tier, items) in enumerate(tiers, start=1):
        intervals = list(_without_gaps(items, aligned.duration))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{tier}"',
            "        xmin = 0",
            f"        xmax = {aligned.duration:.6f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for i, (start, end, text) in enumerate(intervals, start=1):
            quoted = text.replace('"', '""')
            lines += [
                f"        intervals [{i}]:",
                f"            xmin = {start}",
                f"            xmax = {end}",
                f'            text = "{quoted}"',
            ]
    return "\n".join(lines) + "\n"


def _without_gaps(items: Iterable[Timed], duration: float) -> Iterable[tuple[str, str, str]]:
    """(start, end, text) of items and of what is between them, as Praat wants it; none is empty of time."""
    at, last = f"{0:.6f}", f"{duration:.6f}"
    for item in items:
        start, end = f"{item.start:.6f}", f"{item.end:.6f}"
        if float(start) > float(at):
            yield at, start, ""
        yield start, end, item.text
        at = end
    if float(at) < float(last):
        yield at, last, ""


OWN: dict[str, Callable[[Aligned, str, str], str]] = {"json": as_json, "textgrid": textgrid}
