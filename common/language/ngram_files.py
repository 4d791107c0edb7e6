"""Files of n-gram models: ARPA (also gzipped), KenLM's binary ones, and our own, which load at once."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from carousel.common.errors import InputError
from carousel.common.files import atomic_text
from carousel.common.language import arpa, kenlm, ngram_safetensors
from carousel.common.language.ngram import END_ID, NEVER, ROUNDING, SPACE, SPACES, UNITS, NGrams, unit_of
from carousel.common.text.file import UNREADABLE, open_text

log = logging.getLogger(__name__)

FARTHEST = 1e4  # natural log: no score is so far from 0


def save(model: NGrams, path: Path, compact: bool = False) -> None:
    """Writes ARPA (.arpa, .arpa.gz) or our own format (.safetensors, also compact) by the file's name."""
    if path.suffix == ".safetensors":
        ngram_safetensors.write(model, path, compact)
    elif path.name.endswith((".arpa", ".arpa.gz")):
        with atomic_text(path) as file:
            file.writelines(arpa.lines(model))
    else:
        raise InputError(f"{path}: a language model is written as .safetensors, .arpa or .arpa.gz")


def load(path: Path, unit: str | None = None, spaces: bool = True) -> NGrams:
    """A model from a file: ARPA, KenLM's or our own. Raises InputError naming one that cannot be read.

    unit: what its tokens are, for files that do not say so; None: what they look like. spaces: whether the
    recogniser writes spaces, which decides where they look like either.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(7)
        if path.suffix == ".safetensors":
            model = ngram_safetensors.read(path)
            told: str | None = model.unit
        elif start == b"mmap lm":
            with np.errstate(over="ignore"):  # what becomes infinite is told below
                model, told = kenlm.read(path), None
        else:
            with open_text(path) as text:
                model, told = arpa.read(text, path)
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as a language model ({error}); give an ARPA file") from None
    check_scores(model, path)
    if unit and told and unit != told:
        raise InputError(f"{path}: says that it is over {told}; leave out --lm-unit")
    return model if path.suffix == ".safetensors" else recognised(model, path, unit or told, spaces)


def check_scores(model: NGrams, path: Path) -> None:
    """Raises InputError unless log-probabilities are at most 0, and neither they nor backoff weights so far
    from it that they are none."""
    if not (np.abs(model.log_prob) < FARTHEST).all() or not (np.abs(model.backoff) < FARTHEST).all():
        raise InputError(f"{path}: has scores that are not finite or too large; make the language model anew")
    if not (model.log_prob < ROUNDING).all():
        raise InputError(f"{path}: has log-probabilities above 0; make the language model anew")


def recognised(model: NGrams, path: Path, unit: str | None, spaces: bool) -> NGrams:
    """The model of a foreign file with what that does not say: what tokens are, and whether sentences end.

    unit, spaces: see `load`.
    """
    found = unit_of(model.words)
    if pieces := [word for word in model.words if word.startswith(SPACES[1]) and len(word) > 1]:
        raise InputError(
            f"{path}: is over pieces of words, such as {pieces[0]}; give one over words or characters"
        )
    if unit == "characters" and found == "words":
        longest = max(model.words[3:], key=len)
        raise InputError(f"{path}: has tokens such as {longest}, so it is over words; leave out --lm-unit")
    if unit is None and found is None:
        # where a recogniser writes spaces, characters without one would be of no use to it
        unit = "words" if spaces else "characters"
        log.warning(
            f"{path}: has single characters and no space among them as tokens, and is taken for a model over "
            f"{unit}; --lm-unit {'characters' if spaces else 'words'} says otherwise"
        )
    unit = unit or found or UNITS[0]
    words = model.words
    if unit == "characters":
        space = next((space for space in SPACES if space in words), SPACE)
        words = [SPACE if word == space else word for word in words]
    return replace(model, words=words, unit=unit, running=bool(model.log_prob[END_ID] <= NEVER))
