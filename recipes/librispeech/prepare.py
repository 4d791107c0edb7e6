"""LibriSpeech: English books, read.

CORPUS is the folder as published, with {split}/{speaker}/{chapter}/*.trans.txt. With the whole corpus,
name its splits: --train train-clean-100 train-clean-360 --valid dev-clean --test test-clean. Without --valid
(an excerpt may have no dev split) a tenth of the speakers of train, at least one, is kept out of it as valid:
those with the highest numbers.
"""

from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from carousel.common.errors import InputError
from carousel.recipes import speech
from carousel.recipes.splits import Row, hold_out, text_lines, write_splits

OPTIONS = {
    f"--{split}": {
        "nargs": "+",
        "metavar": "SPLIT",
        "default": default and [default],
        "help": f"splits for {split} (default: {default or 'a tenth of the speakers of train'})",
    }
    for split, default in (("train", "train-clean-100"), ("valid", None), ("test", "test-other"))
}
VALID_SHARE = 10  # one speaker in so many, where no split is named for valid


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a split that is not there or not whole."""
    parts = (arguments.train, arguments.valid or [], arguments.test)
    train, valid, test = (_rows(arguments.corpus, names) for names in parts)
    splits = {"train": train, "valid": valid}
    if not arguments.valid:
        speakers = sorted({row["speaker"] for row in train}, key=int)
        splits = hold_out(train, speakers[-max(1, len(speakers) // VALID_SHARE) :])
    write_splits(arguments.output, {**splits, "test": test})


def _rows(corpus: Path, names: Iterable[str]) -> list[Row]:
    """Rows of several splits, one after the other."""
    return [row for name in names for row in speech.rows(_utterances(corpus, name))]


def _utterances(corpus: Path, name: str) -> Iterator[tuple[Path, str, str]]:
    """(path of the recording without its ending, text, speaker) by speaker, chapter and utterance."""
    folder = corpus / name
    if not folder.is_dir():
        there = sorted(path.name for path in corpus.iterdir() if path.is_dir()) if corpus.is_dir() else []
        raise InputError(f"{folder}: there is no such split; CORPUS has {', '.join(there) or 'none'}")
    for transcripts in sorted(folder.glob("*/*/*.trans.txt"), key=_numbers):
        chapter = transcripts.parent
        for line in text_lines(transcripts):
            utterance, *words = line.split()
            yield chapter / utterance, " ".join(words), chapter.parent.name


def _numbers(path: Path) -> tuple[int, int]:
    speaker, chapter = path.parts[-3:-1]
    if not (speaker.isdigit() and chapter.isdigit()):
        raise InputError(f"{path}: must be in SPEAKER/CHAPTER, two numbers, as in LibriSpeech")
    return int(speaker), int(chapter)
