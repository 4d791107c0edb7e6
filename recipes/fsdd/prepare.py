"""Free Spoken Digit Dataset: single digits by six English speakers.

CORPUS is the folder as published, with recordings/{digit}_{speaker}_{n}.wav. It becomes six folds:
OUTPUT/{fold}/{train,valid,test}.jsonl: test is the speaker after whom the fold is named; valid is the next
one in the alphabet (the first after the last), so that each speaker is test once and valid once; the other
four are train. A valid speaker who is in train as well would not show that the network has only learnt these
few voices. Texts are words (ZERO … NINE), as in AN4, so that both can be trained on together.
"""

import re
from argparse import Namespace
from collections import defaultdict
from pathlib import Path

from carousel.common.errors import InputError
from carousel.recipes import speech
from carousel.recipes.splits import Row, write_splits

OPTIONS = {
    "--fold": {"metavar": "SPEAKER", "help": "only the fold that leaves this speaker out (default: all)"}
}
WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
NAME = re.compile(r"(\d)_([a-z]+)_(\d+)")  # digit, speaker, number of the recording


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a corpus or fold that is not there."""
    rows = read_corpus(arguments.corpus)
    speakers = sorted(rows)
    if len(speakers) < 3:
        raise InputError(f"{arguments.corpus}: has {len(speakers)} speakers, not three; get it whole")
    if arguments.fold and arguments.fold not in speakers:
        raise InputError(f"--fold {arguments.fold}: no such speaker; give one of {', '.join(speakers)}")
    for test in [arguments.fold] if arguments.fold else speakers:
        valid = speakers[(speakers.index(test) + 1) % len(speakers)]
        train = [row for speaker in speakers if speaker not in (test, valid) for row in rows[speaker]]
        splits = {"train": train, "valid": rows[valid], "test": rows[test]}
        write_splits(arguments.output / test, splits)


def read_corpus(corpus: Path) -> dict[str, list[Row]]:
    """speaker -> rows in order of digit and number."""
    folder = corpus / "recordings"
    if not folder.is_dir():
        raise InputError(f"{folder}: is missing; CORPUS is the folder of the corpus as published")
    paths = [path for path in folder.iterdir() if path.suffix in speech.AUDIO_SUFFIXES]
    matches = [(NAME.fullmatch(path.stem), path) for path in paths]
    found = [(match[2], int(match[1]), int(match[3]), path) for match, path in matches if match]
    utterances = [(path, WORDS[digit], speaker) for speaker, digit, _, path in sorted(found)]
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in speech.rows(utterances, find=lambda path: path):
        rows[row["speaker"]].append(row)
    return dict(rows)
