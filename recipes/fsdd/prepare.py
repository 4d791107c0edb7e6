"""Free Spoken Digit Dataset as published (recordings/{digit}_{speaker}_{n}.wav) -> six folds of manifests.

OUTPUT/{fold}/{train,valid,test}.jsonl: test is the speaker after whom the fold is named; valid is the next
one in the alphabet (the first after the last), so that each speaker is test once and valid once; the other
four are train. A valid speaker who is in train as well would not show that the network has only learnt these
few voices. Texts are words (ZERO … NINE), as in AN4, so that both can be trained on together.
"""

import re
import sys
from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from carousel.common.errors import InputError
from carousel.recipes import command, speech

WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
NAME = re.compile(r"(\d)_([a-z]+)_(\d+)")  # digit, speaker, number of the recording


def prepare(arguments: Namespace) -> None:
    """Write the manifests of one fold or of all. Raises InputError for a corpus or fold that is not there."""
    rows = read_corpus(arguments.corpus)
    speakers = sorted(rows)
    if len(speakers) < 3:
        raise InputError(f"{arguments.corpus}: has {len(speakers)} speakers, not three; get it whole")
    if arguments.fold and arguments.fold not in speakers:
        raise InputError(f"--fold {arguments.fold}: no such speaker; give one of {', '.join(speakers)}")
    for test in [arguments.fold] if arguments.fold else speakers:
        valid = valid_speaker(test, speakers)
        train = [row for speaker in speakers if speaker not in (test, valid) for row in rows[speaker]]
        splits = {"train": train, "valid": rows[valid], "test": rows[test]}
        speech.write_splits(arguments.output / test, splits)


def valid_speaker(test: str, speakers: Sequence[str]) -> str:
    """The next in the alphabet, the first after the last."""
    return speakers[(speakers.index(test) + 1) % len(speakers)]


def read_corpus(corpus: Path) -> dict[str, list[dict]]:
    """speaker -> rows in order of digit and number."""
    folder = corpus / "recordings"
    if not folder.is_dir():
        raise InputError(f"{folder}: is missing; CORPUS is the folder of the corpus as published")
    rows: dict[str, list[dict]] = defaultdict(list)
    paths = [path for path in folder.iterdir() if path.suffix in speech.AUDIO_SUFFIXES]
    matches = [(NAME.fullmatch(path.stem), path) for path in paths]
    found = [(match[2], int(match[1]), int(match[3]), path) for match, path in matches if match]
    for speaker, digit, _, path in sorted(found):
        rows[speaker].append(speech.row(path, WORDS[digit], speaker))
    return dict(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.fsdd.prepare`."""
    parser = command.parser("carousel.recipes.fsdd.prepare", __doc__, "data/fsdd")
    parser.add_argument("--fold", metavar="SPEAKER", help="only the fold that leaves this speaker out [all]")
    return command.run(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
