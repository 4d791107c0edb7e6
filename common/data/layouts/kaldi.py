"""Kaldi's data directories: wav.scp, text, utt2spk, segments (https://kaldi-asr.org/doc/data_prep.html)."""

from __future__ import annotations

import re
from pathlib import Path

from carousel.common.data.layouts.found import Folder, Found
from carousel.common.errors import InputError
from carousel.common.text.lines import read_lines

ABOVE = 4  # folders above a data directory that the paths in wav.scp may start from, as recipes run there


def directories(folder: Folder) -> list[Path]:
    texts = {file.parent for file in folder.named("text")}
    return [file.parent for file in folder.named("wav.scp") if file.parent in texts]


def read(folder: Folder, found: Found) -> None:
    for directory in directories(folder):
        _read_directory(directory, folder, found)


def table(path: Path) -> dict[str, str]:
    """A key, white space, and the rest of the line, which may be empty. Raises InputError."""
    rows: dict[str, str] = {}
    for number, line in read_lines(path, "table of Kaldi"):
        if not line.strip():
            continue
        key, *value = line.split(maxsplit=1)
        if key in rows:
            raise InputError(f"{path}:{number}: {key} stands there twice; repair the table")
        rows[key] = value[0].strip() if value else ""
    return rows


def _read_directory(directory: Path, folder: Folder, found: Found) -> None:
    recordings, texts = table(directory / "wav.scp"), table(directory / "text")
    speakers = table(directory / "utt2spk") if (directory / "utt2spk").is_file() else {}
    segments = table(directory / "segments") if (directory / "segments").is_file() else None
    split = folder.split(directory / "text")
    files = {name: _file(name, entry, directory, folder, found) for name, entry in recordings.items()}
    for utterance, text in texts.items():
        place = f"{directory / 'text'}: {utterance}"
        part: dict[str, float] = {}
        recording = utterance
        if segments is not None:
            told = re.fullmatch(r"(\S+)\s+([\d.]+)\s+(-1|[\d.]+)", segments.get(utterance, ""))
            if not told:
                found.leave(place, "no line in segments" if utterance not in segments else "a wrong segment")
                continue
            recording = told[1]
            part = {"start": float(told[2]), **({} if told[3] == "-1" else {"end": float(told[3])})}
        if recording not in recordings:
            found.leave(place, "no recording in wav.scp")
        elif (audio := files[recording]) is not None:
            found.add(audio, text, speaker=speakers.get(utterance), split=split, **part)


def _file(name: str, entry: str, directory: Path, folder: Folder, found: Found) -> Path | None:
    """The file of a recording. Commands are never run."""
    place = f"{directory / 'wav.scp'}: {name}"
    if entry.endswith("|") or entry.startswith("|"):
        found.leave(place, "a command, which is not run here: run it once, save the sound and name the file")
    elif re.search(r"\.ark:\d+$", entry):
        found.leave(place, "a place in a Kaldi archive, which is not read: save it as a sound file")
    elif (file := folder.find(entry, directory, *list(directory.absolute().parents)[:ABOVE])) is None:
        found.leave(place, "missing file")
    else:
        return file
    return None
