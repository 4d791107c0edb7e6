"""`evaluate`: its options; common.cli.measuring does the work."""

from __future__ import annotations

import argparse
from pathlib import Path

from carousel.common.cli import decoding, options
from carousel.common.cli.failures import Failures
from carousel.common.cli.files import check_file, check_page, check_picture
from carousel.common.cli.program import Opener, Program
from carousel.common.errors import UsageError


def add(commands: options.Subparsers, program: Program) -> None:
    parser = options.command_parser(
        commands,
        "evaluate",
        "measure the error rates of a model on manifests",
        f"""
        {program.name} evaluate test.jsonl
        {program.name} evaluate test.jsonl --model runs/mine --decoder beam --json
        {program.name} evaluate test.jsonl --by {program.group} --output hypotheses.tsv
        {program.name} evaluate test.jsonl --ignore case,punctuation
        {program.name} evaluate test.jsonl --report new.html --compare old.html
        """,
    )
    parser.add_argument(
        "manifests",
        nargs="+",
        type=Path,
        metavar="MANIFEST|FOLDER",
        help="a .jsonl or .jsonl.gz of samples, or a folder in a layout that `prepare` knows (its test part, "
        "where it has one), or one file of it",
    )
    options.add_model_arguments(parser, program.name)
    options.add_decoder_arguments(parser, nbest=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument(
        "--ignore",
        type=options.ignorable,
        default=[],
        metavar="KINDS",
        help="do not count errors of case, of punctuation (dashes and slashes part words), or of both: "
        f"{','.join(options.IGNORABLE)}",
    )
    parser.add_argument(
        "--tune",
        action="store_true",
        help="find the weight and bonus of the fewest errors for --lm, or for --rescore after an --lm that "
        "was tuned before, and keep them in its file (take a valid set, never the test)",
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit the confidences to how often they are right, as `train` does, and keep the fit in the "
        "file of --model if it is better on samples that it was not fitted on; it needs 20 or more (take a "
        "valid set, and decode as you will later)",
    )
    _add_outputs(parser, program)
    parser.set_defaults(run=evaluate)


def _add_outputs(parser: argparse.ArgumentParser, program: Program) -> None:
    """What is told apart, and the files that are written."""
    parser.add_argument(
        "--reliability",
        type=Path,
        metavar="FILE",
        help="draw how right what is read is, by how sure it is (.png)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write a page for people (.html, one file): rates, which errors, where, and the worst samples "
        "to hear or see",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help="an earlier --report of the same samples, to be compared with in the new one",
    )
    parser.add_argument(
        "--by",
        action="append",
        metavar="KEY",
        help=f"rates apart for each value of a key of the manifest, such as {program.group}",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write reference and hypothesis of each sample, as .jsonl or .tsv",
    )


def evaluate(program: Program, args: argparse.Namespace) -> int:
    decoding.asked(args)
    check_output(args)
    failures = Failures()
    opener = Opener(program, args, failures)

    from carousel.common.cli import measuring

    return measuring.evaluate(opener)


def check_output(args: argparse.Namespace) -> None:
    """What cannot be written, or must not be, is told before the work, not after."""
    path = args.output
    if args.ignore and (strict := [o for o in ("calibrate", "reliability", "tune") if getattr(args, o)]):
        raise UsageError(f"--{strict[0]} goes by what is right to the letter; leave out --ignore")
    if args.tune and args.lm is None and args.rescore is None:
        raise UsageError("--tune needs a language model; give one with --lm or --rescore")
    if args.tune and args.rescore is None and args.lm.suffix != ".safetensors":
        raise UsageError(
            f"--tune keeps what it finds in the language model, and {args.lm} is not a .safetensors file"
        )
    if args.calibrate and args.model is None:
        raise UsageError(
            "--calibrate changes the file of the model: name yours with --model, or one that ships if it is "
            "to be changed for all who use this installation"
        )
    if args.compare and not args.report:
        raise UsageError("--compare stands in a report; give one with --report FILE.html")
    if args.report:
        check_page("report", args.report)
        if args.compare:
            check_file("compare", args.compare)
    if args.reliability:
        check_picture("reliability", args.reliability)
    if path is None:
        return
    if path.suffix not in (".jsonl", ".tsv"):
        raise UsageError(f"--output {path}: hypotheses are written as FILE.jsonl or FILE.tsv")
    if path.is_dir():
        raise UsageError(f"--output {path}: this is a folder; give the name of a file")
    if any(manifest.exists() and path.exists() and path.samefile(manifest) for manifest in args.manifests):
        raise UsageError(f"--output {path}: this is the manifest itself; give another name")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}; make it first")
