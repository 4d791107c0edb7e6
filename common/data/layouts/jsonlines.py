"""JSON lines of NeMo and ESPnet, and lhotse's cuts and supervisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from carousel.common.data.layouts.found import Folder, Found, first
from carousel.common.data.manifest import parse_json
from carousel.common.errors import InputError
from carousel.common.text.file import UNREADABLE, open_text

NEMO = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
LHOTSE = (".jsonl", ".jsonl.gz")
TEXT = ("text", "transcript", "sentence", "transcription")
LONGEST = 1 << 24  # characters of a line that is looked at to tell what a file is


def sniff(file: Path) -> dict[str, Any]:
    """The object on the first line of a file of JSON lines; empty for any other file."""
    try:
        with open_text(file) as lines:
            line = lines.readline(LONGEST)
        value = parse_json(line) if line.lstrip().startswith("{") else None
    except (*UNREADABLE, InputError):
        return {}
    return value if isinstance(value, dict) else {}


def objects(file: Path, found: Found) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, object) of each line; a line that is no object is left out."""
    try:
        with open_text(file) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    value = parse_json(line)
                except InputError as error:
                    value, reason = None, str(error)
                else:
                    reason = "not an object"
                if isinstance(value, dict):
                    yield f"{file}:{number}", value
                else:
                    found.leave(f"{file}:{number}", reason)
    except UNREADABLE as error:
        found.leave(file, f"cannot be read ({error})")


def seconds(value: Any) -> float | None:
    """A number of seconds that is none below 0, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        return None
    return float(value)


def part(start: float | None, duration: float | None) -> dict[str, float]:
    """What a manifest says of a part of a recording; of a whole one, its length alone if it is known."""
    if not start and duration is not None:
        return {"end": round(duration, 6)}
    if start is None:
        return {}
    end = {} if duration is None else {"end": round(start + duration, 6)}
    return {"start": round(start, 6), **end}


# NeMo and ESPnet


def nemo_files(folder: Folder) -> list[Path]:
    return [file for file in folder.ending(*NEMO) if "audio_filepath" in sniff(file)]


def read_nemo(folder: Folder, found: Found) -> None:
    """Lines with audio_filepath, text and perhaps offset and duration in seconds, and speaker."""
    for file in nemo_files(folder):
        split = folder.split(file)
        for place, line in objects(file, found):
            name, text = line.get("audio_filepath"), first(line, TEXT)
            audio = folder.find(name, file.parent, folder.root) if isinstance(name, str) else None
            if audio is None:
                found.leave(place, "missing file")
                continue
            if not isinstance(text, str):
                found.leave(place, "no text")
                continue
            offset = seconds(line.get("offset"))
            found.add(
                audio,
                text,
                speaker=line.get("speaker"),
                split=split,
                **(part(offset, seconds(line.get("duration"))) if offset is not None else {}),
            )


# lhotse


def lhotse_files(folder: Folder) -> dict[str, list[Path]]:
    """The files of cuts, of supervisions and of recordings; empty where there is nothing with texts."""
    kinds: dict[str, list[Path]] = {"cuts": [], "supervisions": [], "recordings": []}
    for file in folder.ending(*LHOTSE):
        line = sniff(file)
        if "supervisions" in line or "tracks" in line:
            kinds["cuts"].append(file)
        elif "recording_id" in line and "start" in line:
            kinds["supervisions"].append(file)
        elif isinstance(line.get("sources"), list):
            kinds["recordings"].append(file)
    texts = kinds["cuts"] or (kinds["supervisions"] and kinds["recordings"])
    return {kind: files for kind, files in kinds.items() if files} if texts else {}


def read_lhotse(folder: Folder, found: Found) -> None:
    """Supervisions of cuts, whose start counts from that of the cut, or else those of recordings."""
    kinds = lhotse_files(folder)
    for file in kinds.get("cuts", []):
        for place, cut in objects(file, found):
            if "tracks" in cut:
                found.leave(place, "a mixed cut, of several recordings")
                continue
            audio = _recording(folder, found, place, file, cut.get("recording"))
            start = seconds(cut.get("start")) or 0.0
            for one in cut.get("supervisions") or [] if audio else []:
                _supervision(found, place, audio, one, start, folder.split(file))
    if "cuts" in kinds:
        return
    recordings: dict[str, Path | None] = {}
    for file in kinds["recordings"]:
        for place, recording in objects(file, found):
            recordings[str(recording.get("id"))] = _recording(folder, found, place, file, recording)
    for file in kinds["supervisions"]:
        for place, one in objects(file, found):
            audio = recordings.get(str(one.get("recording_id")))
            if audio is None:
                found.leave(place, "no such recording")
            else:
                _supervision(found, place, audio, one, 0.0, folder.split(file))


def _supervision(
    found: Found, place: str, audio: Path | None, one: Any, offset: float, split: str | None
) -> None:
    start, length = (
        (seconds(one.get(key)) for key in ("start", "duration")) if isinstance(one, dict) else (None,) * 2
    )
    if start is None or not length or not isinstance(one.get("text"), str):
        found.leave(place, "a supervision without text, start and duration")
        return
    found.add(audio, one["text"], speaker=one.get("speaker"), split=split, **part(offset + start, length))


def _recording(folder: Folder, found: Found, place: str, file: Path, recording: Any) -> Path | None:
    """The file of a recording; a command or an address is left out, and never run or fetched."""
    sources = recording.get("sources") if isinstance(recording, Mapping) else None
    source = sources[0] if isinstance(sources, list) and len(sources) == 1 else None
    if not isinstance(source, Mapping) or not isinstance(source.get("source"), str):
        found.leave(place, "a recording without one source")
    elif source.get("type") != "file":
        found.leave(place, f"a recording of type {source.get('type')}, which is not run or fetched: save it")
    elif (audio := folder.find(source["source"], file.parent, *list(file.parents)[1:3], folder.root)) is None:
        found.leave(place, "missing file")
    else:
        return audio
    return None
