"""What the commands, the training and the Python interface need to know of speech, line images and ink.

Each of the three is one `Domain`. The way of an input is the same for all: `open` gives its items, an item is
prepared for the network, and what was prepared knows where in the input a text stands.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from carousel.common.errors import InputError
from carousel.common.files import HEAD, first_bytes

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.ctc.spotting import Detection
    from carousel.common.data.layouts import Found
    from carousel.common.data.manifest import Sample
    from carousel.common.decoding import Box, Hypothesis, Symbol
    from carousel.common.decoding.align import Spelling
    from carousel.common.model.file import Model

    # The number of a page in a file of several, and the function that takes the settings of features, and
    # what is to be read, to what the network takes. It raises InputError.
    Item = tuple[int | None, Callable[[dict[str, Any], "Wanted"], "Prepared"]]
    Source = str | os.PathLike[str] | io.BytesIO | np.ndarray | Sequence[np.ndarray]

SLACK = 0.5  # s by which the last part of a recording may end after it: annotators' programs round


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a recording is to be read; writing is read as a whole."""

    rests: bool = True  # long ones as well
    # Each channel apart, under these names or, if there are none, left and right; None: their mean.
    channels: tuple[str, ...] | None = None


EVERYTHING = Wanted()
TRANSCRIBED = Wanted(rests=False)


@dataclass(frozen=True)
class Domain:
    """One kind of input. What is heavy is in `module`, which is imported when it is first used."""

    name: str  # of the models that read it
    key: str  # of the lines of a manifest that hold it
    suffixes: tuple[str, ...]
    models: Path  # folder of the models that ship
    samples: Path  # folder of the samples that ship
    module: str  # has what Work lists
    threshold: float  # the least score of a keyword
    starts: tuple[bytes, ...] = ()  # of files whose suffix does not tell what they hold
    tells: Callable[[bytes], bool] = lambda head: False  # the same by their first bytes, asked before
    sniff: Callable[[Path], bool] = lambda file: False  # takes a file of a folder in spite of its suffix
    inner: str = ""  # characters that stand inside words, besides letters and digits
    empty: str = "is empty"  # what is said of an input without frames
    layouts: str = "carousel.common.data.layouts"  # has LAYOUTS, in which folders of it may be

    @property
    def work(self) -> Work:
        return cast(Work, importlib.import_module(self.module))


