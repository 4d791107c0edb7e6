"""TIMIT: read sentences with the times of their 61 phones.

CORPUS is the folder as published, with TRAIN and TEST (or TIMIT/ above them), in capitals or small letters.
Train is the official one without the sentences sa1 and sa2, which all speakers read; test is the core test of
24 speakers; valid is 50 other speakers of the official test, those that Kaldi's recipe takes. Texts are
phones; those with times stand in `phones`, the words in `words`.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from carousel.asr.sound.read import SAMPLE_RATE
from carousel.common.errors import InputError
from carousel.recipes import speech
from carousel.recipes.phones import written
from carousel.recipes.splits import Row, text_lines, write_splits

CORE = (
    "mdab0", "mwbt0", "felc0", "mtas1", "mwew0", "fpas0", "mjmp0", "mlnt0", "fpkt0", "mlll0", "mtls0",
    "fjlm0", "mbpm0", "mklt0", "fnlp0", "mcmj0", "mjdh0", "fmgd0", "mgrt0", "mnjm0", "fdhc0", "mjln0",
    "mpam0", "fmld0",
)  # fmt: skip
VALID = (
    "faks0", "fdac1", "fjem0", "mgwt0", "mjar0", "mmdb1", "mmdm2", "mpdf0", "fcmh0", "fkms0", "mbdg0",
    "mbwm0", "mcsh0", "fadg0", "fdms0", "fedw0", "mgjf0", "mglb0", "mrtk0", "mtaa0", "mtdt0", "mthc0",
    "mwjg0", "fnmr0", "frew0", "fsem0", "mbns0", "mmjr0", "mdls0", "mdlf0", "mdvc0", "mers0", "fmah0",
    "fdrw0", "mrcs0", "mrjm4", "fcal1", "mmwh0", "fjsj0", "majc0", "mjsw0", "mreb0", "fgjd0", "fjmg0",
    "mroa0", "mteb0", "mjfc0", "mrjr0", "fmml0", "mrws1",
)  # fmt: skip
PARTS = {"train": ("train", None), "valid": ("test", VALID), "test": ("test", CORE)}
DIALECT = "sa"  # what all speakers read


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a corpus that is not whole."""
    found = {name: list(_rows(arguments.corpus, *PARTS[name])) for name in PARTS}
    for name, speakers in (("valid", VALID), ("test", CORE)):
        if missing := sorted(set(speakers) - {row["speaker"] for row in found[name]}):
            raise InputError(
                f"{arguments.corpus}: lacks {', '.join(missing)} of {name}; get the corpus whole"
            )
    write_splits(arguments.output, found)


def _rows(corpus: Path, part: str, speakers: tuple[str, ...] | None) -> Iterator[Row]:
    for path in sorted(_part(corpus, part).rglob("*")):
        speaker = path.parent.name.lower()
        if path.suffix.lower() != ".phn" or path.stem.lower().startswith(DIALECT):
            continue
        if speakers is None or speaker in speakers:
            yield _row(path, speaker)


def _part(corpus: Path, name: str) -> Path:
    for folder in (corpus, *(inner for inner in corpus.glob("*") if inner.name.lower() == "timit")):
        for path in folder.glob("*"):
            if path.is_dir() and path.name.lower() == name:
                return path
    raise InputError(
        f"{corpus}: has no folder {name.upper()}; CORPUS is the folder that holds TRAIN and TEST"
    )


def _row(path: Path, speaker: str) -> Row:
    """path: of a .PHN file, beside which the recording and the words are."""
    audio = _beside(path, ".wav")
    (row,) = speech.rows([(audio, written(phone for phone, *_ in _times(path)), speaker)], lambda stem: stem)
    words = " ".join(word for word, *_ in _times(_beside(path, ".wrd")))
    return {**row, "phones": _times(path), "words": words}


def _beside(path: Path, suffix: str) -> Path:
    """The file of the same utterance; in some copies a FLAC or .WAV.wav stands for the recording."""
    names = {other.name.lower(): other for other in path.parent.glob(f"{path.stem}.*")}
    for ending in (f"{suffix}.wav", suffix, ".flac") if suffix == ".wav" else (suffix,):
        if found := names.get(f"{path.stem.lower()}{ending}"):
            return found
    raise InputError(f"{path}: has no {suffix.upper()} beside it; get the corpus whole")


def _times(path: Path) -> list[tuple[str, float, float]]:
    """(phone or word, from, to) in seconds, of lines `FROM TO NAME` in samples."""
    found = []
    for line in text_lines(path):
        parts = line.split()
        if len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()):
            raise InputError(f"{path}: {line!r} is not a line of TIMIT: FROM TO NAME, in samples")
        found.append((parts[2], int(parts[0]) / SAMPLE_RATE, int(parts[1]) / SAMPLE_RATE))
    return found
