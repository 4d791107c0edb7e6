"""From manifests to the batches that training and validation see."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from carousel.common.ctc.loss import frames_needed
from carousel.common.data.batching import pad
from carousel.common.data.manifest import Problems, Sample, check, read_manifest
from carousel.common.errors import InputError
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.written import written

log = logging.getLogger(__name__)

TRIALS = 8  # samples at most, with which augment settings are tried

# read(sample, features, augment, rng, cache) → (frames, size): asr.reader.read or hwr.reader.read
Reader = Callable[..., np.ndarray]


class MemoryCache(dict):
    """A dict of arrays that takes no more once it holds `limit` bytes; the rest is read again each time."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit = self.free = limit

    def __reduce__(self) -> tuple[type, tuple[float]]:
        return MemoryCache, (self.limit,)  # it travels empty to a process that is spawned

    def __setitem__(self, key: Any, value: np.ndarray) -> None:
        if value.nbytes <= self.free:
            self.free -= value.nbytes
            super().__setitem__(key, value)


@dataclass
class Corpus:
    """Samples that can be used, with their targets and unaugmented lengths."""

    samples: list[Sample]
    targets: list[
        np.ndarray
    ]  # (symbols,) int64 indices each; a tensor each would cost spawned workers a file each
    lengths: list[int]  # frames of features each
    read: Callable[[Sample, np.random.Generator | None], np.ndarray] = field(repr=False)


def load_samples(paths: str | Sequence[str], text: Mapping[str, Any] | None = None) -> list[Sample]:
    """Samples of one manifest or of several; those with a fault are named by count and left out.

    text: settings (common.settings.text) of how their texts are to be written.
    """
    names = [paths] if isinstance(paths, str) else list(paths)
    unwritten = Problems()
    read = (sample for name in names for sample in read_manifest(Path(name)))
    samples, problems = check(_written(read, text or {}, unwritten))
    _warn(f"left out of {', '.join(names)}", unwritten)
    _warn(f"left out of {', '.join(names)}", problems)
    if not samples:
        raise InputError(f"{', '.join(names)}: no sample can be used; make the manifest anew")
    return samples


def _written(samples: Iterable[Sample], settings: Mapping[str, Any], left_out: Problems) -> Iterator[Sample]:
    for sample in samples:
        text = written(sample.text, settings)
        if text is None:
            left_out.add("text with characters beside text.keep", sample.where)
        else:
            yield replace(sample, text=text)


def _warn(what: str, problems: Problems) -> None:
    for line in problems.lines():
        log.warning("%s: %s", what, line)