class Work(Protocol):
    """What the module of a domain has."""

    def open(self, source: Any, domain: str, **layout: Any) -> Iterator[Item]:
        """The items of a file, an open file or an array: the pages of a picture file, for example.

        layout: of handwriting whether a picture is a "page" or a "line" (default: told by what it shows).
        Each has to be prepared before the next is asked for. Raises InputError that names the file.
        """

    def length(self, path: Path) -> float | None:
        """Seconds of a recording; None for what has none. Raises InputError for what cannot be opened."""

    def size(self, settings: Mapping[str, Any]) -> int:
        """Features of one frame. Raises InputError for settings that cannot be used."""

    def read(
        self,
        sample: Sample,
        features: Mapping[str, Any],
        augment: Mapping[str, Any] | None = None,
        rng: np.random.Generator | None = None,
        cache: dict[Any, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Features (frames, size) of a sample of a manifest, varied where there is `rng`."""

    def shown(self, sample: Sample) -> tuple[str, bytes]:
        """Media type and bytes of a small file by which a page lets people hear or see a sample. Raises
        InputError."""

    def without_rests(self, array: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
        """Features (frames, size) without long rests: what transcription shows to the network."""


class Prepared(Protocol):
    """An item as the network takes it."""

    @property
    def windows(self) -> Sequence[np.ndarray]:
        """(frames, size) each; the network sees them apart."""

    @property
    def notes(self) -> Sequence[str]:
        """What was done to read it."""

    @property
    def fault(self) -> str:
        """Why it is not whole, or nothing."""

    @property
    def about(self) -> Mapping[str, Any]:
        """As of Transcript."""

    @property
    def amount(self) -> float:
        """How much it is: minutes of sound, or lines."""

    def located(self, found: Sequence[Sequence[Hypothesis]], stride: int, nbest: int) -> list[Hypothesis]:
        """The best texts of all windows together, each once, with the symbols' places in the input."""

    def aligned(self, scores: Sequence[np.ndarray], spelling: Spelling, model: Model) -> Transcript:
        """A known text in its place. scores: (output frames, symbols) of each window, natural logs."""

    def searched(self, scores: Sequence[np.ndarray], model: Model) -> Searched:
        """For spotting."""

    def draw(
        self, scores: np.ndarray, hypothesis: Hypothesis, model: Model, picture: Path, title: str
    ) -> None:
        """Draws the input above the activations of its only window."""


class Searched(Protocol):
    """An item in which keywords are looked for."""

    @property
    def model(self) -> Model: ...

    @property
    def log_probs(self) -> np.ndarray:
        """(output frames, symbols), natural logs, of all windows."""

    @property
    def prepared(self) -> Prepared: ...

    def place(self, at: Detection) -> tuple[float, float, Box | None]:
        """Start and end of a keyword along the input, and its box."""

    def reaches(self, spelling: Spelling) -> list[tuple[float, float]]:
        """Start and end of each piece of a known text, by forced alignment. Raises InputError."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was read of an input.

    readings: best first, at least one (perhaps empty), with seconds of a recording, or boxes of a line in the
    coordinates of the input. about: "duration" (seconds) and "truncated" of a recording, "channels" (names)
    where they were read apart, "domain" of a line.
    Of an alignment, frames: output frames of the network; spikes: those [start, end) in which each symbol
    fires. found: keywords, if these were looked for; their confidence is their score.
    """

    readings: tuple[Hypothesis, ...]
    about: Mapping[str, Any] = field(default_factory=dict)
    spikes: tuple[tuple[int, int], ...] = ()
    frames: int = 0
    found: tuple[Symbol, ...] | None = None

    @property
    def best(self) -> Hypothesis:
        return self.readings[0]

    @property
    def text(self) -> str:
        return self.best.text

    @property
    def words(self) -> list[Symbol]:
        return self.best.words() if self.found is None else list(self.found)

    @property
    def confidence(self) -> float | None:
        """The chance that the whole text is right, in 0 … 1; None where nothing was read."""
        return self.best.confidence


def open_input(source: Source, domains: Sequence[Domain], **layout: Any) -> tuple[Domain, Iterator[Item]]:
    """The domain that a source is of, and its items. Raises InputError.

    A file is told by its suffix, or else by its first bytes; what nothing tells is of the first domain.
    layout: as of Work.open.
    """
    if len(domains) == 1:
        return domains[0], domains[0].work.open(source, domains[0].name, **layout)
    if isinstance(source, list | tuple):
        domain = next(domain for domain in domains if domain.key == "strokes")
        return domain, domain.work.open(source, domain.name, **layout)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        known = [domain for domain in domains if path.suffix.lower() in domain.suffixes]
        if path.is_fifo():  # which can be read once only
            known, source = [], io.BytesIO(path.read_bytes())
            source.name = str(path)  # for messages
        elif not known:
            head = first_bytes(path, HEAD)
    if isinstance(source, io.BytesIO):
        known, head = [], source.getvalue()[:HEAD]
    elif not isinstance(source, str | os.PathLike):
        known = [domains[0]]
    domain = known[0] if known else _told_by(head, domains)
    return domain, domain.work.open(source, domain.name, **layout)


def read_data(path: Path, domains: Sequence[Domain], tier: str | None = None) -> tuple[Domain, Found]:
    """What a folder in any layout holds, or a manifest or other list of samples, and the domain of it.

    tier: the one to be taken of annotations with several. Rows whose file cannot be opened are left out;
    recordings get their "duration" in seconds. Raises InputError that tells what was looked for.
    """
    from carousel.common.data.layouts import Kind, read_folder

    if not path.exists():
        raise InputError(f"{path}: there is no such folder or manifest; correct the path")
    kinds = [Kind(d.key, d.suffixes, importlib.import_module(d.layouts).LAYOUTS) for d in domains]
    found = read_folder(path, kinds, tier)
    domain = next(domain for domain in domains if domain.key == found.key)
    _measure(found, domain)
    return domain, found


def _measure(found: Found, domain: Domain) -> None:
    """Leaves out what cannot be opened, and tells how long the others are."""
    lengths: dict[Any, float | InputError | None] = {}
    kept = []
    for row in found.rows if domain.key != "strokes" else ():
        path = row[domain.key]
        if path not in lengths:
            try:
                lengths[path] = domain.work.length(path)
            except InputError as error:
                lengths[path] = error
        length = lengths[path]
        start = row.get("start", 0.0)
        if isinstance(length, InputError):
            found.leave(length, "cannot be read")
            continue
        if length is not None:
            end = min(row.get("end", length), length)
            if end <= start or row.get("end", 0.0) > length + SLACK:
                found.leave(path, f"part that is not in its recording ({start:g}–{row.get('end', end):g} s)")
                continue
            row["duration"] = round(end - start, 4)
        kept.append(row)
    if domain.key != "strokes":
        found.rows[:] = kept
    if not found.rows:
        raise InputError(f"nothing can be read: {'; '.join(found.faults()[:1])}")


def _told_by(head: bytes, domains: Sequence[Domain]) -> Domain:
    for domain in domains:
        if domain.tells(head):
            return domain
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((domain for domain in domains if head.startswith(domain.starts)), domains[0])
