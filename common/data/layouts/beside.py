"""Recordings or pictures with their texts beside them: a.wav and a.txt or a.lab, p_01.png and p_01.gt.txt."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

from carousel.common.data.layouts.found import SPLIT_NAMES, Folder, Found
from carousel.common.errors import InputError
from carousel.common.text.lines import read_lines

TEXTS = (".gt.txt", ".txt", ".lab")  # kraken and Tesseract; anybody; Montreal Forced Aligner
KINDS = (".nrm", ".bin", ".dew")  # between stem and suffix of OCR-D's pictures
LONGEST = 1 << 16  # bytes of the text of one sample


def claims(folder: Folder) -> bool:
    stems = {_stem(file) for file in folder.media}
    return any(_bare(text) in stems for text in folder.ending(*TEXTS))


def read(folder: Folder, found: Found) -> None:
    texts: dict[Path, Path] = {}
    for file in sorted(folder.ending(*TEXTS), key=lambda file: not file.name.endswith(TEXTS[0])):
        texts.setdefault(_bare(file), file)
    media = {_stem(file): file for file in reversed(folder.media)}  # of several the first
    pairs = [(media[stem], texts[stem]) for stem in sorted(media.keys() & texts.keys())]
    for stem in sorted(media.keys() - texts.keys()):
        found.leave(folder.place(media[stem]), "no text beside it")
    for stem in sorted(texts.keys() - media.keys()):
        found.leave(folder.place(texts[stem]), "text without a file beside it")
    said = [text_of(text) for _, text in pairs]
    people: Sequence[str | None] = [None] * len(pairs)
    if found.key == "audio":
        people = speakers([file.relative_to(folder.root) for file, _ in pairs], said)
    for (file, text), words, person in zip(pairs, said, people, strict=True):
        if words is None:
            found.leave(folder.place(text), f"text longer than {LONGEST >> 10} kB, or not UTF-8")
            continue
        page = None
        if found.key == "image" and "\n" in words:
            found.leave(folder.place(text), "text of several lines, where a picture is one")
            continue
        if found.key == "image":
            page = (file.parent.relative_to(folder.root) / page_of(_stem(file).name)).as_posix()
        found.add(file, words, speaker=person, page=page, split=folder.split(file))


def text_of(path: Path) -> str | None:
    """The lines of a text file that are not empty; None for what is no text of a sample."""
    try:
        if path.stat().st_size > LONGEST:
            return None
        return "\n".join(line.strip() for _, line in read_lines(path, "text") if line.strip())
    except (OSError, InputError):
        return None


def _bare(text: Path) -> Path:
    """The path of a text without its ending."""
    ending = next(ending for ending in TEXTS if text.name.lower().endswith(ending))
    return text.with_name(text.name[: -len(ending)])


def _stem(media: Path) -> Path:
    """The path of a recording or picture without what its text does not have."""
    stem = media.with_suffix("")
    return stem.with_suffix("") if stem.suffix in KINDS else stem


def page_of(name: str) -> str:
    """The page in a line's name: all but a number at its end (`a01-000u-03` -> `a01-000u`), else itself.

    `p1_r1_l3`, `p1.line_3` and `p1_003` are lines of `p1_r1` or `p1`.
    """
    match = re.fullmatch(r"(.+?)[-_.](?:line[-_]?|[a-z]{0,2})\d+", name)
    return match[1] if match else name


def speakers(files: Sequence[Path], texts: Sequence[Hashable]) -> Sequence[str | None]:
    """Who speaks in each recording: a folder, or else a part of the file names between - and _, that has two
    or more values, each of several recordings, most of these with different texts; None where there is none.

    A part that goes with the text (the digit of `3_jackson_7.wav`) is what is said, not who says it.
    """
    parents = [[part for part in file.parent.parts if part.lower() not in SPLIT_NAMES] for file in files]
    names = [re.split(r"[-_ ]+", file.stem) for file in files]
    for rows in (parents, names):
        for column in range(min(map(len, rows), default=0)):
            values = [row[column] for row in rows]
            counted = rows is names and column + 1 == max(map(len, rows)) and all(map(str.isdigit, values))
            if not counted and _tells_people(values, texts):
                return values
    return [None] * len(files)


def _tells_people(values: Sequence[str], texts: Sequence[Hashable]) -> bool:
    said = defaultdict(list)
    for value, text in zip(values, texts, strict=True):
        said[value].append(text)
    several = [group for group in said.values() if len(set(group)) > 1]
    return 2 <= len(said) <= len(values) / 2 and 2 * len(several) > len(said)
