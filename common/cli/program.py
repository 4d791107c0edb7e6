"""A program such as `asr`: its commands, and how their inputs reach the network.

What differs between programs stands in a Program; each command is one file beside this one. Nothing heavy is
imported before it is needed, so that --help answers at once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from carousel.common.cli.failures import Failures
from carousel.common.cli.formats import Format
from carousel.common.cli.inputs import Input, expand
from carousel.common.cli.options import channels
from carousel.common.cli.runner import Own, Result, by_model, run
from carousel.common.cli.streams import detail, note, standard_input
from carousel.common.domain import EVERYTHING, Domain, Wanted, open_input
from carousel.common.errors import InputError

if TYPE_CHECKING:  # loading them brings numpy and torch
    import numpy as np

    from carousel.common.domain import Item, Prepared, Transcript
    from carousel.common.model.file import Model


class Live(NamedTuple):
    """How a stream is read. Blocks are mono, float32, at one rate."""

    reader: Callable[
        [Model, Mapping[str, Any], float], Any
    ]  # model, options, delay (s) -> carousel.asr.live.Live
    stream: Callable[[IO[bytes], int, str], Iterator[np.ndarray]]  # file, rate, name -> blocks
    microphone: Callable[[int], Iterator[np.ndarray]]  # rate -> blocks


@dataclass(frozen=True)
class Program:
    """What differs between `asr` and `hwr`, in the order in which --help needs it."""

    name: str
    purpose: str
    domains: tuple[Domain, ...]  # the first is that of inputs of which nothing tells their kind
    formats: Mapping[str, Format]  # the first is the default, of align the second
    verb: str  # the command that writes texts down
    does: str  # what it does, for --help
    examples: str  # of it
    takes: tuple[str, str]  # its inputs, by a name and in words
    input: str  # what one input is called
    inputs: str
    example: str  # the file of one
    recipes: tuple[str, str]  # for the examples of train
    group: str  # key of a manifest that tells who spoke or wrote
    sessions: tuple[str, ...]  # what --session may be, the default first
    unit: str  # of what false alarms are counted in
    part: str  # what a unit is made of
    parts: int  # how many of these
    demo: str  # what `demo` does
    is_sound: bool = False  # which can be truncated, and has channels and times
    draw: Callable[[Transcript, Input, Path], None] | None = None  # what was read, over the input
    draws: str = ""  # what is drawn over what, for --help
    has_pages: bool = False  # whose lines are found
    live: Live | None = None  # how sound is read while it comes

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(domain.name for domain in self.domains)

    @property
    def models(self) -> Path:
        return self.domains[0].models

    def expand(
        self, arguments: Sequence[str], failures: Failures, without: Sequence[str] = ()
    ) -> list[Input]:
        """The inputs of FILE|FOLDER|- arguments. without: suffixes that are left out of folders."""
        suffixes = {suffix for domain in self.domains for suffix in domain.suffixes} - {*without}
        sniffers = [domain.sniff for domain in self.domains]
        return expand(
            arguments, suffixes, self.input, failures, lambda file: any(sniff(file) for sniff in sniffers)
        )

    def add_layout(self, parser: argparse.ArgumentParser) -> None:
        if self.has_pages:
            either = parser.add_mutually_exclusive_group()
            for layout, what in (("page", "a page, whose lines are found"), ("line", "a single line")):
                either.add_argument(
                    f"--{layout}",
                    dest="layout",
                    action="store_const",
                    const=layout,
                    help=f"read every picture as {what} (default: told by what it shows)",
                )

    def add_plot(self, parser: argparse.ArgumentParser) -> None:
        if self.draw is not None:
            parser.add_argument(
                "--plot",
                type=Path,
                metavar="FILE.png",
                help=f"draw {self.draws}; of several inputs each has a file, FILE.NAME.png",
            )

    def add_truncation(self, parser: argparse.ArgumentParser) -> None:
        if self.is_sound:
            parser.add_argument(
                "--allow-truncated",
                action="store_true",
                help=f"{self.inputs} that end too early are read and named, and do not count as failed "
                "(default: they are read and named, and the exit status is 1)",
            )

    def add_hearing(self, parser: argparse.ArgumentParser) -> None:
        """What of sound is read, and how it is told."""
        if not self.is_sound:
            return
        parser.add_argument(
            "--channels",
            type=channels,
            metavar="mix|split|NAMES",
            help="split reads each channel of a call apart, as left and right, and merges them by time; "
            "names with commas between them, as agent,caller, do so under these (default: mix, their mean)",
        )
        parser.add_argument(
            "--times", action="store_true", help="in txt, a time stands at the start of each paragraph"
        )


class Opener:
    """Opens the inputs of a command, each for the model that reads it.

    That is the model that was asked for, or the default of the input's domain. Notes on how an input was read
    go to stderr; one that is truncated counts as failed, unless that is allowed, and is read all the same.
    """

    def __init__(self, program: Program, args: argparse.Namespace, failures: Failures) -> None:
        self.program, self.args, self.failures = program, args, failures
        self._models: dict[str, Model] = {}

    def model(self, domain: Domain) -> Model:
        from carousel.common.model.catalogue import open_model

        args, program = self.args, self.program
        key = args.model or domain.name
        if key not in self._models:
            names = program.names if args.model else (domain.name,)
            began = time.perf_counter()
            self._models[key] = model = open_model(
                args.model, domain.models, names, args.device, domain.work.size, args.precision
            )
            took = f"{time.perf_counter() - began:.2f} s"
            kind = "bf16" if model.bf16 else "fp32"
            detail(f"model {model.card['name']} on {model.device}, {kind}: loaded in {took}")
        return self._models[key]

    def needed(self, inputs: Iterable[Input]) -> list[Model]:
        """The models that are sure to be used: the one that was asked for, or those that the names of files
        tell. What is wrong with one is told once then, not for each input."""
        suffixes = {item.path.suffix.lower() for item in inputs if item.path and not item.sample}
        domains = self.program.domains
        if not self.args.model and len(domains) > 1:
            domains = tuple(domain for domain in domains if suffixes & set(domain.suffixes))
        return list({id(model): model for model in map(self.model, domains)}.values())

    def items(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """The inputs, each page of a file of several as one of its own; what cannot be opened is a failure.

        Each is to be prepared before the next is asked for.
        """
        for item in inputs:
            try:
                domain, found = self._open(item)
                for page, prepare in found:
                    yield replace(item, page=page, load=partial(self._prepare, domain, prepare))
            except Exception as error:
                self.failures.add(item.name, error)

    def prepare(self, item: Input, wanted: Wanted = EVERYTHING) -> tuple[Model, Prepared]:
        """What the network takes of an input or of a sample of a manifest, which holds one item."""
        if item.load is not None:
            model, prepared = item.load(wanted)
        else:
            domain, found = self._open(item)
            page, prepare = next(found)
            if page is not None:
                raise InputError("holds several pages, of which each should be a file of its own")
            model, prepared = self._prepare(domain, prepare, wanted)
        for done in prepared.notes:
            note(f"{item.name}: {done}")
        if prepared.fault and self.args.allow_truncated:
            note(f"{item.name}: {prepared.fault}, which are read")
        elif prepared.fault:
            advice = "copy it again, or accept it with --allow-truncated"
            self.failures.add(item.name, InputError(f"{prepared.fault}, which are read; {advice}"))
        return model, prepared

    def _open(self, item: Input) -> tuple[Domain, Iterator[Item]]:
        source: Any = item.path
        if item.sample is not None:
            given = [getattr(item.sample, domain.key) for domain in self.program.domains]
            source = next((value for value in given if value is not None), None)
            if source is None:
                keys = [f'"{domain.key}"' for domain in self.program.domains]
                none = "no " + keys[0] if len(keys) == 1 else "neither " + " nor ".join(keys)
                raise InputError(f"has {none}, so {self.program.name} cannot read it")
            if item.sample.is_part:
                domain = next(d for d in self.program.domains if getattr(item.sample, d.key) is not None)
                return domain, domain.work.open(item.sample, domain.name)
        elif source is None:
            source = standard_input()
        layout = getattr(self.args, "layout", None)  # which commands have that take pictures
        return open_input(source, self.program.domains, **({"layout": layout} if layout else {}))

    def _prepare(
        self, domain: Domain, prepare: Callable[[dict[str, Any], Wanted], Prepared], wanted: Wanted
    ) -> tuple[Model, Prepared]:
        model = self.model(domain)
        return model, prepare(model.features, wanted)

    def run(
        self,
        inputs: Iterable[Input],
        read: Callable[[Input], Own],
        work: Callable[[Model, list[Own]], Sequence[Result]],
        write: Callable[[Input, Result], None],
    ) -> None:
        """Inputs through `read`, which gives model, Prepared and more, `work` with those of one model, and
        `write`."""
        run(
            inputs,
            read,
            lambda sources: by_model(sources, work),
            write,
            self.failures,
            name=lambda item: item.label,
            weigh=lambda source: sum(map(len, source[1].windows)),
            budget=self.args.batch_frames,
        )
