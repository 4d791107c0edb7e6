"""`asr transcribe` and `hwr recognise`: what recordings, pictures of lines or pen strokes say."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from carousel.common.cli import decoding, options
from carousel.common.cli.data import expanded
from carousel.common.cli.failures import Failures
from carousel.common.cli.inputs import Input, Session, session
from carousel.common.cli.program import Opener, Program
from carousel.common.cli.runner import emitter
from carousel.common.cli.streams import say

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.domain import Prepared, Transcript
    from carousel.common.model.file import Model

    Source = tuple[Model, Prepared, Session]


def add(commands: options.Subparsers, program: Program) -> None:
    parser = options.command_parser(commands, program.verb, program.does, program.examples)
    metavar, words = program.takes
    parser.add_argument("inputs", nargs="+", metavar=metavar, help=words)
    options.add_model_arguments(parser, program.name)
    options.add_decoder_arguments(parser, program.sessions)
    options.add_output_arguments(parser, program.formats)
    program.add_truncation(parser)
    program.add_layout(parser)
    program.add_plot(parser)
    parser.set_defaults(run=transcribe)


def transcribe(program: Program, args: argparse.Namespace) -> int:
    decoding.asked(args)  # options that contradict each other are told before anything is loaded
    failures = Failures()
    inputs = expanded(args.inputs, program, failures)
    if not inputs:
        return failures.status
    form = program.formats[args.format]
    emit = emitter(inputs, args, form)

    from carousel.common import recogniser
    from carousel.common.decoding.rescoring import open_rescorer

    opener = Opener(program, args, failures)
    rescorer = open_rescorer(args.rescore, args.rescore_weight, args.rescore_bonus)
    for model in opener.needed(inputs):
        decoding.asked(args, model)  # what cannot be used is told once, not for each input

    def read(item: Input) -> Source:
        model, prepared = opener.prepare(item, rests=False)
        if not any(map(len, prepared.windows)):
            say(f"note: {item.name}: {program.domains[0].empty}, so its transcript is empty")
        return model, prepared, session(item, args.session)

    def work(model: Model, sources: list[Source]) -> list[tuple[Model, Transcript]]:
        _, prepared, sessions = zip(*sources, strict=True)
        asked = decoding.asked(args, model)
        found = recogniser.transcribe(model, prepared, args.batch_frames, rescorer, sessions, **asked)
        return [(model, transcript) for transcript in found]

    def write(item: Input, found: tuple[Model, Transcript]) -> None:
        model, transcript = found
        emit(item, form.write(transcript, item, model.card["name"]))
        if program.draw is not None and args.plot is not None:
            several = len(inputs) > 1 or item.page is not None
            program.draw(transcript, item, plot_of(item) if several else args.plot)

    def plot_of(item: Input) -> Path:
        page = "" if item.page is None else f".page{item.page}"
        name = item.stem.replace("/", ".")
        return args.plot.with_name(f"{args.plot.stem}.{name}{page}{args.plot.suffix or '.png'}")

    opener.run(opener.items(inputs), read, work, write)
    return failures.status
