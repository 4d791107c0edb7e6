"""Mutates files of every kind that is read, and tells which mutants a reader neither reads nor refuses.

python tests/mutate.py audio --count 2000 --seed 0

A mutant may be read, or refused with InputError, OSError or MemoryError; anything else, and more than SLOW
seconds, is a fault: it is printed, its file is kept in --keep, and the exit status is 1. READERS tells what
is mutated: another kind is another line there.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from carousel.common.errors import InputError

SLOW = 20.0  # s
EXPECTED = (InputError, OSError, MemoryError)
HEADER = 512  # bytes: half of the changes fall in here
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Samples = dict[str, bytes]  # file name -> a good file
Reader = tuple[Callable[[], Samples], Callable[[Path], object]]


def audio() -> Reader:
    from carousel.asr.sound.read import read_audio
    from tests.asr.sound_files import samples

    return samples, read_audio


def picture() -> Reader:
    from carousel.hwr.image.file import read_pages
    from tests.hwr.writing_files import pictures

    def read(path: Path) -> None:
        failed = None
        for _, page in read_pages(path):
            try:
                page()
            except EXPECTED as error:
                failed = error
        if failed:
            raise failed

    return pictures, read


def ink() -> Reader:
    from carousel.hwr.ink.features import extract
    from carousel.hwr.ink.file import read_inks
    from tests.hwr.writing_files import inks

    return inks, lambda path: [extract(strokes, {}) for strokes in read_inks(path)]


def languages() -> Reader:
    from tests.common.language_files import ngrams, read_ngrams

    return ngrams, read_ngrams


def models() -> Reader:
    from tests.common.language_files import models, read_model

    return models, read_model


def words() -> Reader:
    from tests.common.language_files import read_words, words

    return words, read_words


READERS: dict[str, Callable[[], Reader]] = {
    "audio": audio,
    "picture": picture,
    "ink": ink,
    "ngrams": languages,
    "models": models,
    "words": words,
}


def mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed; of half of the safetensors files the description, as changed bytes would not."""
    if data[8:9] == b"{" and rng.random() < 0.5:
        return described(data, rng)
    return changed(data, rng)


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3.5, -0.5, 10**9, 10**400, 1e308, math.inf, -math.inf, math.nan),
    *("", "a", "lstm", "\ud800", "x" * 5000, [], [1], [[]], ["a"], {}, {"a": 1}, [1, 2], "words", "speech"),
)


def described(data: bytes, rng: np.random.Generator) -> bytes:
    """A safetensors file with one or two places in the JSON of its header changed."""
    (size,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + size])
    metadata = table["__metadata__"]
    name = "carousel" if "carousel" in metadata else "model"
    header = json.loads(metadata[name])
    for _ in range(rng.integers(1, 3)):
        places = list(_places(header))
        owner, key = places[int(rng.integers(len(places)))]
        change = rng.integers(4)
        if change == 0 and isinstance(owner, dict):
            owner[str(key) + "x"] = owner.pop(key)
        elif change == 1:
            del owner[key]
        else:
            owner[key] = VALUES[int(rng.integers(len(VALUES)))]
        header = header if header else {"a": 1}
    metadata[name] = json.dumps(header)
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of all that stands in JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """A few changes: bits flipped, a field set, a stretch cut out, doubled or filled, an end cut off."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        size = len(out)
        place = int(rng.integers(min(size, HEADER) if rng.random() < 0.5 else size)) if size else 0
        length = int(rng.integers(1, 1 << int(rng.integers(1, 11))))
        change = rng.integers(6)
        if change == 0:
            for at in rng.integers(place, min(place + 64, size), 4) if place < size else ():
                out[at] ^= 1 << int(rng.integers(8))
        elif change == 1:
            width = int(rng.choice([1, 2, 4]))
            value = int(rng.choice(EXTREMES)) & ((1 << 8 * width) - 1)
            order = "big" if rng.random() < 0.5 else "little"
            out[place : place + width] = value.to_bytes(width, order)
        elif change == 2:
            del out[place : place + length]
        elif change == 3:
            out[place:place] = out[place : place + length]
        elif change == 4:
            out[place : place + length] = rng.bytes(length)
        else:
            del out[int(rng.integers(size + 1)) :]
    return bytes(out)


def fault(read: Callable[[Path], object], path: Path) -> str | None:
    """What is wrong with how a file is read, or None."""
    start = time.monotonic()
    try:
        read(path)
    except EXPECTED:
        pass
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - start
    return f"took {seconds:.0f} s" if seconds > SLOW else None


def faults(kind: str, count: int, seed: int, folder: Path, only: str = "") -> Iterator[tuple[Path, str]]:
    """(mutant, what is wrong) among `count` mutants of each sample; those at fault stay in the folder."""
    make, read = READERS[kind]()
    for name, data in make().items():
        if only not in name:
            continue
        (folder / name).write_bytes(data)
        read(folder / name)  # so that all is compiled and loaded
        for number in range(count):
            path = folder / f"{number}-{name}"
            path.write_bytes(mutant(data, np.random.default_rng((seed, number, len(data)))))
            if wrong := fault(read, path):
                yield path, wrong
            else:
                path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=READERS)
    parser.add_argument("--count", type=int, default=2000, help="mutants of each sample (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="samples with this in their name")
    parser.add_argument("--keep", type=Path, help="folder for mutants at fault (default: a temporary one)")
    args = parser.parse_args()
    keep = args.keep or Path(tempfile.mkdtemp(prefix="mutants-"))
    keep.mkdir(parents=True, exist_ok=True)
    found = 0
    for path, wrong in faults(args.kind, args.count, args.seed, keep, args.only):
        print(f"{path}: {wrong}", flush=True)
        found += 1
    print(f"{args.kind}: {found} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
