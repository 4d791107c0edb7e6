"""speechocean762 as published (train/ and test/ in Kaldi's tables, WAVE/) -> train, valid and test manifests.

Test is the official one. Of the official training speakers in order of number, every eighth is valid (15 of
125). Texts are the prompts; speakers sometimes leave words out, so even a perfect recogniser would not reach
0.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from carousel.common.errors import InputError
from carousel.recipes import command, speech

VALID_EVERY, VALID_FIRST = 8, 7  # of the speakers in order of their number


def prepare(arguments: Namespace) -> None:
    """Write the manifests. Raises InputError for a corpus that is not whole."""
    official, test = read_split(arguments.corpus, "train"), read_split(arguments.corpus, "test")
    held_out = set(sorted({row["speaker"] for row in official})[VALID_FIRST::VALID_EVERY])
    splits = {
        "train": [row for row in official if row["speaker"] not in held_out],
        "valid": [row for row in official if row["speaker"] in held_out],
        "test": test,
    }
    speech.write_splits(arguments.output, splits)


def read_split(corpus: Path, name: str) -> list[dict]:
    """Rows of one official part, in the order of its `text`."""
    texts, speakers, places = (_table(corpus / name / table) for table in ("text", "utt2spk", "wav.scp"))
    rows, missing = [], []
    for utterance, text in texts.items():
        if utterance not in speakers or utterance not in places:
            raise InputError(f"{corpus / name}: {utterance} of text is missing in utt2spk or wav.scp")
        # wav.scp says .WAV, or .opus in re-encoded copies; what counts is which recording is there.
        place = corpus / places[utterance]
        audio = place if place.is_file() else speech.find_audio(place.with_suffix(""))
        if audio is None:
            missing.append(place)
        else:
            rows.append(speech.row(audio, " ".join(text.split()), speakers[utterance]))
    speech.report_missing(missing, len(texts))
    return rows


def _table(path: Path) -> dict[str, str]:
    """Kaldi's tables: a key, white space, and the rest of the line."""
    pairs = (line.split(maxsplit=1) for line in speech.read_lines(path))
    table: dict[str, str] = {}
    for pair in pairs:
        if len(pair) != 2 or pair[0] in table:
            raise InputError(f"{path}: the line of {pair[0]} has no value or stands there twice")
        table[pair[0]] = pair[1]
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m recipes.speechocean762.prepare`."""
    parser = command.parser("recipes.speechocean762.prepare", __doc__, "data/speechocean762")
    return command.run(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
