"""Inputs through reading, network and writing: in groups, in order, each failure with its own input."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from carousel.common.cli import streams
from carousel.common.cli.failures import Failures
from carousel.common.cli.files import make_folder, write_whole
from carousel.common.cli.formats import Format
from carousel.common.cli.inputs import STDIN, Input
from carousel.common.cli.streams import printable
from carousel.common.errors import InputError, UsageError

if TYPE_CHECKING:  # loading them brings numpy and torch
    from carousel.common.domain import Transcript
    from carousel.common.model.file import Model

    Emit = Callable[[Input, Transcript, str], None]

GROUP = 64  # inputs read before the network sees them: enough to fill batches, few enough to hold

Key = TypeVar("Key")
Source = TypeVar("Source")
Result = TypeVar("Result")
Own = TypeVar("Own", bound=tuple)  # a model, and what goes with it


def emitter(
    inputs: Sequence[Input],
    args: argparse.Namespace,
    formats: Mapping[str, Format],
    draw: Callable[[Transcript, Input, Path], None] | None = None,
) -> Emit:
    """The function that takes what was read of an input, with the name of the model, to standard output or
    into args.output, in each format of args.format, and draws it where args.plot asks for it.

    Several inputs share standard output where their format allows: txt gets the name and a tab before the
    text (as soon as several inputs, or a folder, were named), json has one object a line, ctm has names.
    A format that is bytes, such as PDF, goes to no terminal.
    Raises InputError rather than writing over an input.
    """
    if len(args.format) > 1 and args.output is None:
        raise UsageError("several formats are several files: give a folder with --output DIR")
    each = [(formats[name], _emitter(inputs, args, name, formats[name])) for name in args.format]

    def emit(item: Input, transcript: Transcript, model: str) -> None:
        for form, put in each:
            put(item, form.write(transcript, item, model))
        if draw is not None and args.plot is not None:
            several = len(inputs) > 1 or item.page is not None
            draw(transcript, item, _plot_of(item, args.plot) if several else args.plot)

    return emit


def _plot_of(item: Input, plot: Path) -> Path:
    """The picture of one of several inputs."""
    page = "" if item.page is None else f".page{item.page}"
    name = item.stem.replace("/", ".")
    return plot.with_name(f"{plot.stem}.{name}{page}{plot.suffix or '.png'}")


def _emitter(
    inputs: Sequence[Input], args: argparse.Namespace, name: str, form: Format
) -> Callable[[Input, str | bytes], None]:
    several = len(inputs) > 1 or len(args.inputs) > 1 or any(map(os.path.isdir, args.inputs))
    if args.output is not None:
        return _file_emitter(inputs, args.output, form.suffix or name)
    if several and not form.shared:
        raise UsageError(f"several inputs cannot share one {name} file: give a folder with --output DIR")
    if streams.is_closed("stdout"):
        raise InputError("standard output is closed, so the result has no place: give --output DIR")
    terminal = sys.stdout.isatty()

    def emit(item: Input, text: str | bytes) -> None:
        if isinstance(text, bytes):
            if terminal:
                raise UsageError(f"{name} is not for a terminal; give --output DIR, or > FILE")
            sys.stdout.buffer.write(text)
            return
        label = STDIN if item.path is None and item.page is None else " ".join(item.label.split())
        if (several or item.page is not None) and name == "txt":
            lines = [line for line in text.split("\n") if line]  # paragraphs have empty ones between them
            text = "".join(f"{label}\t{line}\n" for line in lines or [""])
        sys.stdout.write(printable(text, keep="\n\t") if terminal else text)
        sys.stdout.flush()

    return emit


def is_written(item: Input, args: argparse.Namespace, formats: Mapping[str, Format]) -> bool:
    """Whether all files of an input are in args.output. Of a file of pages that is known page by page."""
    return all(target(item, args.output, formats[name].suffix or name).is_file() for name in args.format)


def target(item: Input, folder: Path, suffix: str) -> Path:
    """The file of an input in an output folder."""
    page = "" if item.page is None else f".page{item.page}"
    return folder / f"{item.stem}{page}.{suffix}"


def _file_emitter(inputs: Sequence[Input], folder: Path, suffix: str) -> Callable[[Input, str | bytes], None]:
    taken = {os.path.realpath(item.path) for item in inputs if item.path is not None}
    targets = {target(item, folder, suffix) for item in inputs}

    def check(path: Path) -> None:
        if os.path.realpath(path) in taken:
            raise InputError(
                f"{path}: would be written over, and it is an input; give another folder to --output"
            )

    def emit(item: Input, text: str | bytes) -> None:
        path = target(item, folder, suffix)
        if item.page is not None:
            check(path)
            if path in targets:
                raise InputError(f"{path}: is the output of another input; give another folder to --output")
        write_whole(path, text)

    for path in targets:
        check(path)
    make_folder(folder)
    return emit


def by_model(items: Sequence[Own], work: Callable[[Model, list[Own]], Sequence[Result]]) -> list[Result]:
    """The results of items in their order, those of one model worked together; the model stands first."""
    found: dict[int, Result] = {}
    for model in {id(item[0]): item[0] for item in items}.values():
        mine = [i for i, item in enumerate(items) if item[0] is model]
        found.update(zip(mine, work(model, [items[i] for i in mine]), strict=True))
    return [found[i] for i in range(len(items))]


def run(
    inputs: Iterable[Key],
    read: Callable[[Key], Source],
    work: Callable[[list[Source]], list[Result]],
    emit: Callable[[Key, Result], None],
    failures: Failures,
    *,
    name: Callable[[Key], str],
    weigh: Callable[[Source], int],
    budget: int,
) -> None:
    """Takes inputs through read (one at a time), work (in groups, to fill batches) and emit, in order.

    What fails at any of these, in whatever way, is named and left out; all others are done. A group is full
    when the weights of its sources (frames) reach the budget, or at GROUP sources.
    """

    began = time.perf_counter()

    def finish(group: list[tuple[Key, Source]]) -> None:
        nonlocal began
        read = time.perf_counter()
        for key, result in _worked(group, work, failures, name):
            try:
                emit(key, result)
            except BrokenPipeError:
                raise
            except Exception as error:
                failures.add(name(key), error)
        done = time.perf_counter()
        streams.detail(
            f"{len(group)} input{'s' * (len(group) > 1)}, {weight:,} frames: read in {read - began:.2f} s, "
            f"network, search and writing {done - read:.2f} s"
        )
        began = done

    group: list[tuple[Key, Source]] = []
    weight = 0
    for key in inputs:
        try:
            source = read(key)
            weight += weigh(source)
        except Exception as error:
            failures.add(name(key), error)
            continue
        group.append((key, source))
        if weight >= budget or len(group) >= GROUP:
            finish(group)
            group, weight = [], 0
    finish(group)


def _worked(
    group: list[tuple[Key, Source]],
    work: Callable[[list[Source]], list[Result]],
    failures: Failures,
    name: Callable[[Key], str],
) -> Iterator[tuple[Key, Result]]:
    """Each key with its result; if the group fails, one after the other, to name the one to blame."""
    if not group:
        return
    try:
        results = work([source for _, source in group])
    except Exception as error:
        if len(group) == 1:
            failures.add(name(group[0][0]), error)
            return
        for single in group:
            yield from _worked([single], work, failures, name)
        return
    yield from zip((key for key, _ in group), results, strict=True)
