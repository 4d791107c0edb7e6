"""`demo`: the samples that come with the package, read by the models that ship, and a picture of each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from carousel.common.cli import options
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input
from carousel.common.cli.program import Opener, Program
from carousel.common.cli.streams import show
from carousel.common.errors import InputError


def add(commands: options.Subparsers, program: Program) -> None:
    parser = options.command_parser(
        commands,
        "demo",
        f"{program.demo} with the package, and draw what the network saw",
        f"""
        {program.name} demo
        {program.name} demo --output pictures
        """,
    )
    options.add_model_arguments(parser, program.name)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="folder of the pictures (default: demo)",
    )
    parser.set_defaults(run=demo)
    program.add_truncation(parser)


def demo(program: Program, args: argparse.Namespace) -> int:
    """Prints what each sample says and what was read."""
    folder = program.domains[0].samples
    suffixes = [suffix for domain in program.domains for suffix in domain.suffixes]
    paths = [path for path in sorted(folder.glob("*")) if path.suffix in suffixes]
    samples = [Input(str(path), path, path.stem) for path in paths]
    if not samples:
        raise InputError("this installation has no samples; install the package anew")
    args.output.mkdir(parents=True, exist_ok=True)
    failures = Failures()
    opener = Opener(program, args, failures)
    opener.needed(samples)

    from carousel.common.decoding import decode
    from carousel.common.recogniser import scores_of

    for path, sample in zip(paths, samples, strict=True):
        picture = args.output / f"demo-{path.stem}.png"
        try:
            model, prepared = opener.prepare(sample)
            ((scores,),) = scores_of(model, [prepared], args.batch_frames)  # samples are short: one window
            hypothesis = decode(scores, model.alphabet, **model.decoder)[0]
            said = truth(path)
            title = f"{path.name}   read as: {hypothesis.text}" + ("" if said is None else f"   says: {said}")
            prepared.draw(scores, hypothesis, model, picture, title)
        except Exception as error:
            failures.add(sample.name, error)
            continue
        show(sample.name)
        if said is not None:
            show(f"  says:    {said}")
        show(f"  read as: {hypothesis.text}")
        show(f"  picture: {picture}")
    return failures.status


def truth(sample: Path) -> str | None:
    """What a sample says: "text" in STEM.json (the sample itself, or beside it), or else STEM.gt.txt."""
    beside, line = sample.with_suffix(".json"), sample.with_suffix(".gt.txt")
    if beside.is_file():
        text: str | None = json.loads(beside.read_text(encoding="utf-8-sig")).get("text")
        return text
    return line.read_text(encoding="utf-8-sig").strip() if line.is_file() else None
