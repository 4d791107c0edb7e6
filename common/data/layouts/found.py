"""What a folder holds, what a layout is, and what is understood of a folder in it."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from carousel.common.data.manifest import Sample, as_sample
from carousel.common.errors import InputError

Row = dict[str, Any]  # one sample, as a line of a manifest; its files by their whole path

SPLITS = ("train", "valid", "test")
SPLIT_NAMES = {
    "train": "train", "training": "train", "trainset": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "eval": "valid",
    "development": "valid",
    "test": "test", "testing": "test", "testset": "test",
}  # fmt: skip
UNREAD = "cannot be read"  # begins the reason of what is there and broken
MOST_NAMED = 3  # places that a report names of each fault
SHOWN_KINDS = 5  # kinds of files that a message counts


@dataclass
class Found:
    """What was understood of a folder or manifest.

    rows: as lines of a manifest ("audio", "image" or "strokes"; "text"; "speaker", or "writer" and "page",
    where the layout tells; "start" and "end" in seconds of a recording; "baseline" and "polygon" in pixels
    of a picture), and "split" (train, valid or test) where the layout has one.
    left_out: (place, reason) of what is there and cannot be used; notes: what was decided.
    """

    layout: str
    key: str  # of the rows: audio, image or strokes
    rows: list[Row] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, file: Any, text: str, **more: Any) -> None:
        """A row, unless its text is empty. What is None or empty in `more` is not known."""
        row = {self.key: file, "text": " ".join(text.split()), **more}
        if row["text"]:
            self.rows.append({key: value for key, value in row.items() if value not in (None, "")})
        else:
            place = str(file) if isinstance(file, Path) else next((str(v) for v in more.values() if v), "")
            self.leave(f"{place}, line {more['line']}" if more.get("line") else place, "empty text")

    def samples(self, place: str) -> list[Sample]:
        """The rows as samples of a manifest. place: what was read, for messages."""
        return [as_sample(row, Path(), f"{place}:{number}") for number, row in enumerate(self.rows, 1)]

    def leave(self, place: object, reason: str) -> None:
        self.left_out.append((str(place), reason))

    def take_unread(self) -> list[str]:
        """The files that are broken, each with what is wrong; they are no longer among those left out."""
        broken = [one for one in self.left_out if one[1].startswith(UNREAD)]
        self.left_out = [one for one in self.left_out if one not in broken]
        return [place for place, _ in broken]

    def faults(self) -> list[str]:
        """Each reason with its count and the first places."""
        places: dict[str, list[str]] = defaultdict(list)
        for place, reason in self.left_out:
            places[reason].append(place)
        counts = Counter({reason: len(found) for reason, found in places.items()})
        return [
            f"{count} × {reason}: {', '.join(places[reason][:MOST_NAMED])}{' …' * (count > MOST_NAMED)}"
            for reason, count in counts.most_common()
        ]


def group_of(row: Row) -> str | None:
    """Who spoke or wrote a row or, where nobody knows, the page or long recording that it is a part of."""
    for key in ("speaker", "writer", "page"):
        if row.get(key) is not None:
            return str(row[key])
    return str(row["audio"]) if "start" in row else None


class Folder:
    """The files below a folder, hidden ones left out, and what of them is sound or pictures; of a path that
    is a file, that file alone.

    key: of the rows wanted; suffixes: of their files; tier: the one of annotations that was asked for.
    """

    def __init__(self, path: Path, key: str, suffixes: Iterable[str], tier: str | None = None) -> None:
        self.key, self.suffixes, self.tier = key, frozenset(suffixes), tier
        self.root, self.files = (path, list(_walk(path))) if path.is_dir() else (path.parent, [path])

    @cached_property
    def media(self) -> list[Path]:
        return [file for file in self.files if file.suffix.lower() in self.suffixes]

    @cached_property
    def by_stem(self) -> dict[Path, Path]:
        """A media file by its path without suffix; of several the first."""
        return {file.with_suffix(""): file for file in reversed(self.media)}

    @cached_property
    def by_name(self) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = defaultdict(list)
        for file in self.media:
            names[file.name].append(file)
            names[file.stem].append(file)
        return names

    def ending(self, *endings: str) -> list[Path]:
        return [file for file in self.files if file.name.lower().endswith(endings)]

    def named(self, *names: str) -> list[Path]:
        return [file for file in self.files if file.name in names]

    def find(self, name: str, *bases: Path) -> Path | None:
        """The media file that a list calls `name`: below one of `bases`, perhaps with another suffix (corpora
        are re-encoded), or the only one so called."""
        given = Path(name)
        for base in bases:
            path = base / given
            for stem in (path.with_suffix(""), path):  # the latter: a name without suffix that has a point
                if path.is_file():
                    return path
                if stem in self.by_stem:
                    return self.by_stem[stem]
        called = self.by_name.get(given.name) or self.by_name.get(given.stem) or []
        return called[0] if len(set(called)) == 1 else None

    def split(self, file: Path) -> str | None:
        """The split that a file's folders below the root, or else its own name, tell."""
        parts = file.relative_to(self.root).parts if file.is_relative_to(self.root) else (file.name,)
        words = [*parts[:-1], *re.split(r"[^a-z]+", file.name.split(".")[0].lower())]
        return next((SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES), None)

    def place(self, file: Path) -> str:
        return str(file.relative_to(self.root)) if file.is_relative_to(self.root) else str(file)

    def holds(self) -> str:
        """What is in the folder, in words: `12 .wav, 3 .docx`."""
        kinds = Counter(file.suffix.lower() or "without suffix" for file in self.files)
        told = [f"{count} {kind}" for kind, count in kinds.most_common(SHOWN_KINDS)]
        return ", ".join(told + ["…"] * (len(kinds) > SHOWN_KINDS)) if told else "no file"


def _walk(root: Path) -> Iterable[Path]:
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


@dataclass(frozen=True)
class Layout:
    """A way in which recordings or pictures and their texts lie in a folder."""

    name: str
    marks: str  # what tells it, in words
    keys: tuple[str, ...]  # audio, image, strokes
    claims: Callable[[Folder], Any]  # something that is true where the folder has it
    read: Callable[[Folder, Found], None]


@dataclass(frozen=True)
class Kind:
    """Rows that are wanted: their key, the suffixes of their files, and the layouts that may hold them."""

    key: str
    suffixes: tuple[str, ...]
    layouts: tuple[Layout, ...]


def read_folder(path: Path, kinds: Iterable[Kind], tier: str | None = None) -> Found:
    """The rows of a folder, or of a file that lists them, in the first layout that it has and that gives any.

    Raises InputError, one sentence that tells what was looked for and what is there.
    """
    tried: list[Found] = []
    looked: dict[str, None] = {}  # in order
    holds = "no file"
    for kind in kinds:
        folder = Folder(path, kind.key, kind.suffixes, tier)
        holds = folder.holds()
        for layout in kind.layouts:
            if kind.key not in layout.keys:
                continue
            looked[layout.marks] = None
            if layout.claims(folder):
                found = Found(layout.name, kind.key)
                layout.read(folder, found)
                if found.rows:
                    return found
                tried.append(found)
    if tried:
        reasons = "; ".join(f"{found.layout}: {' '.join(found.faults()[:1]) or 'no row'}" for found in tried)
        raise InputError(f"{path}: nothing in it can be used ({reasons}); it holds {holds}")
    raise InputError(f"{path}: fits no layout; looked for {'; '.join(looked)}; it holds {holds}")


def first(row: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The value of the first of some keys that a row has."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)
