"""`asr lm` and `hwr lm`: an n-gram language model from texts, in the letters of a recogniser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from carousel.common.cli import options
from carousel.common.cli.data import texts_of
from carousel.common.cli.failures import DONE
from carousel.common.cli.program import Program
from carousel.common.cli.streams import note, show
from carousel.common.errors import UsageError


def add(commands: options.Subparsers, program: Program) -> None:
    name = program.name
    parser = options.command_parser(
        commands,
        "lm",
        "make an n-gram language model of texts",
        f"""
        {name} lm train.jsonl --output words.safetensors
        {name} lm novels.txt.xz --unit characters --running --model M --output letters.safetensors
        {name} lm texts/*.txt --order 4 --prune 0 0 1 --valid valid.jsonl --output words.arpa.gz
        {name} lm own.txt --mix novels.safetensors --valid valid.jsonl --size 10 --output mine.safetensors
        """,
    )
    parser.add_argument(
        "texts", nargs="+", type=Path, metavar="TEXT",
        help="a text of one sentence a line (also packed: .gz, .xz, .bz2), a manifest (.jsonl, "
        ".jsonl.gz), or a folder in a layout that `prepare` knows",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE",
        help="the model: .safetensors (loads at once), .arpa or .arpa.gz",
    )  # fmt: skip
    parser.add_argument(
        "--unit", choices=("words", "characters"), default="words", help="what is counted (default: words)"
    )
    parser.add_argument(
        "--order",
        type=options.number(1, 6, int),
        metavar="N",
        help="1 to 6 (default: 3 for words, 6 for characters)",
    )
    parser.add_argument(
        "--prune", type=options.number(0, kind=int), nargs="+", default=(), metavar="COUNT",
        help="leave out n-grams that occur so often or less, for order 1, 2, …; the last for all that follow",
    )  # fmt: skip
    parser.add_argument(
        "--vocabulary", type=options.count, metavar="N", help="keep the N most frequent tokens"
    )
    parser.add_argument(
        "--mix", type=Path, nargs="+", default=(), metavar="LM",
        help="interpolate with these n-gram models, in the shares that suit --valid best (else equal ones)",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=options.number(0, kind=float), metavar="MB",
        help="prune by relative entropy until a compact file of so many MB holds it",
    )  # fmt: skip
    parser.add_argument(
        "--running", action="store_true",
        help="running text: lines may begin and end anywhere in a sentence, as those of a page do",
    )  # fmt: skip
    parser.add_argument(
        "--model", metavar="M",
        help="write the texts as this recogniser would: in its case, without characters that it lacks",
    )  # fmt: skip
    parser.add_argument(
        "--valid",
        type=Path,
        action="append",
        default=[],
        metavar="TEXT",
        help="measure the perplexity on this",
    )
    parser.set_defaults(run=make)


def make(program: Program, args: argparse.Namespace) -> int:
    from carousel.common.language import ngram_files
    from carousel.common.language.kneser_ney import estimate
    from carousel.common.language.mixing import best_weights, mix, prune
    from carousel.common.language.ngram import UNITS, tokens
    from carousel.common.language.ngram_safetensors import compact_size
    from carousel.common.language.texts import Fit, running
    from carousel.common.model.catalogue import open_model
    from carousel.common.text.written import settings_in

    if not args.output.name.endswith((".safetensors", ".arpa", ".arpa.gz")):
        raise UsageError(
            f"--output {args.output}: a language model is written as .safetensors, .arpa or .arpa.gz"
        )
    if args.running and args.unit == "words":
        raise UsageError("--running goes with --unit characters")
    if args.size is not None and args.output.suffix != ".safetensors":
        raise UsageError("--size goes with --output FILE.safetensors")
    order = args.order or (3 if args.unit == UNITS[0] else 6)
    model = open_model(args.model, program.models, program.names) if args.model else None
    fit = Fit(model.alphabet, settings_in(model.card)) if model else Fit(None)
    split: Callable[[str], Iterable[str]] = model.alphabet.split if model else iter

    def sentences(paths: Iterable[Path]) -> Iterator[list[str]]:
        lines = (line for path in paths for line in texts_of(path, program))
        cut = (tokens(text, args.unit, split) for text in map(fit, lines) if text)
        return running(cut) if args.running else cut

    found = estimate(sentences(args.texts), order, prune=args.prune, vocabulary=args.vocabulary)
    found = replace(found, unit=args.unit, running=args.running)
    if args.mix:
        models = [found, *(ngram_files.load(path, args.unit) for path in args.mix)]
        weights = best_weights(models, sentences(args.valid))
        found = mix(models, weights.tolist())
        shares = zip(weights, ("the texts", *args.mix), strict=True)
        show("; ".join(f"{share:.1%} {name}" for share, name in shares))
    if args.size is not None:
        found = prune(found, lambda counts: compact_size(found.words, counts) <= args.size * 1e6)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    ngram_files.save(found, args.output, compact=args.size is not None)
    if fit.left_out:
        note(fit.note())
    for path in args.valid:
        perplexity, count, unknown = found.perplexity(sentences([path]))
        show(f"{path}: perplexity {perplexity:.2f}, {count:,} tokens, {unknown / max(count, 1):.2%} unknown")
    numbers = ", ".join(f"{count:,} of order {n}" for n, count in enumerate(found.counts, start=1))
    show(f"{args.output}: {args.unit}, {numbers}; {args.output.stat().st_size / 1e6:.1f} MB")
    return DONE
