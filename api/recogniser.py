"""The Python interface: a model, and what it reads. `carousel.load` opens one."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from carousel.asr.domain import SPEECH
from carousel.asr.live import Live
from carousel.common.cli.decoding import asked
from carousel.common.decoding import Symbol
from carousel.common.decoding.align import spell
from carousel.common.decoding.rescoring import open_rescorer
from carousel.common.domain import EVERYTHING, TRANSCRIBED, Domain, Prepared, Transcript, Wanted, open_input
from carousel.common.errors import InputError, named
from carousel.common.model.catalogue import describe, find_model, open_model
from carousel.common.model.file import Model
from carousel.common.model.names import model_files
from carousel.common.options import Decoding
from carousel.common.recogniser import BATCH_FRAMES, scores_of, transcribe
from carousel.common.spotting import Finder
from carousel.hwr.domain import IMAGE, INK

DEFAULTS = {"speech": SPEECH, "lines": IMAGE, "image": IMAGE, "ink": INK}
HANDWRITING = (IMAGE, INK)

# A file by its path or its bytes, a wave (samples,), a picture (rows, columns), or strokes (points, 2) each.
Source = str | os.PathLike[str] | bytes | np.ndarray | Sequence[np.ndarray]


class Recogniser:
    """A model that reads recordings, line images or pen strokes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.domain: Domain = next(d for d in DEFAULTS.values() if d.name == model.domain)

    @classmethod
    def load(cls, name: str | os.PathLike[str], device: str = "auto", precision: str = "auto") -> Recogniser:
        """As `carousel.load`."""
        if isinstance(name, str) and name in DEFAULTS:
            domain, choice = DEFAULTS[name], None
        else:
            path = _find(os.fspath(name))
            domain, choice = DEFAULTS[describe(path)["domain"]], str(path)
        return cls(open_model(choice, domain.models, (domain.name,), device, domain.work.size, precision))

    def transcribe(
        self,
        source: Source,
        options: Decoding | None = None,
        *,
        sample_rate: int | None = None,
        beam: int | None = None,
        nbest: int | None = None,
        lm: str | os.PathLike[str] | None = None,
        hotwords: str | os.PathLike[str] | Sequence[str] | None = None,
        layout: str | None = None,
        channels: Sequence[str] | None = None,
    ) -> Transcript:
        """The text of a source, with its words in their places.

        Of a page the text has its lines, parted by line breaks; layout: whether a picture is a "page" or a
        "line" (default: told by what it shows).
        sample_rate: of a wave (default: the model's). beam, nbest, lm and hotwords (a file, or the words) go
        before those of `options`, which has all that the command line has. channels: names for the channels
        of a file, which are then read apart; () for left and right.
        Raises InputError, one sentence that names the file, for what cannot be read or used.
        """
        given: dict[str, Any] = {"beam": beam, "nbest": nbest, "lm": lm, "hotwords": hotwords}
        with ExitStack() as stack:
            if hotwords is not None and not isinstance(hotwords, str | os.PathLike):
                given["hotwords"] = stack.enter_context(_WordList(hotwords))
            wanted = replace(options or Decoding(), **{k: v for k, v in given.items() if v is not None})
            decoding = asked(wanted, self.model)
            rescorer = open_rescorer(
                None if wanted.rescore is None else Path(wanted.rescore),
                wanted.rescore_weight,
                wanted.rescore_bonus,
            )
            apart = None if channels is None else tuple(channels)
            prepared = self._prepare(source, sample_rate, replace(TRANSCRIBED, channels=apart), layout)
            (found,) = transcribe(self.model, [prepared], BATCH_FRAMES, rescorer, **decoding)
        return found

    recognise = transcribe

    def align(
        self, source: Source, text: str, *, skip_unknown: bool = False, sample_rate: int | None = None
    ) -> Transcript:
        """A known text, each word and symbol where it is. Raises InputError where it does not fit.

        skip_unknown: characters that the model cannot write take no time, instead of being an error.
        """
        spelling = spell(text, self.model.alphabet, skip_unknown)
        prepared = self._prepare(source, sample_rate)
        if not any(map(len, prepared.windows)):
            raise InputError(f"{_name(source)}: {self.domain.empty}, so no text can be aligned with it")
        (scores,) = scores_of(self.model, [prepared], BATCH_FRAMES)
        return prepared.aligned(scores, spelling, self.model)

    def spot(
        self,
        source: Source,
        words: Sequence[str],
        *,
        threshold: float | None = None,
        inside: bool = False,
        sample_rate: int | None = None,
    ) -> list[Symbol]:
        """Where the words are, in their order along the input; the confidence of each is its score.

        threshold: the least score (default: that of the domain); inside: find words inside longer ones, too.
        """
        find = Finder([words] if isinstance(words, str) else words, self.domain.inner, inside)
        find.check([self.model])
        prepared = self._prepare(source, sample_rate)
        (scores,) = scores_of(self.model, [prepared], BATCH_FRAMES)
        least = self.domain.threshold if threshold is None else threshold
        return find(prepared.searched(scores, self.model), least)

    def stream(
        self, options: Decoding | None = None, *, sample_rate: int | None = None, delay: float | None = None
    ) -> Stream:
        """A recording that comes block by block. delay: seconds that are heard after a sound before what it
        says settles (1.5 is a good one); None: it is read as a whole when it is closed, which reads best."""
        if self.domain is not SPEECH:
            raise InputError(f"a model for {self.domain.name} reads no stream of sound; load one for speech")
        return Stream(self, options, sample_rate, delay)

    def _prepare(
        self,
        source: Source,
        sample_rate: int | None,
        wanted: Wanted = EVERYTHING,
        layout: str | None = None,
    ) -> Prepared:
        name = _name(source)
        try:
            domains = (SPEECH,) if self.domain is SPEECH else HANDWRITING
            if layout not in (None, "page", "line") or (layout and self.domain is SPEECH):
                raise InputError(f'layout is {layout!r}; of a picture it is "page", "line" or None')
            given = {"layout": layout} if layout else {}
            _, items = open_input(self._opened(source, sample_rate), domains, **given)
            page, prepare = next(items)
            if page is not None:
                raise InputError("holds several pages, of which each should be a file of its own")
            prepared = prepare(self.model.features, wanted)
        except InputError as error:
            raise InputError(named(str(error), name)) from None
        if prepared.fault:
            warnings.warn(f"{name}: {prepared.fault}, which are read", stacklevel=3)
        return prepared

    def _opened(self, source: Source, sample_rate: int | None) -> Any:
        """A source as `open_input` takes it."""
        if isinstance(source, bytes):
            return io.BytesIO(source)
        if isinstance(source, np.ndarray):
            if self.domain is SPEECH:
                return _wave(source, sample_rate, self.model.features["sample_rate"])
            if source.ndim != 2 or source.dtype != np.uint8:
                raise InputError("a picture must be grey, an array (rows, columns) of uint8")
            return source
        if isinstance(source, list | tuple):
            return [np.asarray(stroke, np.float32).reshape(-1, 2) for stroke in source]
        return source