def build_corpus(
    samples: list[Sample],
    alphabet: Alphabet,
    read: Reader,
    features: dict[str, Any],
    augment: dict[str, Any] | None,
    cache: MemoryCache,
    frames_out: Callable[[int], int] | None,
) -> Corpus:
    """Reads every sample once, to know its length and to name those that cannot be read or aligned.

    frames_out: output frames of the network for so many input frames; with it, samples that cannot be aligned
    are left out, too (of training: in validation they count as what they are). A text with a character that
    the alphabet cannot write is kept (its error counts in validation), without that character in its target;
    it is reported.
    """

    one = partial(_read, read, features, augment, cache)
    problems, unknown = Problems(), Problems()
    kept: list[Sample] = []
    targets: list[np.ndarray] = []
    lengths: list[int] = []
    for sample in samples:
        where = f"{sample.where} ({sample.source})" if sample.source else sample.where
        for symbol in alphabet.unknown(sample.text):
            unknown.add(f"character {symbol!r} (U+{ord(symbol):04X}), which the alphabet cannot write", where)
        target = alphabet.encode(alphabet.writable(sample.text))
        try:
            length = len(one(sample, None))
        except InputError as error:
            problems.add("unreadable", f"{sample.where} ({error})")
            continue
        if frames_out is not None and (not target or frames_out(length) < frames_needed(target)):
            problems.add("too short for its text (fewer frames than symbols and repeats)", where)
            continue
        kept.append(sample)
        targets.append(np.array(target, np.int64))
        lengths.append(length)
    _warn("left out", problems)
    _warn("cannot be written", unknown)
    if not kept:
        raise InputError("no sample can be read and aligned: see the lines above")
    if augment:
        some = kept[:: -(-len(kept) // TRIALS)]  # from all over the corpus, as neighbours are often alike
        check_augment(some, read, features, augment, cache)
    return Corpus(kept, targets, lengths, one)


def _read(
    read: Reader,
    features: dict[str, Any],
    augment: dict[str, Any] | None,
    cache: MemoryCache,
    sample: Sample,
    rng: np.random.Generator | None,
) -> np.ndarray:
    """Features of a sample, varied if there is `rng`. Of this module, so that workers can be spawned."""
    return read(sample, features, augment if rng is not None else None, rng, cache)


def check_augment(
    samples: list[Sample],
    read: Reader,
    features: dict[str, Any],
    augment: dict[str, Any],
    cache: MemoryCache,
) -> None:
    """Raises InputError for settings with which no sample can be varied: training would take them all as
    they are."""
    failed: list[InputError] = []
    for k, sample in enumerate(samples):
        for settings in (augment, _certain(augment)):  # each change once, however seldom it is drawn
            try:
                read(sample, features, settings, np.random.default_rng(k), cache)
            except InputError as error:
                failed += [error] if settings is augment else []
            except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
                blamed = _blamed(sample, read, features, augment)
                raise InputError(
                    f"the augment settings cannot be used, {blamed} ({error}): `train --help` tells them"
                ) from error
    if len(failed) == len(samples):
        raise InputError(f"no sample can be varied with these augment settings: {failed[0]}")


def _blamed(sample: Sample, read: Reader, features: dict[str, Any], augment: dict[str, Any]) -> str:
    """The first setting that cannot be used without the others, with its value."""
    for name, block in _certain(augment).items():
        try:
            read(sample, features, {name: block}, np.random.default_rng(0), None)
        except InputError:
            continue
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
            return f"augment.{name}={augment[name]}"
    return "some of them together"


def _certain(augment: dict[str, Any]) -> dict[str, Any]:
    """The same changes, each of them made to every sample."""

    def block(value: Any) -> Any:
        seldom = isinstance(value, Mapping) and 0 < value.get("probability", 0) < 1
        return {**value, "probability": 1} if seldom else value

    return {name: block(value) for name, value in augment.items()}


@dataclass(frozen=True)
class Batch:
    features: Tensor  # (batch, frames, size) float32
    lengths: Tensor  # (batch,) int64
    targets: Tensor  # (sum of target lengths,) int64
    target_lengths: Tensor  # (batch,) int64
    indices: list[int]  # of the samples in the corpus
    unvaried: int = 0  # samples that could not be read when varied


class Batches(Dataset[Batch]):
    """The batches of one epoch; `epoch` None reads the samples as they are."""

    def __init__(self, corpus: Corpus, batches: list[list[int]], seed: int = 0, epoch: int | None = None):
        self.corpus, self.batches, self.seed, self.epoch = corpus, batches, seed, epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, k: int) -> Batch:
        indices = self.batches[k]
        corpus = self.corpus
        found = [self._read(i) for i in indices]
        targets = [corpus.targets[i] for i in indices]
        x, lengths = pad([features for features, _ in found])
        sizes = torch.tensor([len(t) for t in targets])
        joined = torch.from_numpy(np.concatenate(targets))
        return Batch(x, lengths, joined, sizes, indices, sum(plain for _, plain in found))

    def _read(self, index: int) -> tuple[np.ndarray, bool]:
        """The features of a sample, and whether it had to be taken as it is."""
        sample = self.corpus.samples[index]
        try:
            return self.corpus.read(sample, self._rng(index)), False
        except InputError:
            # varied beyond reading (faint ink under much noise, say): build_corpus could read it as it is
            return self.corpus.read(sample, None), True

    def _rng(self, index: int) -> np.random.Generator | None:
        # by sample, not by place in the epoch: the same whatever the batches, the workers and the processes
        # are
        return None if self.epoch is None else np.random.default_rng((self.seed, self.epoch, index))


def loader(dataset: Batches, workers: int) -> DataLoader:
    """Batches in order, read ahead by `workers` processes."""
    return DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
