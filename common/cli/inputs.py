"""Inputs of a command: files, folders and standard input, each with a name of its own for its output."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carousel.common.cli import streams
from carousel.common.cli.failures import Failures
from carousel.common.errors import InputError, UsageError

if TYPE_CHECKING:  # loading it brings numpy
    from carousel.common.data.manifest import Sample
    from carousel.common.domain import Wanted

STDIN = "-"
STDINS = (STDIN, "/dev/stdin")


@dataclass(frozen=True, slots=True)
class Input:
    """A file, or standard input (no path). `stem`: its own place in an output folder, without suffix; `key`:
    the same but for what tells it from files that differ in their suffix, which share a text.

    Of a file of several pages each is an input of its own; load(reading): reads it where the file is open
    already.
    """

    name: str
    path: Path | None
    stem: str
    key: str = ""
    page: int | None = None
    text: str = ""  # what it says, to be aligned or measured with
    sample: Sample | None = None  # the line of a manifest that it is from
    load: Callable[[Wanted], Any] | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The name for messages."""
        return self.name if self.page is None else f"{self.name}, page {self.page}"


Session = str | None  # over what a second pass remembers; None: over nothing


def session(item: Input, kind: str | None) -> Session:
    """What an input belongs to, by --session: its folder if that is not given, itself, or nothing."""
    if kind == "none":
        return None
    return item.name if item.path is None or kind == "file" else str(item.path.parent)


def expand(
    arguments: Sequence[str],
    suffixes: Iterable[str],
    kind: str,
    failures: Failures,
    also: Callable[[Path], bool] = lambda file: False,
) -> list[Input]:
    """Inputs of FILE|FOLDER|- arguments; of a folder all files below it whose suffix is known, by name.

    A file given by itself is taken whatever its suffix. A folder without a usable file is a failure.
    also: whether to take a file of a folder whose suffix is not known.
    """
    if sum(argument in STDINS for argument in arguments) > 1:
        raise UsageError("- (standard input) can be read once only")
    if "" in arguments:  # as a path it would be the current folder
        raise UsageError("an input has an empty name; give a file, a folder or - (standard input)")
    known = set(suffixes)
    found: list[Input] = []
    for argument in arguments:
        path = Path(argument)
        if argument in STDINS:
            streams.start_reading()
            found.append(Input("standard input", None, "stdin"))
        elif os.path.isdir(path):  # Path.is_dir fails where a name is too long or a folder closed
            files = filter(_is_readable, _files(path, failures))
            inside = [file for file in files if file.suffix.lower() in known or also(file)]
            if not inside:
                failures.add(argument, InputError(f"there is no {kind} in this folder"))
            found += [Input(str(file), file, str(file.relative_to(path).with_suffix(""))) for file in inside]
        else:
            found.append(Input(argument, path, path.stem))
    return with_unique_stems(found)


def _files(folder: Path, failures: Failures) -> Iterator[Path]:
    """Files below a folder, sorted; hidden ones and hidden folders are left out."""
    for parent, folders, files in os.walk(folder, onerror=lambda error: failures.add(str(folder), error)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def _is_readable(path: Path) -> bool:
    """False for a FIFO, socket or device: a folder must not stop or never end the run."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # reading says what is wrong with it


def with_unique_stems(inputs: Sequence[Input]) -> list[Input]:
    """The inputs, each with a stem of its own.

    Where stems meet, the suffix is kept (a.wav, a.mp3), and where that does not help, as many of the folders
    above as tell files apart (x/a, y/a). The same file once more has a number.
    """
    meeting = defaultdict(list)  # some file systems do not tell a.wav from A.wav
    for item in inputs:
        meeting[item.stem.casefold()].append(item)
    namings = {stem: _naming(group) for stem, group in meeting.items()}
    taken: set[str] = set()
    found = []
    for item in inputs:
        folders, suffix = namings[item.stem.casefold()]
        stem = _name(item, folders, suffix)
        number, unique = 1, stem
        while unique.casefold() in taken:
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.casefold())
        found.append(replace(item, stem=unique, key=_name(item, folders, suffix=False)))
    return found


def _naming(group: Sequence[Input]) -> tuple[int, bool]:
    """What the shortest names have that tell inputs with one stem apart: how many folders, and the suffix."""
    if len(group) == 1:
        return 0, False
    files = {item.path: item for item in group if item.path is not None}
    deepest = max((len(_above(item)) for item in files.values()), default=0)
    for folders in range(deepest + 1):
        for suffix in (False, True) if folders else (True,):
            if len({_name(item, folders, suffix).casefold() for item in files.values()}) == len(files):
                return folders, suffix
    return deepest, True


def _name(item: Input, folders: int, suffix: bool) -> str:
    if item.path is None:
        return item.stem
    above = _above(item)
    return "/".join([*above[max(len(above) - folders, 0) :], item.stem + item.path.suffix * suffix])


def _above(item: Input) -> tuple[str, ...]:
    """The folders above a file that its stem leaves out."""
    if item.path is None:
        return ()
    parts = item.path.parts[: -len(Path(item.stem).parts)]
    return tuple(part for part in parts if part not in ("..", item.path.anchor))
