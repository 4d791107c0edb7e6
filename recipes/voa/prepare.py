"""Voice of America Learning English: news and features, read slowly.

CORPUS holds {train,valid,test,machine}.jsonl.gz of sentences with `audio`, `start`, `end` and `text`; the mp3
files that `audio` names are below SOUND. Sentences are cut into OUTPUT/audio as FLAC of 16 kHz. Texts become
what is said, in capitals: letters, apostrophe and space. A sentence with figures or signs that can be read
aloud in several ways is left out, and one of `machine` whose words were not recognised surely.
"""

import json
import re
import unicodedata
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from carousel.asr.sound.read import SAMPLE_RATE, read_recording
from carousel.common.errors import InputError
from carousel.common.text.file import UNREADABLE, open_text
from carousel.recipes.splits import Row, write_splits

OPTIONS = {"--sound": {"type": Path, "required": True, "metavar": "SOUND", "help": "folder of the mp3 files"}}
SPLITS = ("train", "valid", "test", "machine")
SURE = 0.9  # mean probability of the words of a machine transcript
MARGIN = 0.1  # s left around a sentence


def prepare(arguments: Namespace) -> None:
    """Cuts the sentences and writes the manifests. Raises InputError for a corpus that is not whole."""
    for split in SPLITS:
        by_file: dict[str, list[Row]] = defaultdict(list)
        for row in _said(_lines(arguments.corpus, split)):
            by_file[row["audio"]].append(row)
        missing = [name for name in by_file if not (arguments.sound / name).is_file()]
        if missing:
            raise InputError(
                f"{arguments.sound / missing[0]}: is missing, with {len(missing) - 1} more of {len(by_file)}"
                f" recordings of {split}; get the sound as recipes/voa/README.md says"
            )
        rows = (row for name in sorted(by_file) for row in _cut(name, by_file[name], arguments))
        write_splits(arguments.output, {split: rows})


def spoken(text: str) -> str | None:
    """What is said, in A–Z, apostrophe and single spaces; None where figures or signs leave that open."""
    text = unicodedata.normalize("NFKD", text.replace("’", "'").replace("‘", "'")).upper()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = re.sub(r"(?<![A-Z])'|'(?![A-Z])", " ", re.sub(r"[-–—_/.,;:!?…()\[\]\"“”*]", " ", text))
    return " ".join(text.split()) if text.strip() and not re.search(r"[^A-Z' ]", text) else None


def _said(rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        text = spoken(row["text"])
        if text is not None and row.get("confidence", 1.0) >= SURE:
            yield {**row, "text": text}


def _lines(corpus: Path, split: str) -> Iterator[Row]:
    path = corpus / f"{split}.jsonl.gz"
    try:
        with open_text(path) as lines:
            yield from map(json.loads, lines)
    except (*UNREADABLE, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the corpus whole") from None


def _cut(name: str, rows: Sequence[Row], arguments: Namespace) -> Iterator[Row]:
    """Writes the sentences of one recording and gives their rows."""
    import soundfile

    wave = None
    for row in rows:
        folder = arguments.output / "audio" / Path(name).with_suffix("")
        target = folder / f"{round(row['start'] * 100):07d}.flac"
        start = max(0, round((row["start"] - MARGIN) * SAMPLE_RATE))
        end = round((row["end"] + MARGIN) * SAMPLE_RATE)
        if not target.is_file():
            wave = read_recording(arguments.sound / name).samples if wave is None else wave
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(target, wave[start:end], SAMPLE_RATE)
        duration = round((end - start) / SAMPLE_RATE, 3)
        speaker = row.get("speaker", name)
        yield {"audio": target, "text": row["text"], "speaker": speaker, "duration": duration}
