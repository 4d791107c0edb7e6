"""Texts for a language model: novels or other books, split into a part to train on and one to validate on.

    python -m recipes.language.prepare novels.txt.xz data/language/novels
    python -m recipes.language.prepare novels.txt.xz data/language/words --words

The last lines of each text are for valid. --words writes single words in random order, each on a line: for
recognisers that are shown words without their sentences.
"""

import argparse
import random
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from carousel.common.cli import options as arguments
from carousel.common.cli.files import write_whole
from carousel.common.errors import InputError
from carousel.common.language.texts import read_texts
from carousel.recipes import command

SEED = 1
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def prepare(arguments: argparse.Namespace) -> None:
    train: list[str] = []
    valid: list[str] = []
    for text in arguments.texts:
        lines = [line for raw in read_texts(text) if (line := " ".join(raw.split()))]
        cut = len(lines) - max(round(arguments.valid * len(lines)), 1)
        if cut < 1:
            raise InputError(f"{text}: has {len(lines)} lines, too few to be split; give a longer text")
        train += lines[:cut]
        valid += lines[cut:]
    for name, part in (("train", train), ("valid", valid)):
        lines = words(part, arguments.most) if arguments.words else part
        write_whole(arguments.output / f"{name}.txt", "".join(line + "\n" for line in lines))
        print(f"{arguments.output / name}.txt: {len(lines):,} lines")


def words(lines: Iterable[str], most: int | None) -> list[str]:
    """The words of some lines in random order, without the punctuation around them; at most `most`."""
    found = [word for line in lines for word in WORD.findall(line)]
    random.Random(SEED).shuffle(found)
    return found[:most]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.language.prepare`."""
    options = command.parser("carousel.recipes.language.prepare", __doc__)
    options.add_argument("texts", nargs="+", type=Path, metavar="TEXT", help="UTF-8, also .gz or .xz")
    options.add_argument("output", type=Path, metavar="OUTPUT", help="folder for train.txt and valid.txt")
    options.add_argument(
        "--valid", type=arguments.number(0, 1), default=0.02, metavar="SHARE", help="of the lines [0.02]"
    )
    options.add_argument("--words", action="store_true", help="single words in random order")
    options.add_argument("--most", type=arguments.count, metavar="N", help="with --words: so many at most")
    return command.run(prepare, options.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
