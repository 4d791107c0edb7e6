"""Texts that a model hears in the sound: which of several readings, and whether a transcript is right.

Self-training keeps the machine transcripts on which two recognisers agree.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from carousel.asr.domain import SPEECH
from carousel.common.ctc.loss import frames_needed, log_likelihood
from carousel.common.data.manifest import Sample
from carousel.common.decoding import decode
from carousel.common.model.catalogue import open_model
from carousel.common.recogniser import log_probs
from carousel.common.text.alphabet import Alphabet
from carousel.common.text.metrics import edits
from carousel.recipes.splits import Row

BATCH = 64  # recordings


def agreed(rows: Iterable[tuple[Row, list[str]]], choice: str, most: float | None) -> Iterator[Row]:
    """Rows with the likeliest of the readings that come with each as text.

    choice: a model: its name, its file or the folder of its run. most: the character error rate of its own
    greedy text above which a row is left out, None to keep all. Raises InputError for what cannot be read.
    """
    model = open_model(choice, SPEECH.models, (SPEECH.name,))
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        samples = [Sample(text="", audio=row["audio"]) for row, _ in batch]
        features = [SPEECH.work.read(sample, model.features) for sample in samples]
        for (row, readings), scores in zip(batch, log_probs(model, features), strict=True):
            text = likeliest(scores, readings, model.alphabet)
            heard = decode(scores, model.alphabet)[0].text
            if text and (most is None or edits(text, heard).errors <= most * len(text)):
                yield {**row, "text": text}


def likeliest(scores: np.ndarray, readings: Iterable[str], alphabet: Alphabet) -> str | None:
    """The reading of the highest likelihood; None where none fits into the frames.

    scores: (frames, symbols) log-probabilities.
    """
    targets = {text: alphabet.encode(text) for text in readings}
    fitting = {text: target for text, target in targets.items() if frames_needed(target) <= len(scores)}
    return max(fitting, key=lambda text: log_likelihood(scores, fitting[text]), default=None)
