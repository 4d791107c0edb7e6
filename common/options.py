"""How texts are found: the options of decoding, for the command line and for Python.

The names, bounds and meanings stand here once: `--help` and the parser are made of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

DECODERS = ("greedy", "beam", "pyctcdecode")  # of common.decoding, whose import would slow --help down
NONE = "none"  # --lm none, --lexicon none (without the list that the model has), --session none
DELAY = 1.5  # s that are heard after a sound before what it says settles, while it is listened to
COUNTS = (1, 10**9, int)  # more than any computer holds, and less than what the compiled search counts to

LISTS = ("lexicon", "grammar")  # options that say all that may be written

File = str | os.PathLike[str]


def option(
    help: str,
    bounds: tuple[float, float, type] | None = None,
    choices: tuple[str, ...] | None = None,
    default: Any = None,
    also: tuple[str, ...] = (),
) -> Any:
    """A field. bounds: least, most and type of a number; without them or choices it is a file. also: other
    names on the command line."""
    return field(default=default, metadata={"help": help, "bounds": bounds, "choices": choices, "also": also})


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """The options of decoding; None stands for what the model, the language model or the decoder has."""

    decoder: str | None = option(
        "how text is found in the network's output (default: the model's own choice, or beam when "
        "--beam or --nbest is given)",
        choices=DECODERS,
    )
    beam: int | None = option("hypotheses that beam search keeps (default: the model's or decoder's)", COUNTS)
    lm: File | None = option(
        "language model for beam search: as `lm` makes it, ARPA (also gzipped), or KenLM's binary; none for "
        "none (default: MODEL.lm.safetensors beside the model, where there is one)",
        also=("--language-model",),
    )
    lm_unit: str | None = option(
        "what that counts (default: what its file says or its tokens look like; those of spelled letters "
        "can look like characters)",
        choices=("words", "characters"),
    )
    lexicon: File | None = option("write only the words of this file (one a line)")
    unlisted: float | None = option(
        "with --lexicon: write other words too. The cost, a natural log of at most 0, is for a "
        "six-letter word and grows with the word's length (default: only listed words are written)",
        (-1000, 0, float),
    )
    grammar: File | None = option(
        "write only the sentences of this file: one a line, or a JSGF grammar (its weights are ignored)"
    )
    hotwords: File | None = option(
        "raise the words and phrases of this file: one a line, with a tab and a weight of its own if wanted; "
        "# begins a comment"
    )
    hotword_weight: float | None = option(
        "what each hotword without a weight adds wherever it stands whole, natural log, "
        "-100 to 30 (default: 3)",
        (-100, 30, float),
    )
    lm_weight: float | None = option(
        "weight of the language model's natural logs (default: what was tuned, or 0.5)", (0, 20, float)
    )
    bonus: float | None = option(
        "added for each token of the language model (default: what was tuned, or 0)", (-20, 20, float)
    )
    unknown: float | None = option(
        "added for a word that the language model does not have. The cost, at most 0, is for a "
        "six-letter word and grows with the word's length (default: what was tuned, or -5)",
        (-1000, 0, float),
    )
    rescore: File | None = option(
        "LSTM language model that chooses among the beam's texts: what `train recipe=language` makes, or the "
        "folder of its run"
    )
    rescore_weight: float | None = option(
        "weight of that model's natural logs (default: what was tuned, or 0.5)", (0, math.inf, float)
    )
    rescore_bonus: float | None = option(
        "added for each token of that model (default: what was tuned, or 0)", (-math.inf, math.inf, float)
    )
    nbest: int = option(
        "texts to give for each input, the best first; with --format json (default: 1). With a "
        "language model more texts are kept apart then, so the first can, rarely, be another than for 1",
        COUNTS,
        default=1,
    )


def settings() -> Mapping[str, Mapping[str, Any]]:
    """By the name of an option its help, bounds and choices."""
    return {one.name: one.metadata for one in fields(Decoding)}
