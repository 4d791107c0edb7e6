"""MNIST: strings of handwritten digits.

CORPUS is either a folder of strings that are composed already (train.jsonl, valid.jsonl, test.jsonl beside
lines/), or MNIST as published: the idx files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…,
gzipped or not). From these, strings of 3 to 8 digits are composed into OUTPUT/lines: train from the first
55,000 training digits, valid from the last 5,000, test from the official test digits. Every digit is used
once before any is used again, and the same corpus gives the same pictures. MNIST does not say who wrote a
digit, so neither do the manifests.
"""

import gzip
import zlib
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from carousel.common.cli import options
from carousel.common.errors import InputError
from carousel.recipes import images
from carousel.recipes.splits import SPLITS, Row, find_file, listed_images, require

COUNT = {"type": options.count, "help": "strings to compose (default: %(default)s)"}
OPTIONS = {
    "--train": {**COUNT, "default": 6000},
    "--valid": {**COUNT, "default": 500},
    "--test": {**COUNT, "default": 600},
    "--seed": {
        "type": options.number(0, kind=int),
        "default": 1,
        "help": "of the composition (default: %(default)s)",
    },
}
VALID_SHARE = 12  # one training digit in so many is kept for valid: 5,000 of MNIST's 60,000
LENGTHS = (3, 8)  # digits in a string, both ends included
HEIGHT = 32  # pixels of a line; a digit has 28
GAPS = (-1, 6)  # pixels of paper between the ink of two digits, below 0 they touch
IMAGES, LABELS = 0x0803, 0x0801  # magic numbers: unsigned bytes in three dimensions, and in one


def prepare(arguments: Namespace) -> None:
    """Writes the manifests, and the pictures where they are composed here."""
    corpus, output = arguments.corpus, arguments.output
    if not corpus.is_dir():
        raise InputError(f"{corpus}: there is no such folder")
    if (corpus / "train.jsonl").is_file():
        files = {name: f"{name}.jsonl" for name in SPLITS}
        require(corpus, files.values())
        splits = {name: list(listed_images(corpus / file)) for name, file in files.items()}
    else:
        splits = _compose_all(corpus, output, arguments)
    images.write_splits(output, splits)


def _compose_all(corpus: Path, output: Path, arguments: Namespace) -> dict[str, list[Row]]:
    digits, labels = read_digits(corpus, "train")
    held_out = max(1, len(digits) // VALID_SHARE)
    parts = {
        "train": (digits[:-held_out], labels[:-held_out], arguments.train),
        "valid": (digits[-held_out:], labels[-held_out:], arguments.valid),
        "test": (*read_digits(corpus, "t10k"), arguments.test),
    }
    from PIL import Image  # late, for --help

    (output / "lines").mkdir(parents=True, exist_ok=True)
    splits: dict[str, list[Row]] = {name: [] for name in parts}
    for seed, (name, part) in enumerate(parts.items()):
        strings = compose(*part, np.random.default_rng([arguments.seed, seed]))
        for number, (line, text) in enumerate(strings):
            path = output / "lines" / f"{name}_{number:05d}.png"
            Image.fromarray(line).save(path)
            splits[name].append({"image": path, "text": text})
    return splits


def compose(
    digits: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, str]]:
    """`count` strings of random digits: (line (HEIGHT, width) uint8 dark on white, text).

    digits: (n, rows, columns) uint8, 0 paper ... 255 ink; labels: (n,)
    """
    order: list[int] = []
    for _ in range(count):
        length = int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))
        while len(order) < length:
            order += rng.permutation(len(digits)).tolist()
        chosen, order = order[:length], order[length:]
        yield _line([digits[i] for i in chosen], rng), "".join(str(labels[i]) for i in chosen)


def _line(digits: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """(HEIGHT, width) uint8: digits with gaps between their ink, each a little higher or lower."""
    trimmed = [_trim(digit) for digit in digits]
    line = np.zeros(
        (HEIGHT, sum(digit.shape[1] + GAPS[1] for digit in trimmed) + 2 * GAPS[1]), dtype=np.uint8
    )
    at = int(rng.integers(2, GAPS[1] + 1))
    for digit in trimmed:
        top = int(rng.integers(HEIGHT - digit.shape[0] + 1))
        place = line[top : top + digit.shape[0], at : at + digit.shape[1]]
        np.maximum(place, digit, out=place)
        at += digit.shape[1] + int(rng.integers(GAPS[0], GAPS[1] + 1))
    return 255 - line[:, : at + GAPS[1] - GAPS[0]]


def _trim(digit: np.ndarray) -> np.ndarray:
    """The columns from the first to the last that hold ink; an empty digit as it is."""
    inked = np.flatnonzero(digit.max(axis=0) > 64)
    return digit[:, inked[0] : inked[-1] + 1] if len(inked) else digit


def read_digits(corpus: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Digits (n, rows, columns) and labels (n,) uint8 of "train" or "t10k". Raises InputError."""
    pictures_path, pictures = read_idx(corpus, f"{part}-images", "idx3-ubyte", IMAGES)
    labels_path, labels = read_idx(corpus, f"{part}-labels", "idx1-ubyte", LABELS)
    if len(pictures) != len(labels):
        raise InputError(
            f"{labels_path}: has {len(labels)} labels for {len(pictures)} digits in {pictures_path.name}"
        )
    if len(pictures) < 2:
        raise InputError(f"{pictures_path}: has {len(pictures)} digits; strings need at least two")
    if pictures.shape[1] > HEIGHT:
        raise InputError(f"{pictures_path}: digits are {pictures.shape[1]} pixels high; MNIST's have 28")
    if labels.max() > 9:
        raise InputError(f"{labels_path}: has the label {labels.max()}; MNIST's are 0 to 9")
    return pictures, labels


def read_idx(corpus: Path, name: str, kind: str, magic: int) -> tuple[Path, np.ndarray]:
    """The file name-kind or name.kind, perhaps gzipped, and its array. Raises InputError."""
    endings = [f"{joint}{kind}{packed}" for joint in "-." for packed in ("", ".gz")]
    path = find_file(corpus / name, endings)
    if path is None:
        raise InputError(
            f"{corpus / name}-{kind}: is missing, gzipped or not; CORPUS must hold strings or MNIST's "
            "four idx files"
        )
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be unpacked ({error}); get it again") from None
    dimensions = magic & 0xFF
    header = np.frombuffer(data[: 4 * (dimensions + 1)], dtype=">u4")
    if len(header) != dimensions + 1 or header[0] != magic:
        raise InputError(f"{path}: is not an {kind} file of MNIST; get it again")
    shape = tuple(int(length) for length in header[1:])
    values = np.frombuffer(data, dtype=np.uint8, offset=4 * (dimensions + 1))
    if len(values) != int(np.prod(shape, dtype=np.int64)):
        raise InputError(f"{path}: holds {len(values)} values where its header says {shape}; get it again")
    return path, values.reshape(shape)
