"""Models at work for many at once: inputs are prepared in threads, and all that wait go through the network
together."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from carousel.common.decoding import Hypothesis, Symbol
from carousel.common.domain import TRANSCRIBED, Domain, Prepared, Transcript, open_input
from carousel.common.errors import InputError
from carousel.common.recogniser import BATCH_FRAMES, recognise, scores_of, transcribe

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.decoding.rescoring import Rescorer
    from carousel.common.model.file import Model

VISIBLE = 0.05  # a symbol that is less probable in a frame is not told
ALIASES = ("", "default", "whisper-1")  # what clients say that know no name of ours


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes. megabytes: of an upload; seconds: that a request may take; requests, live: at
    once; minutes: of sound."""

    megabytes: int = 25
    seconds: float = 60.0
    requests: int = 64
    live: int = 8
    minutes: float = 60.0


@dataclass(frozen=True)
class Site:
    """What a program brings to the server."""

    name: str
    version: str
    domains: tuple[Domain, ...]
    cards: Sequence[Mapping[str, Any]]  # of models, as `catalogue.describe` tells; the first is preferred
    load: Callable[[Path], Model]
    decoding: Callable[[Model, int], dict[str, Any]]  # options of a search for so many texts
    formats: Mapping[str, str]  # suffix of the files of each
    write: Callable[[str, Transcript, str, str, bytes], str | bytes]  # format, …, file, model, upload
    rescorer: Rescorer | None = None
    limits: Limits = field(default_factory=Limits)
    corrections: Path | None = None

    @property
    def sound(self) -> bool:
        return self.domains[0].key == "audio"


class Reading(NamedTuple):
    """What was read of an input. activations: as of `activations`, if they were asked for."""

    transcript: Transcript
    model: str
    notes: Sequence[str]
    activations: list[Any] | None


@dataclass(eq=False, slots=True)
class _Job:
    model: Model
    prepared: Prepared
    nbest: int
    activations: bool
    done: asyncio.Future[Reading]