class Stream:
    """A recording that is fed block by block; its transcript is there when it is closed."""

    def __init__(
        self,
        recogniser: Recogniser,
        options: Decoding | None,
        sample_rate: int | None,
        delay: float | None = None,
    ) -> None:
        self.recogniser, self.options, self.sample_rate, self.delay = recogniser, options, sample_rate, delay
        self._begin()

    def _begin(self) -> None:
        self._blocks: list[np.ndarray] = []
        self._live: Live | None = None
        self._resample: Any = None
        if self.delay is None:
            return
        model = self.recogniser.model
        self._live = Live(model, asked(self.options or Decoding(), model), self.delay)
        if self.sample_rate not in (None, self._live.rate):
            import soxr

            self._resample = soxr.ResampleStream(self.sample_rate, self._live.rate, 1, dtype="float32")

    @property
    def settled(self) -> str:
        """The text that stays; it only grows. Without a delay there is none before the end."""
        return self._live.settled if self._live else ""

    @property
    def text(self) -> str:
        """All that was understood so far, of which what follows the settled text may change."""
        return self._live.text if self._live else ""

    def feed(self, block: np.ndarray) -> None:
        """block: (samples,), the next of the recording, floats in -1 … 1 or int16."""
        if self._live is None:
            self._blocks.append(np.array(block))
            return
        wave = _wave(block, None, self._live.rate)
        self._live.feed(self._resample.resample_chunk(wave) if self._resample else wave)

    def close(self) -> Transcript:
        """The transcript of all that was fed. The stream is empty after it."""
        live, blocks, resample = self._live, self._blocks, self._resample
        if not blocks and not (live and live.heard):
            raise InputError("nothing was fed to the stream, so there is nothing to transcribe")
        self._begin()
        if live is None:
            whole = np.concatenate(blocks)
            return self.recogniser.transcribe(whole, self.options, sample_rate=self.sample_rate)
        if resample:
            live.feed(resample.resample_chunk(np.zeros(0, np.float32), last=True))
        return live.close()


class _WordList:
    """A file of words for as long as a `with` block lasts, as the decoder takes files."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    def __enter__(self) -> str:
        number, self.path = tempfile.mkstemp(suffix=".txt", text=True)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.writelines(f"{word}\n" for word in self.words)
        return self.path

    def __exit__(self, *_: object) -> None:
        os.unlink(self.path)


def _find(choice: str) -> Path:
    """The file of a model: a path, the folder of a run, or the name of one that ships."""
    for folder in (SPEECH.models, IMAGE.models):
        try:
            return find_model(choice, folder)
        except InputError:
            continue
    names = [file.stem for folder in (SPEECH.models, IMAGE.models) for file in model_files(folder)]
    raise InputError(
        f"{choice}: there is no such model file, and no model of this name ships; there are "
        f"{', '.join([*DEFAULTS, *names])}"
    )


def _wave(array: np.ndarray, rate: int | None, wanted: int) -> np.ndarray:
    """(samples,) float32 in [-1, 1] at the rate wanted, of floats or of integers of 16 bits."""
    if array.ndim != 1 or not (array.dtype == np.int16 or np.issubdtype(array.dtype, np.floating)):
        raise InputError("a wave must be an array (samples,) of floats in -1 … 1 or of int16")
    wave = array.astype(np.float32) / (32768 if array.dtype == np.int16 else 1)
    if not np.isfinite(wave).all():
        raise InputError("the wave holds NaN or infinite values")
    if rate is None or rate == wanted:
        return wave
    import soxr

    return soxr.resample(wave, rate, wanted)


def _name(source: Source) -> str:
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the input"
