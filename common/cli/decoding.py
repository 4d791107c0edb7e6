"""The options of decoding that were asked for, checked before any work begins."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli.files import check_file
from carousel.common.errors import InputError, UsageError
from carousel.common.options import LISTS, NONE, Decoding, settings

if TYPE_CHECKING:  # loading it brings torch
    from carousel.common.model.file import Model

DEFAULT_BEAM = 16  # of the decoders
SECOND_PASS = ("rescore_weight", "rescore_bonus", "session")
KNOWING = [  # options of beam search beside its width
    name for name in settings() if name not in ("decoder", "beam", "nbest", "rescore", *SECOND_PASS)
]
FILES = ("lm", "lexicon", "hotwords", "grammar", "rescore")
# an option, those of which one has to be given with it, and what it says
NEEDED = (
    ("lm_unit", ("lm",), "needs a language model; give one with --lm"),
    ("lm_weight", ("lm",), "needs a language model; give one with --lm"),
    ("bonus", ("lm", "lexicon", "grammar"), "needs a language model; give one with --lm"),
    ("unknown", ("lm",), "needs a language model; give one with --lm"),
    ("unlisted", ("lexicon",), "needs a lexicon; give one with --lexicon FILE"),
    ("hotword_weight", ("hotwords",), "needs hotwords; give them with --hotwords FILE"),
    *((name, ("rescore",), "needs a second pass; give its model with --rescore") for name in SECOND_PASS),
)


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def check(args: argparse.Namespace | Decoding, model: Model | None = None) -> dict[str, Any]:
    """The options of a search that were asked for, and the language model beside the model unless another way
    was asked for; what contradicts itself is a UsageError."""
    nbest, forms = getattr(args, "nbest", 1), getattr(args, "format", "json")
    given = {
        name: value
        for name in ("beam", *KNOWING, "rescore", *SECOND_PASS)
        if (value := getattr(args, name, None)) is not None
    }
    if no_lm := str(given.get("lm")) == NONE:
        del given["lm"]
    elif model and args.decoder in (None, "beam") and "lm" not in given and not _listed(given, model):
        from carousel.common.model.names import language_model

        if beside := model.path and language_model(model.path):
            given["lm"] = beside
    searching = [name for name in given if name not in SECOND_PASS]
    if args.decoder == "greedy" and (searching or nbest > 1):
        named = ", ".join(map(flag, [*searching, *["nbest"] * (nbest > 1)]))
        raise UsageError(f"--decoder greedy does not search; leave out {named}, or use --decoder beam")
    if args.decoder == "pyctcdecode" and (known := [name for name in KNOWING if name in given]):
        named = ", ".join(map(flag, known))
        raise UsageError(f"--decoder pyctcdecode does not have {named}; use --decoder beam")
    if nbest > 1 and "json" not in forms:
        raise UsageError("--nbest gives several texts for each input; use --format json, which can hold them")
    if args.beam and nbest > args.beam:
        raise UsageError(f"--nbest {nbest} needs a --beam of at least {nbest}, not {args.beam}")
    here = given.keys() | (model.decoder.keys() if model else ())
    for name, others, why in NEEDED:
        sure = model is not None or no_lm or "lm" not in others  # else one beside the model may be enough
        if sure and name in given and not here & {*others}:
            raise UsageError(f"{flag(name)} {why}")
    if "grammar" in given and "lexicon" in given:
        raise UsageError("--grammar lists its own words: give it or --lexicon, not both")
    for name in FILES:
        if name in given:
            check_file(name, Path(given[name]))
    return {name: given[name] for name in searching}


def _listed(given: dict[str, Any], model: Model) -> bool:
    """Whether a list says all that may be written: one that is given, or the model's own."""
    return any(str(given.get(name, model.decoder.get(name, NONE))) != NONE for name in LISTS)


def asked(args: argparse.Namespace | Decoding, model: Model | None = None) -> dict[str, Any]:
    """The options of common.decoding.decode that were asked for; what contradicts itself is a UsageError.

    Without a model only the arguments are checked, which takes no time.
    """
    searching = check(args, model)
    nbest = getattr(args, "nbest", 1)
    options = {name: value for name, value in searching.items() if name != "rescore"}
    if args.decoder is not None:
        options["decoder"] = args.decoder
    if nbest > 1:
        options["nbest"] = nbest
    if model is None:
        return options
    implied = args.decoder is None and (options or searching)
    if implied and model.decoder.get("decoder", "greedy") == "greedy":
        options["decoder"] = "beam"

    from carousel.common.recogniser import options as over_defaults

    if nbest > DEFAULT_BEAM and "beam" not in over_defaults(model, options):
        options["beam"] = nbest
    _check(model, options, over_defaults(model, options))
    return options


def _check(model: Model, options: dict[str, Any], whole: dict[str, Any]) -> None:
    """What the decoder cannot do is told once, not for each input. Raises UsageError for options that
    contradict the model's own decoder, InputError for files and models that cannot be used."""
    import numpy as np

    from carousel.common.decoding import decode_batch
    from carousel.common.decoding.constraints import constraints_of

    constraints_of(model.alphabet, **{name: options[name] for name in KNOWING if name in options})
    # Without frames; a grammar may not allow that, and would warn.
    nothing = [] if whole.get("decoder") == "beam" else [np.zeros((0, len(model.alphabet)))]
    try:
        decode_batch(nothing, model.alphabet, **whole)
    except (InputError, TypeError) as error:
        if not options:
            raise InputError(
                f"{model.path}: its settings of a decoder cannot be used ({error}); give --decoder"
            ) from error
        own = ", ".join(f"{key} {value}" for key, value in model.decoder.items())
        raise UsageError(f"{error} (the model's own: {own}); give --decoder or --beam as well") from error
