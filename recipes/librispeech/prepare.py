"""LibriSpeech as published ({split}/{speaker}/{chapter}/*.trans.txt) -> train, valid and test manifests.

With the whole corpus, name its splits: --train train-clean-100 train-clean-360 --valid dev-clean --test
test-clean. Without --valid (an excerpt may have no dev split) a tenth of the speakers of train, at least one,
is kept out of it as
valid: those with the highest numbers.
"""

import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

from carousel.common.errors import InputError
from carousel.recipes import command, speech

VALID_SHARE = 10  # one speaker in so many, where no split is named for valid


def prepare(arguments: Namespace) -> None:
    """Write the manifests. Raises InputError for a split that is not there or not whole."""
    parts = (arguments.train, arguments.valid or [], arguments.test)
    train, valid, test = (read_splits(arguments.corpus, names) for names in parts)
    if not arguments.valid:
        held_out = last_speakers(row["speaker"] for row in train)
        valid = [row for row in train if row["speaker"] in held_out]
        train = [row for row in train if row["speaker"] not in held_out]
    speech.write_splits(arguments.output, {"train": train, "valid": valid, "test": test})


def last_speakers(speakers: Iterable[str]) -> set[str]:
    """The tenth of the speakers with the highest numbers, at least one."""
    ordered = sorted(set(speakers), key=int)
    return set(ordered[-max(1, len(ordered) // VALID_SHARE) :])


def read_splits(corpus: Path, names: Iterable[str]) -> list[dict]:
    """Rows of several splits, one after the other."""
    return [row for name in names for row in read_split(corpus, name)]


def read_split(corpus: Path, name: str) -> list[dict]:
    """Rows of one split in order of speaker, chapter and utterance."""
    folder = corpus / name
    if not folder.is_dir():
        there = sorted(path.name for path in corpus.iterdir() if path.is_dir()) if corpus.is_dir() else []
        raise InputError(f"{folder}: there is no such split; CORPUS has {', '.join(there) or 'none'}")
    rows, missing, total = [], [], 0
    for list_file in sorted(folder.glob("*/*/*.trans.txt"), key=_numbers):
        for line in speech.read_lines(list_file):
            utterance, _, text = line.partition(" ")
            total += 1
            audio = speech.find_audio(list_file.parent / utterance)
            if audio is None:
                missing.append(list_file.parent / utterance)
            else:
                rows.append(speech.row(audio, " ".join(text.split()), list_file.parent.parent.name))
    speech.report_missing(missing, total)
    return rows


def _numbers(path: Path) -> tuple[int, int]:
    speaker, chapter = path.parent.parent.name, path.parent.name
    if not (speaker.isdigit() and chapter.isdigit()):
        raise InputError(f"{path}: does not stand in SPEAKER/CHAPTER, two numbers, as LibriSpeech does")
    return int(speaker), int(chapter)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.librispeech.prepare`."""
    parser = command.parser("carousel.recipes.librispeech.prepare", __doc__, "data/librispeech")
    for name, default in (("train", "train-clean-100"), ("valid", None), ("test", "test-other")):
        text = f"splits for {name} [{default or 'a tenth of the speakers of train'}]"
        parser.add_argument(f"--{name}", nargs="+", metavar="SPLIT", default=default and [default], help=text)
    return command.run(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
