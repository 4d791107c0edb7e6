"""Samples and JSONL manifests: one JSON object a line, paths relative to the manifest's folder.

`{"audio": "a.flac", "text": "…", "speaker": "…", "duration": 2.3}` · `{"image": "x.webp", "text": "…",
"writer": "…"}`, with `"baseline"` or `"polygon"`, [[x, y], …] in pixels, for a line of a page ·
`{"strokes": [[x0, y0, x1, y1, …], …], "text": "…", "writer": "…"}`; `.jsonl.gz` is read and
written as well. "start" and "end" are seconds of a recording: of it, only that part is read.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from carousel.common.errors import InputError
from carousel.common.files import atomic_text
from carousel.common.text.alphabet import Alphabet, name_symbols, normalise
from carousel.common.text.file import UNREADABLE, open_text

_KNOWN = {"text", "audio", "image", "strokes", "speaker", "writer", "duration", "start", "end"}


@dataclass(frozen=True)
class Sample:
    """One line of a manifest: exactly one of `audio`, `image`, `strokes`, and the text it shows."""

    text: str  # NFC
    audio: Path | None = None
    image: Path | None = None
    strokes: list[np.ndarray] | None = None  # each (points, 2) float32, y downwards
    group: str | None = None  # speaker or writer
    duration: float | None = None  # seconds
    start: float = 0.0  # seconds; of a recording, only the part from here
    end: float | None = None  # to here is read; None: to its end
    extra: dict[str, Any] = field(default_factory=dict)  # any other key of the line
    where: str = ""  # "train.jsonl:12", for messages

    @property
    def of_page(self) -> bool:
        """Whether the picture is of a page, of which "baseline" or "polygon" tell the line."""
        return self.extra.get("baseline") is not None or self.extra.get("polygon") is not None

    @property
    def part(self) -> tuple[float, float | None]:
        return self.start, self.end

    @property
    def is_part(self) -> bool:
        """Whether its file holds more than the sample."""
        return self.of_page or self.part != (0.0, None)

    @property
    def source(self) -> Path | None:
        """The file of this sample; None for strokes, which stand in the manifest itself."""
        return self.audio or self.image


def parse_json(text: str) -> Any:
    """The value of JSON text. Raises InputError, which lacks the file's name, where it cannot be read."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON ({error})") from error
    except RecursionError:
        raise InputError("nested too deeply to be read") from None
    except ValueError:  # Python reads no integer of more than 4300 digits
        raise InputError("not readable as JSON: it holds a number of thousands of digits") from None


def read_manifest(path: str | Path) -> Iterator[Sample]:
    """Samples of a manifest, one at a time. Raises InputError naming file and line."""
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such manifest; run `asr prepare` or `hwr prepare`, or correct the path"
        )
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _sample(line, path.parent, f"{path}:{number}")
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as a manifest ({error}); make it anew") from error


def _sample(line: str, folder: Path, where: str) -> Sample:
    try:
        row = parse_json(line)
    except InputError as error:
        raise InputError(f"{where}: {error}; a manifest holds one JSON object a line") from None
    sources = [
        key for key in ("audio", "image", "strokes") if isinstance(row, dict) and row.get(key) is not None
    ]
    if len(sources) != 1:
        raise InputError(f'{where}: a line needs exactly one of "audio", "image" and "strokes"')
    if not isinstance(row.get("text"), str):
        raise InputError(f'{where}: "text" is missing or not a string; give the text that the sample shows')
    if "\\u" in line:
        _check_escapes(row, where)
    return as_sample(row, folder, where)


def as_sample(row: dict[str, Any], folder: Path, where: str) -> Sample:
    """A row with one source and a text. Raises InputError for what its other keys hold."""
    group = row.get("speaker", row.get("writer"))
    duration, start, end = (_seconds(row, key, where) for key in ("duration", "start", "end"))
    if (start or 0.0) < 0 or (end is not None and end <= (start or 0.0)):
        raise InputError(f'{where}: "start" {start} and "end" {end} are no part of a recording; correct them')
    return Sample(
        text=normalise(row["text"]),
        audio=_path(row, "audio", folder, where),
        image=_path(row, "image", folder, where),
        strokes=_strokes(row["strokes"], where) if row.get("strokes") is not None else None,
        group=None if group is None else str(group),
        duration=duration,
        start=start or 0.0,
        end=end,
        extra={key: value for key, value in row.items() if key not in _KNOWN},
        where=where,
    )