class Engine:
    """Reads inputs that come at any time. `run` has to be at work."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.batches = self.inputs = 0
        self.sound = 0.0  # seconds that were read
        self._models: dict[str, Model] = {}
        self._options: dict[tuple[int, int], dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._wake = asyncio.Event()
        self._readers = ThreadPoolExecutor(os.cpu_count(), "reader")
        self._network = ThreadPoolExecutor(1, "network")

    async def read(
        self,
        source: io.BytesIO,
        model: str = "",
        nbest: int = 1,
        layout: str | None = None,
        activations: bool = False,
    ) -> Reading:
        """The text of an upload. Raises InputError."""
        loop = asyncio.get_running_loop()
        found, prepared = await loop.run_in_executor(self._readers, self._prepare, source, model, layout)
        job = _Job(found, prepared, nbest, activations, loop.create_future())
        self._waiting.append(job)
        self._wake.set()
        return await job.done

    async def run(self) -> None:
        """Works until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wake.wait()
                jobs = self._together()
                if not jobs:
                    self._wake.clear()
                    continue
                results = await loop.run_in_executor(self._network, self._work, jobs)
                for job, result in zip(jobs, results, strict=True):
                    with suppress(asyncio.InvalidStateError):  # who asked has gone
                        if isinstance(result, Exception):
                            job.done.set_exception(result)
                        else:
                            job.done.set_result(result)
        finally:
            for pool in (self._readers, self._network):
                pool.shutdown(wait=False, cancel_futures=True)

    def warm(self) -> None:
        """Loads the default models, so that the first request does not wait. Raises InputError."""
        for domain in self.site.domains:
            if any(card["domain"] == domain.name for card in self.site.cards):
                model = self._model("", domain)
                for nbest in (1, 2):  # compiles what is compiled, of both searches
                    recognise(model, [np.zeros((100, model.size), np.float32)], **self._asked(model, nbest))

    def card(self, name: str, domain: Domain) -> Mapping[str, Any]:
        """The model of a name, or the default of a domain. Raises InputError."""
        cards = self.site.cards
        fit = [card for card in cards if name in ALIASES and card["domain"] == domain.name]
        if found := fit or [card for card in cards if card["name"] == name]:
            return found[0]
        names = ", ".join(card["name"] for card in cards) or "none"
        what = f"no model of the name {name}" if name not in ALIASES else f"no model for {domain.name}"
        raise InputError(f"there is {what} here; there are: {names}")

    def _model(self, name: str, domain: Domain) -> Model:
        file = self.card(name, domain)["file"]
        with self._lock:
            if file not in self._models:
                self._models[file] = self.site.load(Path(file))
            return self._models[file]

    def _asked(self, model: Model, nbest: int) -> dict[str, Any]:
        key = id(model), nbest
        if key not in self._options:
            self._options[key] = self.site.decoding(model, nbest)
        return self._options[key]

    def _prepare(self, source: io.BytesIO, name: str, layout: str | None) -> tuple[Model, Prepared]:
        given: dict[str, Any] = {"layout": layout} if layout else {}
        if self.site.sound:
            given = {"longest": self.site.limits.minutes * 60}
        domain, items = open_input(source, self.site.domains, **given)
        page, prepare = next(items)
        if page is not None:
            raise InputError("holds several pages; send each by itself")
        model = self._model(name, domain)
        return model, prepare(model.features, TRANSCRIBED)

    def _together(self) -> list[_Job]:
        """The first that waits, and others that fit into a batch with it."""
        waiting = [job for job in self._waiting if not job.done.done()]
        taken: list[_Job] = []
        room = BATCH_FRAMES
        for job in waiting:
            if job.model is waiting[0].model and job.nbest == waiting[0].nbest and (room > 0 or not taken):
                taken.append(job)
                room -= sum(map(len, job.prepared.windows))
        self._waiting = deque(job for job in waiting if job not in taken)
        return taken

    def _work(self, jobs: Sequence[_Job]) -> list[Reading | Exception]:
        """If all together fail, one after the other, so that each has its own error."""
        model, nbest = jobs[0].model, jobs[0].nbest
        try:
            prepared = [job.prepared for job in jobs]
            options = self._asked(model, nbest)
            found = transcribe(model, prepared, BATCH_FRAMES, self.site.rescorer, **options)
            readings = [
                Reading(
                    transcript,
                    model.card["name"],
                    (*job.prepared.notes, *filter(None, [job.prepared.fault])),
                    activations(model, job.prepared) if job.activations else None,
                )
                for job, transcript in zip(jobs, found, strict=True)
            ]
        except Exception as error:
            return [error] if len(jobs) == 1 else [self._work([job])[0] for job in jobs]
        self.batches += 1
        self.inputs += len(jobs)
        self.sound += sum(transcript.about.get("duration", 0.0) for transcript in found)
        return [*readings]


def activations(model: Model, prepared: Prepared) -> list[Any]:
    """Of each output frame where it is (seconds, or x and y, or nothing) and what is probable there:
    [place, {symbol: probability}]; the blank is ""."""
    scores = scores_of(model, [prepared], BATCH_FRAMES)[0]
    # A text with a letter for each frame: it is placed as any other.
    frames = [[Hypothesis(tuple(Symbol("x", i, i + 1, 1.0) for i in range(len(own))), 0.0)] for own in scores]
    placed = [s for s in prepared.located(frames, model.stride, 1)[0].symbols if not s.text.isspace()]
    names = ("", *model.alphabet.symbols)
    sound = "duration" in prepared.about
    rows = (row for own in scores for row in np.exp(own))
    return [
        [
            round(symbol.start, 3) if sound else _middle(symbol),
            {names[i]: round(float(row[i]), 2) for i in np.flatnonzero(row >= VISIBLE)},
        ]
        for symbol, row in zip(placed, rows, strict=True)
    ]


def _middle(symbol: Symbol) -> list[float] | None:
    if symbol.box is None:
        return None
    left, top, right, bottom = symbol.box
    return [round((left + right) / 2, 1), round((top + bottom) / 2, 1)]
