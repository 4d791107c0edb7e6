"""What every speech corpus's `prepare.py` shares: the command line, rows of a manifest, the report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from carousel.asr.sound.read import duration
from carousel.common.data.manifest import write_manifest
from carousel.common.errors import InputError

AUDIO_SUFFIXES = (".wav", ".flac", ".sph", ".opus", ".ogg", ".mp3")  # in the order of preference


def read_lines(path: Path) -> list[str]:
    """Lines of a text file of the corpus, without empty ones. Raises InputError if it is not there."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except OSError:
        raise InputError(f"{path}: is missing; CORPUS is the folder of the corpus as published") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text ({error}); copy it again") from None


def find_audio(stem: Path) -> Path | None:
    """The recording of which `stem` is the path without its ending."""
    for suffix in AUDIO_SUFFIXES:
        if (path := stem.with_name(stem.name + suffix)).is_file():
            return path
    return None


def row(audio: Path, text: str, speaker: str) -> dict:
    """One line of a manifest. Raises InputError for a file without sound or a text without a character."""
    if not text:
        raise InputError(f"{audio}: has an empty text")
    return {"audio": audio, "text": text, "speaker": speaker, "duration": round(duration(audio), 4)}


def report_missing(missing: Sequence[Path], total: int) -> None:
    """Raise InputError if recordings are missing: half of a corpus must not pass for the whole."""
    if missing:
        raise InputError(
            f"{missing[0]}: there is no such recording ({', '.join(AUDIO_SUFFIXES)}), and {len(missing)}"
            f" of {total} are missing; get the corpus whole"
        )


def write_splits(
    output: Path, splits: Mapping[str, Iterable[dict]], person: Callable[[str], str] = lambda speaker: speaker
) -> None:
    """Write OUTPUT/{split}.jsonl and print samples, speakers and hours of each.

    person: speaker -> who that is, for corpora where one person has several names.
    Raises InputError, before anything is written, when a split is empty or a person stands in two of them.
    """
    rows = {name: list(split) for name, split in splits.items()}
    owner: dict[str, str] = {}
    for name, split in rows.items():
        if not split:
            raise InputError(f"{output}: the split {name} would have no sample; get the corpus whole")
        for who in {person(item["speaker"]) for item in split}:
            if owner.setdefault(who, name) != name:
                raise InputError(f"{output}: speaker {who} would stand in {owner[who]} and in {name}")
    for name, split in rows.items():
        write_manifest(output / f"{name}.jsonl", split)
        speakers = len({item["speaker"] for item in split})
        hours = sum(item["duration"] for item in split) / 3600
        print(f"{output / name}.jsonl: {len(split)} samples, {speakers} speakers, {hours:.2f} hours")
