"""speechocean762: English sentences by learners whose first language is Mandarin.

CORPUS is the folder as published, with train/ and test/ in Kaldi's tables, and WAVE/. Test is the official
one. Of the official training speakers in order of number, every eighth is valid (15 of 125). Texts are the
prompts; speakers sometimes leave words out, so even a perfect recogniser would not reach 0.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from carousel.common.data.layouts.kaldi import table
from carousel.common.errors import InputError
from carousel.recipes import speech
from carousel.recipes.splits import hold_out, write_splits

VALID_EVERY, VALID_FIRST = 8, 7  # of the speakers in order of their number


def prepare(arguments: Namespace) -> None:
    """Writes the manifests. Raises InputError for a corpus that is not whole."""
    corpus = arguments.corpus
    official, test = (speech.rows(_utterances(corpus, name), _find) for name in ("train", "test"))
    speakers = sorted({row["speaker"] for row in official})
    splits = hold_out(official, speakers[VALID_FIRST::VALID_EVERY])
    write_splits(arguments.output, {**splits, "test": test})


def _utterances(corpus: Path, name: str) -> Iterator[tuple[Path, str, str]]:
    """(recording, text, speaker) of one official part, in the order of its `text`."""
    texts, speakers, recordings = (table(corpus / name / file) for file in ("text", "utt2spk", "wav.scp"))
    for utterance, text in texts.items():
        if utterance not in speakers or utterance not in recordings:
            raise InputError(f"{corpus / name}: {utterance} of text is missing in utt2spk or wav.scp")
        if not text:
            raise InputError(f"{corpus / name / 'text'}: the line of {utterance} has no value")
        yield corpus / recordings[utterance], " ".join(text.split()), speakers[utterance]


def _find(path: Path) -> Path | None:
    """The recording. wav.scp says .WAV where re-encoded copies have .opus."""
    return path if path.is_file() else speech.find_audio(path.with_suffix(""))
