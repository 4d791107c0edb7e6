"""`listen`, and `transcribe --live`: text while somebody speaks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli import decoding, options, streams
from carousel.common.cli.failures import DONE, Failures
from carousel.common.cli.files import check_file
from carousel.common.cli.inputs import STDIN, Input
from carousel.common.cli.program import Live, Opener, Program
from carousel.common.errors import InputError, UsageError
from carousel.common.options import DELAY

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.decoding import Hypothesis
    from carousel.common.model.file import Model

DELAY_HELP = (
    "seconds that are heard after a sound before its letter settles; more read better "
    f"(default: {DELAY}). With a search, texts settle in pauses"
)


def add(commands: options.Subparsers, program: Program) -> None:
    name = program.name
    parser = options.command_parser(
        commands,
        "listen",
        "write down what is said while it is said",
        f"""
        {name} listen                                    the microphone (pip install 'carousel-ctc[mic]')
        ffmpeg -i URL -f wav - | {name} listen -         a stream that comes through a pipe
        {name} listen --lm none                          without the language model: text in {DELAY} s
        {name} listen --format json                      a JSON object for each stretch between pauses
        """,
    )
    parser.add_argument(
        "input",
        nargs="?",
        metavar="FILE|-",
        help="a WAV stream, - for standard input (default: the microphone)",
    )
    parser.add_argument("--delay", type=options.number(0, 60), default=DELAY, metavar="S", help=DELAY_HELP)
    options.add_model_arguments(parser, name, batches=False)
    options.add_decoder_arguments(parser, nbest=False, second_pass=False)
    parser.add_argument(
        "-f", "--format", choices=("txt", "json"), default="txt", help="what to write (default: txt)"
    )
    parser.set_defaults(run=listen)


def listen(program: Program, args: argparse.Namespace) -> int:
    """Reads a stream to its end, or to Ctrl-C."""
    if program.live is None:
        raise UsageError(f"{program.name} reads no stream")
    wanted = argparse.Namespace(**{**vars(args), "nbest": 1, "format": ["txt"]})
    decoding.asked(wanted)
    model = Opener(program, args, Failures()).model(program.domains[0])
    live = program.live.reader(model, decoding.asked(wanted, model), args.delay)
    teller = Teller(program, model, args.format, args.input or "microphone")
    with suppress(KeyboardInterrupt):
        for block in _blocks(program.live, args.input, live.rate):
            if live.feed(block):
                teller.tell(live.done, live.growing, live.text if teller.terminal else "")
    live.close()
    teller.tell(live.done, "", "")
    return DONE


def _blocks(live: Live, source: str | None, rate: int) -> Iterator[np.ndarray]:
    if source is None:
        return live.microphone(rate)
    if source == STDIN:
        if sys.stdin is None or streams.is_closed("stdin"):
            raise InputError("standard input: is closed; give it a stream")
        return live.stream(sys.stdin.buffer, rate, "standard input")
    check_file("input", Path(source))
    return live.stream(open(source, "rb"), rate, source)


class Teller:
    """Writes what has settled: a line for each stretch between pauses, word by word."""

    def __init__(self, program: Program, model: Model, form: str, name: str) -> None:
        self.program, self.model, self.form = program, model, form
        self.item = Input(name, None, name)
        self.stretches = self.letters = 0  # that are written; letters: of the stretch that is not over
        self.terminal = sys.stderr is not None and sys.stderr.isatty()

    def tell(self, done: list[Hypothesis], growing: str, text: str) -> None:
        """done: stretches that are over; growing: what has settled since; text: all, with what may change."""
        if self.terminal:
            streams.show_status("")
        for hypothesis in done[self.stretches :]:
            self._over(hypothesis)
        self.stretches = len(done)
        whole = growing.rfind(" ") + 1  # a word that is not over may become longer
        if self.form == "txt" and whole > self.letters:
            self._write(growing[self.letters : whole])
            self.letters = whole
        if self.terminal and text:
            streams.show_status("… " + text[-60:])

    def _over(self, hypothesis: Hypothesis) -> None:
        if not hypothesis.symbols:
            return
        if self.form == "txt":
            self._write(hypothesis.text[self.letters :] + "\n")
        else:
            from carousel.common.domain import Transcript

            about: dict[str, Any] = {"duration": hypothesis.symbols[-1].end, "truncated": False}
            found = Transcript((hypothesis,), about)
            self._write(str(self.program.formats["json"].write(found, self.item, self.model.card["name"])))
        self.letters = 0

    def _write(self, text: str) -> None:
        sys.stdout.write(streams.printable(text, keep="\n\t") if sys.stdout.isatty() else text)
        sys.stdout.flush()
