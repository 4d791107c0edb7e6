"""Spoken digits cut out of sentences: python -m carousel.recipes.fsdd.cut MODEL OUTPUT MANIFEST …

FSDD has six voices; other corpora have hundreds that say digits among other words. A model that reads those
well aligns their texts, and each digit becomes a recording of its own, cut as tightly as FSDD's are:
OUTPUT/*.flac and the manifest OUTPUT.jsonl.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator

import numpy as np

from carousel.asr.reader import whole_wave
from carousel.asr.recording import word_segments
from carousel.asr.sound.read import SAMPLE_RATE
from carousel.common.cli.prepare import run
from carousel.common.cli.streams import say, show
from carousel.common.data.manifest import Sample, read_manifest, write_manifest
from carousel.common.errors import InputError
from carousel.common.model.file import Model, load
from carousel.recipes.fsdd.prepare import WORDS

OPTIONS = {
    "model": {"help": "a model that reads the manifests well"},
    "output": {"help": "folder for the recordings"},
    "manifests": {"nargs": "+", "metavar": "MANIFEST", "help": "where digits are said"},
}
SHORTEST, LONGEST = 0.12, 1.2  # s; what is shorter or longer was not aligned well


def cuts(sample: Sample, model: Model) -> Iterator[tuple[str, np.ndarray]]:
    """(digit, its wave) for each digit of a sample. Raises InputError where the text cannot be aligned."""
    segments = word_segments(model, sample)
    wave = whole_wave(sample, SAMPLE_RATE)
    for word in segments:
        if word.text in WORDS and SHORTEST <= word.end - word.start <= LONGEST:
            yield word.text, wave[round(word.start * SAMPLE_RATE) : round(word.end * SAMPLE_RATE)]


def prepare(arguments: Namespace) -> None:
    """Writes the recordings and their manifest. Raises InputError if there is no digit at all."""
    import soundfile

    model = load(arguments.model)
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict] = []
    digits, unaligned = 0, 0
    for sample in (sample for manifest in arguments.manifests for sample in read_manifest(manifest)):
        said = sum(word in WORDS for word in sample.text.split())
        digits += said
        if not said:
            continue
        try:
            for text, wave in cuts(sample, model):
                path = arguments.output / f"{text.lower()}_{len(rows):05}.flac"
                soundfile.write(path, wave, SAMPLE_RATE)
                duration = round(len(wave) / SAMPLE_RATE, 4)
                rows.append({"audio": path, "text": text, "speaker": sample.group, "duration": duration})
        except InputError as error:
            say(str(error))
            unaligned += 1
    if not rows:
        raise InputError(
            f"{arguments.manifests[0]}: no digit could be cut out; the model must read its words"
        )
    write_manifest(arguments.output.with_suffix(".jsonl"), rows)
    show(f"{arguments.output}.jsonl: {len(rows)} of {digits} digits; {unaligned} samples not aligned")


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
