"""`asr lm` and `hwr lm`: an n-gram language model from texts, in the letters of a recogniser."""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from common import arguments
from common.alphabet import Alphabet, name_symbols, normalise
from common.command import DONE, UsageError, say
from common.errors import InputError
from common.streams import show
from common.text_file import UNREADABLE, open_text

LINE = 1000  # tokens of a piece of running text; what begins a piece knows nothing of the one before


def add(commands: arguments.Subparsers, program: str, alphabet_of: Callable[[str], Alphabet]) -> None:
    """alphabet_of: the alphabet of a model by what --model may name."""
    parser = arguments.command_parser(
        commands,
        "lm",
        "make an n-gram language model of texts",
        f"""
        {program} lm train.jsonl --output words.safetensors
        {program} lm novels.txt.xz --unit characters --running --model M --output letters.safetensors
        {program} lm texts/*.txt --order 4 --prune 0 0 1 --valid valid.jsonl --output words.arpa.gz
        """,
    )
    parser.add_argument(
        "texts", nargs="+", type=Path, metavar="TEXT",
        help="a text of one sentence a line (also packed: .gz, .xz, .bz2), or a manifest (.jsonl, .jsonl.gz)",
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
        type=arguments.number(1, 6, int),
        metavar="N",
        help="1 to 6 (default: 3 for words, 6 for characters)",
    )
    parser.add_argument(
        "--prune", type=arguments.number(0, kind=int), nargs="+", default=(), metavar="COUNT",
        help="leave out n-grams that occur so often or less, for order 1, 2, …; the last for all that follow",
    )  # fmt: skip
    parser.add_argument(
        "--vocabulary", type=arguments.count, metavar="N", help="keep the N most frequent tokens"
    )
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
    parser.set_defaults(run=lambda args: make(args, alphabet_of))


def make(args: argparse.Namespace, alphabet_of: Callable[[str], Alphabet]) -> int:
    from common.decoding.kneser_ney import estimate
    from common.decoding.ngram import UNITS, tokens

    if not args.output.name.endswith((".safetensors", ".arpa", ".arpa.gz")):
        raise UsageError(
            f"--output {args.output}: a language model is written as .safetensors, .arpa or .arpa.gz"
        )
    if args.running and args.unit == "words":
        raise UsageError("--running goes with --unit characters")
    order = args.order or (3 if args.unit == UNITS[0] else 6)
    fit = Fit(alphabet_of(args.model) if args.model else None)

    def sentences(paths: Iterable[Path]) -> Iterator[list[str]]:
        lines = (line for path in paths for line in read_texts(path))
        cut = (tokens(text, args.unit) for text in map(fit, lines) if text)
        return running(cut) if args.running else cut

    found = estimate(sentences(args.texts), order, prune=args.prune, vocabulary=args.vocabulary)
    found = replace(found, unit=args.unit, running=args.running)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    found.save(args.output)
    fit.report()
    for path in args.valid:
        perplexity, count, unknown = found.perplexity(sentences([path]))
        show(f"{path}: perplexity {perplexity:.2f}, {count:,} tokens, {unknown / max(count, 1):.2%} unknown")
    numbers = ", ".join(f"{count:,} of order {n}" for n, count in enumerate(found.counts, start=1))
    show(f"{args.output}: {args.unit}, {numbers}; {args.output.stat().st_size / 1e6:.1f} MB")
    return DONE


class Fit:
    """Texts in the letters of an alphabet, with a count of what it does not have."""

    def __init__(self, alphabet: Alphabet | None):
        self.alphabet = alphabet
        self.left_out: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        text = " ".join((self.alphabet.cased if self.alphabet else normalise)(text).split())
        if self.alphabet and (unknown := self.alphabet.unknown(text)):
            self.left_out.update(c for c in text if c in unknown)
            text = " ".join("".join(c for c in text if c not in unknown).split())
        return text

    def report(self) -> None:
        if self.left_out:
            most = [symbol for symbol, _ in self.left_out.most_common(8)]
            named = name_symbols(most) + (" …" if len(self.left_out) > len(most) else "")
            say(f"note: left out {self.left_out.total():,} characters that the model cannot write: {named}")


def running(lines: Iterable[list[str]]) -> Iterator[list[str]]:
    """Lines of characters joined by spaces, in pieces of LINE tokens."""
    from common.decoding.ngram import SPACE

    stream = itertools.chain.from_iterable(itertools.chain(line, [SPACE]) for line in lines)
    while piece := list(itertools.islice(stream, LINE)):
        yield piece


def read_texts(path: Path) -> Iterator[str]:
    """Lines of a text, or texts of a manifest. Raises InputError naming the file."""
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        from common.corpus import read_manifest

        yield from (sample.text for sample in read_manifest(path))
        return
    try:
        with open_text(path) as file:
            yield from file
    except UNREADABLE as error:
        raise InputError(
            f"{path}: cannot be read as text ({error}); give UTF-8 text, one sentence a line"
        ) from None
