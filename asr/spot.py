"""`asr spot`: keywords in seconds of recordings, as a line of text, json or CTM."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli import spot as spot_command
from carousel.common.cli.align import Task
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input
from carousel.common.cli.spot import Kind, Place, Room, Spotted, Writer

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.asr.align import Heard
    from carousel.common.ctc.spotting import Detection
    from carousel.common.decoding.align import Spelling
    from carousel.common.model.file import Model

THRESHOLD = 0.85  # best F1 (97.1 %) on AN4's valid part, for 31 words: digits, letters and commands


def kind(suffixes: tuple[str, ...]) -> Kind:
    return Kind(
        program="asr",
        input="recording",
        inputs="recordings",
        example="call.wav",
        suffixes=suffixes,
        writers={"txt": txt, "json": as_json, "ctm": ctm},
        thresholds={"speech": THRESHOLD},
        inner="'’",  # IT'S is one word, and IT is not said in it
        unit="hour",
        part="minutes",
        parts=60,
    )


def spot(args: argparse.Namespace, models: Path, domains: tuple[str, ...], suffixes: tuple[str, ...]) -> int:
    """The command; its options are those of common.cli.spot."""
    failures = Failures()  # recordings that are read and truncated
    truncated: set[str] = set()

    def open_room(tasks: Sequence[Task]) -> Room[Heard]:
        from carousel.asr.align import hear_task, scores_of
        from carousel.asr.features import size
        from carousel.common.model.catalogue import open_model

        model = open_model(args.model, models, domains, args.device, size, args.precision)

        def work(heard: list[Heard]) -> list[Recording]:
            scores = scores_of(model, heard, args.batch_frames)
            return [recording(model, h, s) for h, s in zip(heard, scores, strict=True)]

        def read(task: Task) -> Heard:
            heard = hear_task(task, model, args, failures, silent=True)
            if heard.prepared.truncated:
                truncated.add(task.item.name)
            return heard

        return Room(
            models=[model],
            read=read,
            weigh=lambda heard: heard.prepared.frames,
            work=work,
        )

    own = kind(suffixes)
    writers: dict[str, Writer] = {**own.writers, "json": partial(as_json, truncated=truncated)}
    return spot_command.spot(args, replace(own, writers=writers), open_room) or failures.status


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that the network has read; of common.cli.spot.Scored."""

    model: Model
    heard: Heard
    scores: Sequence[np.ndarray]  # of each window
    log_probs: np.ndarray
    edges: np.ndarray  # (frames + 1,) seconds
    letters: np.ndarray  # frames in which a greedy decoder reads one, rising

    @property
    def amount(self) -> float:
        return self.heard.prepared.duration / 60

    def place(self, at: Detection) -> Place:
        """Start and end as of asr.align, between the letters before it and after it."""
        from carousel.asr.align import word_edges

        edges = self.edges
        before, after = self.letters[self.letters < at.start][-1:], self.letters[self.letters >= at.end][:1]
        spikes = [(edges[i], edges[i], edges[i + 1]) for i in before]
        spikes.append((edges[at.start], edges[at.begin], edges[at.end]))
        spikes += [(edges[i], edges[i], edges[i + 1]) for i in after]
        start, end = word_edges(spikes, self.heard.loudness, self.heard.prepared.duration)[len(before)]
        return float(start), float(end), None

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        from carousel.asr.align import place

        return [(s.start, s.end) for s in place(self.heard, self.scores, spelling, self.model).symbols]


def recording(model: Model, heard: Heard, scores: Sequence[np.ndarray]) -> Recording:
    import numpy as np

    from carousel.asr.align import joined

    log_probs, edges = joined(heard.prepared, scores, model.stride, model.alphabet)
    nothing = [0] if model.alphabet.unknown(" ") else [0, *model.alphabet.encode(" ")]
    letters = np.flatnonzero(~np.isin(log_probs.argmax(axis=1), nothing))
    return Recording(model, heard, scores, log_probs, edges, letters)


def txt(found: list[Spotted], item: Input, model: str) -> str:
    return ", ".join(f"{s.word} {s.start:.2f}-{s.end:.2f} s ({s.score:.2f})" for s in found) + "\n"


def as_json(found: list[Spotted], item: Input, model: str, truncated: Collection[str] = frozenset()) -> str:
    """One JSON object on one line: times in seconds, scores in 0 … 1. truncated: names of inputs that are."""
    rows = [
        {"word": s.word, "start": round(s.start, 3), "end": round(s.end, 3), "score": round(s.score, 4)}
        for s in found
    ]
    return spot_command.as_json(rows, item, model, truncated=item.name in truncated)


def ctm(found: list[Spotted], item: Input, model: str) -> str:
    """NIST CTM with the score as confidence; a keyword of several words is joined by _."""
    name = "_".join(item.stem.split())
    return "".join(
        f"{name} 1 {s.start:.3f} {s.end - s.start:.3f} {'_'.join(s.word.split())} {s.score:.4f}\n"
        for s in found
    )
