"""`hwr spot`: keywords in boxes of pictures or ink, as a line of text, json or a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli import spot as spot_command
from carousel.common.cli.align import Task
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input
from carousel.common.cli.spot import Kind, Place, Room, Spotted

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.ctc.spotting import Detection
    from carousel.common.decoding import Symbol
    from carousel.common.decoding.align import Spelling
    from carousel.common.model.file import Model
    from carousel.hwr.recognise import Prepared

    Source = tuple[Model, Prepared]

# Best F1 on valid parts, for words of four letters or more that are in them twice or more often (298 words,
# Copiste lines: 90.6 %) or three times (363 words, UNIPEN lines: 93.4 %).
THRESHOLDS = {"image": 0.44, "ink": 0.43}


def kind(
    suffixes: tuple[str, ...],
    also: Callable[[Path], bool],
    split: Callable[[Iterable[Input], Failures], Iterable[Input]],
) -> Kind:
    return Kind(
        program="hwr",
        input="picture or ink",
        inputs="pictures of lines, or pen strokes",
        example="line.png",
        suffixes=suffixes,
        also=also,
        split=split,
        writers={"txt": txt, "json": as_json, "tsv": tsv},
        thresholds=THRESHOLDS,
        inner="",  # as grep -w: "eau" stands in "l'eau"
        unit="1000 lines",
        part="lines",
        parts=1000,
    )


def spot(
    args: argparse.Namespace,
    suffixes: tuple[str, ...],
    read_source: Callable[[Input], tuple[str, Any]],
    models: Callable[[str], Model],
    needed: Callable[[Sequence[Path | None]], list[Model]],
    also: Callable[[Path], bool],
    split: Callable[[Iterable[Input], Failures], Iterable[Input]],
) -> int:
    """The command; its options are those of common.cli.spot.

    read_source, models, also: as of hwr.align_command.align; needed: the models that files of these names
    are sure to be read with; split: inputs to the pages in them.
    """

    def open_room(tasks: Sequence[Task]) -> Room[Source]:
        from carousel.common.recogniser import log_probs
        from carousel.hwr.recognise import by_model, read_task

        def score(model: Model, lines: list[Source]) -> list[Line]:
            scores = log_probs(model, [prepared.features for _, prepared in lines], args.batch_frames)
            return [Line(model, line, s) for (_, line), s in zip(lines, scores, strict=True)]

        return Room(
            models=needed([task.item.path for task in tasks if task.sample is None]),
            read=lambda task: read_task(task, read_source, models),
            weigh=lambda source: len(source[1].features),
            work=lambda sources: by_model(sources, score),
        )

    return spot_command.spot(args, kind(suffixes, also, split), open_room)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that the network has read; of common.cli.spot.Scored."""

    model: Model
    prepared: Prepared
    log_probs: np.ndarray

    @property
    def amount(self) -> float:
        return 1

    def place(self, at: Detection) -> Place:
        """As of `hwr align`, between the symbols before it and after it that a greedy decoder reads."""
        import numpy as np

        from carousel.common.decoding import Symbol

        read = np.flatnonzero(self.log_probs.argmax(axis=1))
        before, after = read[read < at.start][-1:].tolist(), read[read >= at.end][:1].tolist()
        symbols = [
            *(Symbol("", i, i + 1, 1.0) for i in before),
            Symbol("", at.start, at.end, at.score),
            *(Symbol("", i, i + 1, 1.0) for i in after),
        ]
        start, end = self._spans(symbols)[len(before)]
        return start, end, self.prepared.box(start, end)

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        from carousel.common.decoding.align import align

        return [*self._spans(align(self.log_probs, spelling).symbols)]

    def _spans(self, symbols: Sequence[Symbol]) -> list[tuple[int, int]]:
        from carousel.hwr.recognise import symbol_spans

        return symbol_spans(symbols, len(self.prepared.features), self.model.stride)


def txt(found: list[Spotted], item: Input, model: str) -> str:
    """Each word with left, top, right and bottom in the input's coordinates, and its score."""
    return (
        ", ".join(
            f"{s.word} {','.join(f'{number:.0f}' for number in s.box) if s.box else '?'} ({s.score:.2f})"
            for s in found
        )
        + "\n"
    )


def as_json(found: list[Spotted], item: Input, model: str) -> str:
    """One JSON object on one line: boxes are [left, top, right, bottom] in the input's coordinates."""
    rows = [
        {
            "word": s.word,
            "box": [round(number, 2) for number in s.box] if s.box else None,
            "score": round(s.score, 4),
        }
        for s in found
    ]
    return spot_command.as_json(rows, item, model)


def tsv(found: list[Spotted], item: Input, model: str) -> str:
    """Of each keyword left, top, right and bottom in the input's coordinates, score and text."""
    rows = ["left\ttop\tright\tbottom\tscore\ttext"]
    for s in found:
        box = [f"{number:.2f}" for number in s.box] if s.box else [""] * 4
        rows.append("\t".join([*box, f"{s.score:.4f}", s.word]))
    return "\n".join(rows) + "\n"
