"""CMU AN4: spelled names, numbers and commands in English.

CORPUS is the folder as published, with etc/ and wav/. Test is the official one. Valid is every
ninth speaker of the official training part: about a hundred utterances by women and men. Names that differ in
a last digit only (mdcs and mdcs2 may be one person) stay on one side.
"""

import re
from argparse import Namespace
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from carousel.common.errors import InputError
from carousel.recipes import speech
from carousel.recipes.splits import hold_out, text_lines, write_splits

VALID_EVERY, VALID_FIRST = 9, 1  # of the speakers in order of name: women (f…) come first, men (m…) after
RAW_RATE = 16000  # Hz, of the headerless .raw files, 16 bit


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a corpus that is not whole."""
    corpus, output = arguments.corpus, arguments.output
    find = partial(_find, corpus, output)
    train, test = (speech.rows(_utterances(corpus, name), find) for name in ("train", "test"))
    persons = sorted({person(row["speaker"]) for row in train})
    splits = hold_out(train, persons[VALID_FIRST::VALID_EVERY], person)
    write_splits(output, {**splits, "test": test}, person)


def person(speaker: str) -> str:
    """Who speaks: the name of the speaker without the number of the visit (mdcs2 -> mdcs)."""
    return speaker.rstrip("0123456789")


def clean(line: str) -> tuple[str, str]:
    """(text, utterance) of a line such as `<s> GO </s> (an253-fash-b)`."""
    match = re.fullmatch(r"(.*)\((\S+)\)", line.strip())
    if not match:
        raise InputError(f"{line!r} is not a line of an AN4 transcription: it must end in (UTTERANCE)")
    words = [word for word in match[1].split() if not re.fullmatch(r"</?s>|<sil>|\+\+.*\+\+", word)]
    return " ".join(words), match[2]


def _utterances(corpus: Path, name: str) -> Iterator[tuple[Path, str, str]]:
    """(path of the recording without its ending, text, speaker) of one official part."""
    folder = corpus / "etc"
    ids = text_lines(folder / f"an4_{name}.fileids")
    lines = text_lines(folder / f"an4_{name}.transcription")
    if len(ids) != len(lines):
        raise InputError(
            f"{folder}: an4_{name} has {len(ids)} fileids, {len(lines)} transcriptions; get it whole"
        )
    for path, line in zip(ids, lines, strict=True):
        text, utterance = clean(line)
        if Path(path).name != utterance:
            raise InputError(f"{folder}: an4_{name} has {path} where its transcription has {utterance}")
        yield corpus / "wav" / path, text, Path(path).parent.name


def _find(corpus: Path, output: Path, stem: Path) -> Path | None:
    """The recording; a headerless .raw is written to OUTPUT/wav as FLAC, since it does not say what it is."""
    if audio := speech.find_audio(stem):
        return audio
    raw = stem.with_name(stem.name + ".raw")
    if not raw.is_file():
        return None
    import soundfile  # late, for --help

    path = output / f"{stem.relative_to(corpus)}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, read_raw(raw), RAW_RATE)
    return path


def read_raw(path: Path) -> np.ndarray:
    """(samples,) int16. AN4 is published in both byte orders; sound is smooth in its own only."""
    data = path.read_bytes()
    if len(data) < 4 or len(data) % 2:
        raise InputError(f"{path}: has {len(data)} bytes, which are not 16-bit samples; copy it again")
    orders = [np.frombuffer(data, order).astype(np.int16) for order in ("<i2", ">i2")]
    return min(orders, key=lambda wave: float(np.abs(np.diff(wave.astype(np.float64))).mean()))
