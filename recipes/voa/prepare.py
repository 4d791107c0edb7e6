"""Voice of America Learning English: news and features, read slowly.

CORPUS holds {train,valid,test,machine}.jsonl.gz of sentences with `audio`, `start`, `end` and `text`; the mp3
files that `audio` names are below SOUND. Sentences are cut into OUTPUT/audio as FLAC of 16 kHz. Texts become
what is said, in capitals: letters, apostrophe and space. A sentence with figures is left out, and one of
`machine` whose words were not recognised surely. With --model figures in train and machine are written out as
the model finds them likeliest in the sound, and a machine transcript is left out when it reads another text.
"""

import json
import re
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from carousel.asr.sound.read import SAMPLE_RATE, read_recording
from carousel.common.cli.options import number
from carousel.common.errors import InputError
from carousel.common.text.file import UNREADABLE, open_text
from carousel.recipes.agreement import agreed
from carousel.recipes.english import readings
from carousel.recipes.splits import Row, write_splits

OPTIONS = {
    "--sound": {"type": Path, "required": True, "metavar": "SOUND", "help": "folder of the mp3 files"},
    "--model": {"metavar": "M", "help": "model that chooses among readings and checks machine transcripts"},
    "--most": {
        "type": number(0, 100),
        "default": 0.2,
        "metavar": "RATE",
        "help": "with --model: character error rate up to which it agrees (default: %(default)s)",
    },
}
SPLITS = ("train", "valid", "test", "machine")
LEARNT = ("train", "machine")
SURE = 0.9  # mean probability of the words of a machine transcript, without --model
MARGIN = 0.1  # s left around a sentence


def prepare(arguments: Namespace) -> None:
    """Cuts the sentences and writes the manifests. Raises InputError for a corpus that is not whole."""
    for split in SPLITS:
        by_file: dict[str, list[Row]] = defaultdict(list)
        heard = arguments.model if split in LEARNT else None
        for row in _lines(arguments.corpus, split):
            if heard or (row.get("confidence", 1.0) >= SURE and not re.search(r"\d", row["text"])):
                row["readings"] = readings(row["text"])
                if row["readings"]:
                    by_file[row["audio"]].append(row)
        missing = [name for name in by_file if not (arguments.sound / name).is_file()]
        if missing:
            raise InputError(
                f"{arguments.sound / missing[0]}: is missing, with {len(missing) - 1} more of {len(by_file)}"
                f" recordings of {split}; get the sound as recipes/voa/README.md says"
            )
        cut = (pair for name in sorted(by_file) for pair in _cut(name, by_file[name], arguments))
        most = arguments.most if split == "machine" else None
        rows = agreed(cut, heard, most) if heard else (row for row, _ in cut)
        write_splits(arguments.output, {split: rows})


def _lines(corpus: Path, split: str) -> Iterator[Row]:
    path = corpus / f"{split}.jsonl.gz"
    try:
        with open_text(path) as lines:
            yield from map(json.loads, lines)
    except (*UNREADABLE, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the corpus whole") from None


def _cut(name: str, rows: Sequence[Row], arguments: Namespace) -> Iterator[tuple[Row, list[str]]]:
    """Writes the sentences of one recording and gives their rows, with the readings of each."""
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
        said = row["readings"]
        yield {"audio": target, "text": said[0], "speaker": speaker, "duration": duration}, said
