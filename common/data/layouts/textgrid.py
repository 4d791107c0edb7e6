"""Praat's TextGrid files as segments of recordings, in the long and in the short form of its text files.

Both forms hold the same values in the same order; what else stands in the long form is for people (Praat's
manual, "TextGrid file formats").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from carousel.common.data.layouts import beside
from carousel.common.data.layouts.found import Folder, Found
from carousel.common.data.layouts.tiers import WORDS, Segment, Tier, add_tiers, choose
from carousel.common.errors import InputError

ENDING = ".textgrid"
LARGEST = 64 << 20  # bytes
# A value stands free: a text in quotation marks, which are doubled inside it, a flag, or a number.
NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
VALUE = re.compile(rf'"((?:[^"]|"")*)"|(?<!\S)(<\w+>)(?!\S)|(?<!\S)({NUMBER})(?!\S)')


def claims(folder: Folder) -> bool:
    """TextGrids with their recordings; not those of single words where whole texts stand beside these."""
    files = [file for file in folder.ending(ENDING) if file.with_suffix("") in folder.by_stem]
    if not files or folder.tier or not beside.claims(folder):
        return bool(files)
    try:
        chosen, _ = choose(read_textgrid(files[0]))
    except InputError:
        return True
    return not any(tier.has(WORDS) for tier in chosen)


def read(folder: Folder, found: Found) -> None:
    for file in folder.ending(ENDING):
        audio = folder.by_stem.get(file.with_suffix(""))
        if audio is None:
            found.leave(folder.place(file), "no recording beside it")
            continue
        try:
            tiers = read_textgrid(file)
        except InputError as error:
            found.leave(error, "cannot be read as a TextGrid")
            continue
        add_tiers(found, folder, file, audio, tiers)
    marked = {file.with_suffix("") for file in folder.ending(ENDING)}
    for stem in sorted(folder.by_stem.keys() - marked):
        found.leave(folder.place(folder.by_stem[stem]), "no TextGrid beside it")


def decoded(path: Path) -> str:
    """Text in UTF-8 or UTF-16 by its byte order mark, or else in UTF-8 or Latin-1, as Praat writes it."""
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path}: is larger than {LARGEST >> 20} MB; cut it up")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_textgrid(path: Path) -> list[Tier]:
    """The interval tiers of a file. Raises InputError."""
    try:
        text = decoded(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not text.lstrip().startswith(("File type", '"ooTextFile')):
        raise InputError(f"{path}: is not a text file of Praat; save it as text file")
    values: Iterator[str | float] = (
        match[1].replace('""', '"') if match[1] is not None else match[2] or float(match[3])
        for match in VALUE.finditer(text)
    )
    try:
        return list(_tiers(values))
    except (StopIteration, RuntimeError, TypeError, ValueError):
        raise InputError(f"{path}: breaks off or is damaged; save it again with Praat") from None


def _tiers(values: Iterator[str | float]) -> Iterator[Tier]:
    for value in values:
        if value == "TextGrid":
            break
    _number(values), _number(values)
    if next(values) != "<exists>":
        return
    for _ in range(int(_number(values))):
        kind, name = _text(values), _text(values)
        _number(values), _number(values)
        segments = []
        for _ in range(int(_number(values))):
            if kind == "IntervalTier":
                segments.append(Segment(_number(values), _number(values), _text(values)))
            else:
                _number(values), _text(values)
        if kind == "IntervalTier":
            speaker, _, own = name.rpartition(" - ")  # as the Montreal Forced Aligner names them
            yield Tier(own.strip(), speaker.strip(), tuple(segments))


def _number(values: Iterator[str | float]) -> float:
    value = next(values)
    if not isinstance(value, float):
        raise TypeError
    return value


def _text(values: Iterator[str | float]) -> str:
    value = next(values)
    if not isinstance(value, str):
        raise TypeError
    return value
