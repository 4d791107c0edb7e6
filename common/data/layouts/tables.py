"""Tables that list files and texts: LJSpeech, Common Voice, and the metadata of Hugging Face's folders.

Any CSV or TSV file whose header names a column of files and one of texts is read as well.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from carousel.common.data.layouts.found import SPLIT_NAMES, Folder, Found, first
from carousel.common.data.layouts.jsonlines import objects, sniff
from carousel.common.text.file import UNREADABLE, open_text

TABLES = (".csv", ".tsv")
FILE = (
    *("file_name", "path", "audio_filepath", "audio", "wav", "file", "filename", "audio_path", "image"),
    *("image_path", "audio_file", "file_path", "wav_filename", "id"),
)
TEXT = (
    *("text", "transcription", "sentence", "transcript", "normalized_text", "label", "labels"),
    *("raw_transcription", "ground_truth", "gt"),
)
PERSON = ("speaker", "speaker_id", "client_id", "writer", "writer_id", "user_id", "spk")
SPLIT = ("split", "subset", "set")
BESIDE = ("", "clips", "wavs", "wav", "audio", "images", "data")  # folders of what a table lists


def _rows(file: Path, found: Found, **form: Any) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of a table that are not empty. What cannot be read is left out."""
    try:
        with open_text(file) as lines:
            table = csv.reader(lines, **form)
            for cells in table:
                if cells:
                    yield table.line_num, cells
    except (*UNREADABLE, csv.Error) as error:
        found.leave(file, f"cannot be read as a table ({error})")


def _form(file: Path) -> dict[str, Any]:
    """How the cells of a table are parted. Quotation marks between tabs or | are text."""
    try:
        with open_text(file) as lines:
            head = lines.readline(1 << 16)
    except UNREADABLE:
        head = ""
    rare = next((mark for mark in "\t|" if mark in head), None)  # in texts, as commas are not
    delimiter = "\t" if file.suffix.lower() == ".tsv" else rare or max(",;", key=head.count)
    return {"delimiter": delimiter, **({"quoting": csv.QUOTE_NONE} if delimiter in "\t|" else {})}


def _header(file: Path) -> list[str]:
    _, header = next(_rows(file, Found("", ""), **_form(file)), (0, []))
    return [name.strip().lower() for name in header]


def _column(header: list[str], names: tuple[str, ...]) -> bool:
    return any(name in header for name in names)


def is_table(file: Path) -> bool:
    header = _header(file)
    return _column(header, FILE) and _column(header, TEXT)


def _listed(
    folder: Folder, found: Found, rows: Iterator[tuple[str, Mapping[str, Any]]], base: Path, split: str | None
) -> None:
    """Adds what a table lists. rows: (place, cells by the names of their columns)."""
    noted = found.layout != "table"  # of others the format says which columns are read
    for place, row in rows:
        name, text = first(row, FILE), first(row, TEXT)
        if not noted and name and text:
            noted = True
            columns = [next(key for key in keys if row.get(key)) for keys in (FILE, TEXT)]
            note = f"files are those of {columns[0]}, texts those of {columns[1]}"
            found.notes += [note] * (note not in found.notes)
        if not isinstance(name, str) or not isinstance(text, str):
            found.leave(place, "no file or no text in its line")
            continue
        file = folder.find(name, *(base / part for part in BESIDE))
        if file is None:
            found.leave(place, "missing file")
            continue
        person = first(row, PERSON)
        who = {"speaker" if found.key == "audio" else "writer": None if person is None else str(person)}
        told = str(first(row, SPLIT) or "").lower()
        found.add(file, text, **who, split=SPLIT_NAMES.get(told) if told else split)


def _cells(file: Path, found: Found) -> Iterator[tuple[str, dict[str, str]]]:
    rows = _rows(file, found, **_form(file))
    _, header = next(rows, (0, []))
    names = [name.strip().lower() for name in header]
    for number, cells in rows:
        if len(cells) == len(names):
            yield f"{file}:{number}", dict(zip(names, cells, strict=True))
        else:
            found.leave(f"{file}:{number}", f"{len(cells)} columns where the header has {len(names)}")


# Common Voice

COMMON_VOICE = {"train.tsv": "train", "dev.tsv": "valid", "test.tsv": "test"}
VALIDATED = "validated.tsv"


def common_voice_files(folder: Folder) -> list[Path]:
    files = folder.named(*COMMON_VOICE, VALIDATED)
    return [file for file in files if {"client_id", "path", "sentence"} <= set(_header(file))]


def read_common_voice(folder: Folder, found: Found) -> None:
    """Its splits or, where there are none, what was validated; never invalidated.tsv and other.tsv."""
    files = common_voice_files(folder)
    splits = [file for file in files if file.name != VALIDATED]
    for file in splits or files:
        _listed(folder, found, _cells(file, found), file.parent, COMMON_VOICE.get(file.name))
    if splits and len(splits) < len(files):
        found.notes.append(f"{VALIDATED} is left aside for the splits {', '.join(f.name for f in splits)}")


# Hugging Face's folders, and any other table with a header


def hugging_face_files(folder: Folder) -> list[Path]:
    named = [file for file in folder.named("metadata.csv", "metadata.tsv") if "file_name" in _header(file)]
    lines = [file for file in folder.named("metadata.jsonl") if "file_name" in sniff(file)]
    return named + lines


def read_hugging_face(folder: Folder, found: Found) -> None:
    for file in hugging_face_files(folder):
        rows: Iterator[tuple[str, Mapping[str, Any]]] = (
            objects(file, found) if file.suffix == ".jsonl" else _cells(file, found)
        )
        _listed(folder, found, rows, file.parent, folder.split(file))


def table_files(folder: Folder) -> list[Path]:
    return [file for file in folder.ending(*TABLES) if is_table(file)]


def read_tables(folder: Folder, found: Found) -> None:
    for file in table_files(folder):
        _listed(folder, found, _cells(file, found), file.parent, folder.split(file))


# LJSpeech


def ljspeech_files(folder: Folder) -> list[Path]:
    """metadata.csv without a header: `LJ001-0001|as printed|as spoken`."""
    files = folder.named("metadata.csv", "metadata.txt")
    return [file for file in files if 2 <= len(_header(file)) <= 3 and _pipes(file) and not is_table(file)]


def _pipes(file: Path) -> bool:
    return _form(file)["delimiter"] == "|"


def read_ljspeech(folder: Folder, found: Found) -> None:
    """The third column, in which figures and abbreviations are written out, or else the second."""
    for file in ljspeech_files(folder):
        for number, cells in _rows(file, found, delimiter="|", quoting=csv.QUOTE_NONE):
            place = f"{file}:{number}"
            if not 2 <= len(cells) <= 3:
                found.leave(place, f"{len(cells)} columns, not two or three parted by |")
                continue
            audio = folder.find(cells[0].strip(), *(file.parent / part for part in BESIDE))
            if audio is None:
                found.leave(place, "missing file")
            else:
                found.add(audio, cells[2] if len(cells) == 3 and cells[2].strip() else cells[1])
