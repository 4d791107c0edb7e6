"""Names of output files: of inputs with one name, each has a place of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.command import Input


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
