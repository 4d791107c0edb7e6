"""`asr transcribe` and `hwr recognise`: what recordings, pictures of lines or pen strokes say."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from carousel.common.cli import decoding, listen, options, selection
from carousel.common.cli.data import expanded
from carousel.common.cli.failures import Failures
from carousel.common.cli.formats import Format
from carousel.common.cli.inputs import Input, Session, session
from carousel.common.cli.program import Opener, Program
from carousel.common.cli.progress import Progress, is_shown
from carousel.common.cli.runner import emitter, is_written
from carousel.common.cli.streams import detail, note
from carousel.common.domain import TRANSCRIBED
from carousel.common.errors import UsageError
from carousel.common.options import DELAY

if TYPE_CHECKING:  # loading them brings torch
    from carousel.common.domain import Prepared, Transcript
    from carousel.common.model.file import Model

    Source = tuple[Model, Prepared, Session]

# What only whole recordings have.
UNHEARD = (
    "output", "plot", "channels", "times", "allow_truncated", "files_from", "shard", "skip_existing",
    "session", "rescore", "rescore_weight", "rescore_bonus",
)  # fmt: skip


def add(commands: options.Subparsers, program: Program) -> None:
    parser = options.command_parser(commands, program.verb, program.does, program.examples)
    metavar, words = program.takes
    parser.add_argument("inputs", nargs="*", metavar=metavar, help=words)
    selection.add_selection_arguments(parser, program.inputs)
    options.add_model_arguments(parser, program.name)
    options.add_decoder_arguments(parser, program.sessions)
    options.add_output_arguments(parser, program.formats)
    program.add_hearing(parser)
    program.add_truncation(parser)
    program.add_layout(parser)
    program.add_plot(parser)
    if program.live is not None:
        parser.add_argument(
            "--live", action="store_true", help=f"read - as it comes, as `{program.name} listen -` does"
        )
        parser.add_argument(
            "--delay", type=options.number(0, 60), metavar="S", help=f"with --live: {listen.DELAY_HELP}"
        )
    parser.set_defaults(run=transcribe)


def transcribe(program: Program, args: argparse.Namespace) -> int:
    if getattr(args, "live", False):
        return _live(program, args)
    if getattr(args, "delay", None) is not None:
        raise UsageError("--delay is for --live; leave it out")
    decoding.asked(args)  # options that contradict each other are told before anything is loaded
    selection.check(args, program.input)
    if program.is_sound and args.channels is not None and args.nbest > 1:
        raise UsageError("--nbest lists texts of one channel: leave it out, or --channels")
    formats = formats_of(program, args)
    failures = Failures()
    inputs = expanded(args.inputs, program, failures)
    if not inputs:
        return failures.status
    emit = emitter(inputs, args, formats, program.draw)
    mine = selection.share(inputs, args)
    left = [item for item in mine if not (args.skip_existing and is_written(item, args, formats))]
    selection.tell_skipped(len(mine) - len(left), mine)
    if not left:
        return failures.status

    from carousel.common import recogniser
    from carousel.common.decoding.rescoring import open_rescorer

    opener = Opener(program, args, failures)
    rescorer = open_rescorer(args.rescore, args.rescore_weight, args.rescore_bonus)
    for model in opener.needed(left):
        # What cannot be used is told once, not for each input.
        used = {"decoder": "greedy"} | recogniser.options(model, decoding.asked(args, model))
        detail(f"{model.card['name']}: " + ", ".join(f"{name} {value}" for name, value in used.items()))
    progress = Progress(left, program.inputs, is_shown(args.output is not None))

    wanted = TRANSCRIBED
    if program.is_sound:
        wanted = replace(wanted, channels=args.channels)

    def read(item: Input) -> Source:
        model, prepared = opener.prepare(item, wanted)
        if not any(map(len, prepared.windows)):
            note(f"{item.name}: {program.domains[0].empty}, so its transcript is empty")
        return model, prepared, session(item, args.session)

    def work(model: Model, sources: list[Source]) -> list[tuple[Model, Transcript]]:
        _, prepared, sessions = zip(*sources, strict=True)
        asked = decoding.asked(args, model)
        found = recogniser.transcribe(model, prepared, args.batch_frames, rescorer, sessions, **asked)
        return [(model, transcript) for transcript in found]

    def write(item: Input, found: tuple[Model, Transcript]) -> None:
        model, transcript = found
        emit(item, transcript, model.card["name"])
        progress.done(item, transcript.about.get("duration"))

    items = opener.items(left)
    if args.skip_existing:  # of a file of pages some may be there
        items = (item for item in items if not is_written(item, args, formats))
    try:
        opener.run(items, read, work, write)
    finally:
        progress.close(told=args.output is not None)
    return failures.status


def _live(program: Program, args: argparse.Namespace) -> int:
    given = [name for name in UNHEARD if getattr(args, name) not in (None, False)]
    given += ["nbest"] * (args.nbest > 1) + ["batch_frames"] * (args.batch_frames != options.BATCH_FRAMES)
    if len(args.inputs) != 1 or args.format not in (["txt"], ["json"]) or given:
        named = ", ".join(decoding.flag(name) for name in given) or "the rest"
        raise UsageError(
            f"--live reads one stream and writes txt or json to standard output: leave out {named}"
        )
    wanted = {
        "input": args.inputs[0],
        "format": args.format[0],
        "delay": DELAY if args.delay is None else args.delay,
    }
    return listen.listen(program, argparse.Namespace(**vars(args) | wanted))


def formats_of(program: Program, args: argparse.Namespace) -> dict[str, Format]:
    """The formats, with times where --times asks for them."""
    formats = dict(program.formats)
    if getattr(args, "times", False):
        timed = {name: replace(form, write=form.timed) for name, form in formats.items() if form.timed}
        if not timed.keys() & {*args.format}:
            raise UsageError(f"--times is for {' and '.join(timed)}: other formats have times or have none")
        formats |= timed
    return formats
