"""CMU AN4 as published (etc/ and wav/) -> train, valid and test manifests.

Test is the official one. Valid is every ninth speaker of the official training part: about a hundred
utterances by women and men. Names that differ in a last digit only (mdcs and mdcs2 may be one person) stay on
one side.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from carousel.common.errors import InputError
from carousel.recipes import command, speech

VALID_EVERY, VALID_FIRST = 9, 1  # of the speakers in order of name: women (f…) come first, men (m…) after
RAW_RATE = 16000  # Hz, of the headerless .raw files, 16 bit


def prepare(arguments: Namespace) -> None:
    """Write the manifests. Raises InputError for a corpus that is not whole."""
    corpus, output = arguments.corpus, arguments.output
    train, test = _split(corpus, "train", output), _split(corpus, "test", output)
    persons = sorted({person(row["speaker"]) for row in train})
    held_out = set(persons[VALID_FIRST::VALID_EVERY])
    splits = {
        "train": [row for row in train if person(row["speaker"]) not in held_out],
        "valid": [row for row in train if person(row["speaker"]) in held_out],
        "test": test,
    }
    speech.write_splits(output, splits, person)


def person(speaker: str) -> str:
    """Who speaks: the name of the speaker without the number of the visit (mdcs2 -> mdcs)."""
    return speaker.rstrip("0123456789")


def clean(line: str) -> tuple[str, str]:
    """(text, utterance) of a line such as `<s> GO </s> (an253-fash-b)`."""
    match = re.fullmatch(r"(.*)\((\S+)\)", line.strip())
    if not match:
        raise InputError(f"{line!r}: is no line of an AN4 transcription, which ends in a name in parentheses")
    words = [word for word in match[1].split() if not re.fullmatch(r"</?s>|<sil>|\+\+.*\+\+", word)]
    return " ".join(words), match[2]


def _split(corpus: Path, name: str, output: Path) -> list[dict]:
    """Rows of one official part."""
    ids = speech.read_lines(corpus / "etc" / f"an4_{name}.fileids")
    lines = speech.read_lines(corpus / "etc" / f"an4_{name}.transcription")
    if len(ids) != len(lines):
        raise InputError(
            f"{corpus / 'etc'}: an4_{name} has {len(ids)} fileids, {len(lines)} transcriptions; get it whole"
        )
    rows, missing = [], []
    for place, line in zip(ids, lines, strict=True):
        text, utterance = clean(line)
        if Path(place).name != utterance:
            raise InputError(
                f"{corpus / 'etc'}: an4_{name} has {place} where its transcription has {utterance}"
            )
        audio = _audio(corpus, place, output)
        if audio is None:
            missing.append(corpus / "wav" / place)
        else:
            rows.append(speech.row(audio, text, Path(place).parent.name))
    speech.report_missing(missing, len(ids))
    return rows


def _audio(corpus: Path, place: str, output: Path) -> Path | None:
    """The recording; a headerless .raw is written to OUTPUT/wav as FLAC, since it does not say what it is."""
    stem = corpus / "wav" / place
    if audio := speech.find_audio(stem):
        return audio
    raw = stem.with_name(stem.name + ".raw")
    if not raw.is_file():
        return None
    import soundfile

    path = output / "wav" / f"{place}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, read_raw(raw), RAW_RATE)
    return path


def read_raw(path: Path) -> np.ndarray:
    """(samples,) int16. AN4 is published in both byte orders; sound is smooth in its own only."""
    data = path.read_bytes()
    if len(data) < 4 or len(data) % 2:
        raise InputError(f"{path}: has {len(data)} bytes, which are no 16-bit samples; copy it again")
    orders = [np.frombuffer(data, order).astype(np.int16) for order in ("<i2", ">i2")]
    return min(orders, key=lambda wave: float(np.abs(np.diff(wave.astype(np.float64))).mean()))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.an4.prepare`."""
    return command.run(prepare, command.parser("recipes.an4.prepare", __doc__, "data/an4").parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