def _seconds(row: dict[str, Any], key: str, where: str) -> float | None:
    value = row.get(key)
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    if value is not None and not number:
        raise InputError(f'{where}: "{key}" is {value!r}; give seconds as a number or leave it out')
    return value


def _path(row: dict[str, Any], key: str, folder: Path, where: str) -> Path | None:
    name = row.get(key)
    if name is None:
        return None
    if not isinstance(name, str | Path) or not str(name):
        raise InputError(f'{where}: "{key}" is {name!r}; give the path of a file')
    return folder / name


def _check_escapes(row: dict[str, Any], where: str) -> None:
    """InputError for half of a surrogate pair, which could not be written; names of files may hold one."""
    for key, value in row.items():
        if key in ("audio", "image"):
            continue
        try:
            json.dumps([key, value], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ord(error.object[error.start])
            raise InputError(
                f"{where}: {key!a} holds \\u{half:04x}, which is half a character; correct it"
            ) from None
        except RecursionError:
            raise InputError(f"{where}: nested too deeply to be read; correct it") from None


def _strokes(rows: Any, where: str) -> list[np.ndarray]:
    try:
        strokes = [as_points(row, np.float32) for row in _list(rows)]
    except OverflowError:
        raise InputError(
            f'{where}: "strokes" holds too large a number for a coordinate; correct it'
        ) from None
    except (TypeError, ValueError):
        raise InputError(
            f'{where}: "strokes" is a list of strokes, each a flat list x0, y0, x1, y1, …'
        ) from None
    return [stroke for stroke in strokes if len(stroke)]


def as_points(row: Any, kind: type[np.floating]) -> np.ndarray:
    """A stroke (points, 2) from a flat list x0, y0, x1, y1, … or a list of [x, y].

    Raises TypeError, ValueError or OverflowError for all else; beyond the range of `kind` is infinity.
    """
    with np.errstate(over="ignore"):
        array = np.array(row if isinstance(row, np.ndarray) else _list(row), dtype=kind)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 2):
        raise ValueError("a point has two coordinates")
    return array.reshape(-1, 2)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def write_manifest(path: str | Path, rows: Iterable[dict[str, Any]]) -> int:
    """Writes `rows` (keys as above; "audio"/"image" as paths, "strokes" as flat lists or (points, 2) arrays).

    Paths are written relative to the manifest's folder. Returns how many lines were written. The file appears
    whole or not at all.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.resolve()  # as `..` leads out of where a link leads, not of where it stands
    count = 0
    with atomic_text(path) as out:
        for row in rows:
            row = dict(row)
            for key in ("audio", "image"):
                if row.get(key) is not None:
                    file = Path(row[key])
                    row[key] = Path(os.path.relpath(file.parent.resolve() / file.name, folder)).as_posix()
            if row.get("strokes") is not None:
                row["strokes"] = [np.asarray(stroke).reshape(-1).tolist() for stroke in row["strokes"]]
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


@dataclass
class Problems:
    """What is wrong with the samples of a corpus: of each kind of fault its count and the first place."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, fault: str, where: str) -> None:
        self.counts[fault] += 1
        self.first.setdefault(fault, where)

    def lines(self) -> list[str]:
        return [
            f"{count} × {fault}, first at {self.first[fault]}" for fault, count in self.counts.most_common()
        ]


def check(samples: Iterable[Sample], alphabet: Alphabet | None = None) -> tuple[list[Sample], Problems]:
    """Splits off the samples that cannot be used: missing file, empty text or strokes, zero duration.

    A text with a character that `alphabet` cannot write is reported (by code point) and split off as well.
    """
    usable, problems = [], Problems()
    for sample in samples:
        faults = list(_faults(sample, alphabet))
        for fault in faults:
            problems.add(fault, f"{sample.where} ({sample.source})" if sample.source else sample.where)
        if not faults:
            usable.append(sample)
    return usable, problems


def _faults(sample: Sample, alphabet: Alphabet | None) -> Iterator[str]:
    if not sample.text.strip():
        yield "empty text"
    if sample.source is not None and not sample.source.is_file():
        yield "missing file"
    if sample.strokes is not None and not sample.strokes:
        yield "no strokes"
    if sample.duration is not None and not sample.duration > 0:
        yield "zero duration"
    if alphabet is not None:
        for symbol in alphabet.unknown(sample.text):
            yield f"character the alphabet cannot write: {name_symbols([symbol])}"
