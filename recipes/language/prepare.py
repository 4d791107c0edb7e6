"""Texts for a language model, such as novels.

    asr prepare language novels.txt.xz data/language/novels
    asr prepare language novels.txt.xz data/language/words --words

OUTPUT/valid.txt gets the last lines of each text, OUTPUT/train.txt the others. --words writes single words in
random order, each on a line: for recognisers that are shown words without their sentences.
"""

import random
import re
from argparse import Namespace
from collections.abc import Iterable

from carousel.common.cli.files import write_whole
from carousel.common.cli.options import count, number
from carousel.common.cli.streams import show
from carousel.common.errors import InputError
from carousel.common.language.texts import read_texts

OPTIONS = {
    "corpus": {"nargs": "+", "metavar": "TEXT", "help": "text in UTF-8, also .gz or .xz"},
    "output": {"help": "folder for train.txt and valid.txt"},
    "--valid": {
        "type": number(0, 1),
        "default": 0.02,
        "metavar": "SHARE",
        "help": "share of the lines for valid (default: %(default)s)",
    },
    "--words": {"action": "store_true", "help": "write single words in random order"},
    "--most": {"type": count, "metavar": "N", "help": "with --words: at most N words"},
}
SEED = 1
WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def prepare(arguments: Namespace) -> None:
    train: list[str] = []
    valid: list[str] = []
    for text in arguments.corpus:
        lines = [line for raw in read_texts(text) if (line := " ".join(raw.split()))]
        cut = len(lines) - max(round(arguments.valid * len(lines)), 1)
        if cut < 1:
            raise InputError(f"{text}: has {len(lines)} lines, too few to be split; give a longer text")
        train += lines[:cut]
        valid += lines[cut:]
    for name, part in (("train", train), ("valid", valid)):
        lines = words(part, arguments.most) if arguments.words else part
        write_whole(arguments.output / f"{name}.txt", "".join(line + "\n" for line in lines))
        show(f"{arguments.output / name}.txt: {len(lines):,} lines")


def words(lines: Iterable[str], most: int | None) -> list[str]:
    """The words of some lines in random order, without the punctuation around them; at most `most`."""
    found = [word for line in lines for word in WORD.findall(line)]
    random.Random(SEED).shuffle(found)
    return found[:most]
