"""Transcripts as txt, json, srt, vtt, tsv and ctm: one function a format, from transcript to text."""

import html
import json
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from carousel.asr.transcribe import Timed, Transcript

WIDTH = 42  # characters in a line of subtitles
LINES = 2  # lines in a cue
PAUSE = 0.8  # s: a longer pause starts a new cue
LONGEST_CUE = 7.0  # s
SHORTEST_CUE = 1.0  # s on the screen, if the next cue leaves it: a spoken word alone is too short to be read


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen from start to end (seconds), in at most LINES lines of WIDTH characters.

    confidence: the chance that all its words are right, in 0 … 1: the product of theirs.
    """

    lines: tuple[str, ...]
    start: float
    end: float
    confidence: float = 1.0


def txt(transcript: Transcript, name: str, model: str) -> str:
    return transcript.best.text + "\n"


def as_json(transcript: Transcript, name: str, model: str) -> str:
    """One JSON object on one line: times in seconds, confidences in 0 … 1, `nbest` best first."""
    best = transcript.best
    whole = {
        "file": name,
        "model": model,
        "duration": round(transcript.duration, 3),
        "truncated": transcript.truncated,
        **best.summary(),
        "words": [_timed(word) for word in best.words],
        "symbols": [_timed(symbol) for symbol in best.symbols],
        "nbest": [reading.summary() for reading in transcript.readings],
    }
    return json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n"


def _timed(item: Timed) -> dict[str, Any]:
    return {
        "text": item.text,
        "start": round(item.start, 3),
        "end": round(item.end, 3),
        "confidence": round(item.confidence, 4),
    }


def srt(transcript: Transcript, name: str, model: str) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    blocks = []
    for number, cue in enumerate(cues(transcript.best.words, transcript.duration), start=1):
        text = "\n".join(cue.lines).replace("-->", "→")  # SubRip cannot escape its own arrow
        blocks.append(f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def vtt(transcript: Transcript, name: str, model: str) -> str:
    """WebVTT (W3C): &, < and > are escaped."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript.best.words, transcript.duration):
        text = html.escape("\n".join(cue.lines), quote=False)
        blocks.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def tsv(transcript: Transcript, name: str, model: str) -> str:
    """Cues as start and end in whole milliseconds and text, like whisper's, and their confidence."""
    rows = ["start\tend\ttext\tconfidence"]
    for cue in cues(transcript.best.words, transcript.duration):
        times = f"{milliseconds(cue.start)}\t{milliseconds(cue.end)}"
        rows.append(f"{times}\t{' '.join(cue.lines)}\t{cue.confidence:.4f}")
    return "\n".join(rows) + "\n"


def ctm(transcript: Transcript, name: str, model: str) -> str:
    """NIST CTM: recording, channel, start, duration (seconds), word, confidence; one word a line."""
    recording = "_".join(name.split())
    return "".join(
        f"{recording} 1 {word.start:.3f} {word.end - word.start:.3f} {word.text} {word.confidence:.4f}\n"
        for word in transcript.best.words
    )


FORMATS: dict[str, Callable[[Transcript, str, str], str]] = {
    "txt": txt,
    "json": as_json,
    "srt": srt,
    "vtt": vtt,
    "tsv": tsv,
    "ctm": ctm,
}


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def clock(seconds: float, point: str) -> str:
    """HH:MM:SS,mmm (SubRip) or HH:MM:SS.mmm (WebVTT); hours grow beyond two digits."""
    total, thousandths = divmod(milliseconds(seconds), 1000)
    minutes, second = divmod(total, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{point}{thousandths:03d}"


def cues(words: Sequence[Timed], duration: float) -> list[Cue]:
    """Words as subtitles: a new cue after a pause, when the lines are full, and when LONGEST_CUE is reached.

    A cue ends with its last word, later if it would be too short to read, never after the next one starts.
    """
    runs: list[list[Timed]] = []
    for word in _short_words(words):
        if runs and _belongs(runs[-1], word):
            runs[-1].append(word)
        else:
            runs.append([word])
    found = []
    for i, run in enumerate(runs):
        limit = runs[i + 1][0].start if i + 1 < len(runs) else max(duration, run[-1].end)
        end = min(max(run[-1].end, run[0].start + SHORTEST_CUE), limit)
        lines = tuple(wrap(word.text for word in run))
        sure = math.prod(word.confidence for word in run)
        found.append(Cue(lines, run[0].start, max(end, run[0].start + 0.001), sure))
    return found


def _belongs(run: list[Timed], word: Timed) -> bool:
    return (
        word.start - run[-1].end <= PAUSE
        and word.end - run[0].start <= LONGEST_CUE
        and len(wrap(w.text for w in [*run, word])) <= LINES
    )


def wrap(words: Iterable[str]) -> list[str]:
    """Lines of at most WIDTH characters, as few as there can be, broken at spaces only."""
    return textwrap.wrap(" ".join(words), WIDTH, break_long_words=False, break_on_hyphens=False)


def _short_words(words: Iterable[Timed]) -> Iterable[Timed]:
    """The words, those longer than a line cut into pieces that share the word's time by their length."""
    for word in words:
        per_character = (word.end - word.start) / len(word.text)
        for i in range(0, len(word.text), WIDTH):
            piece = word.text[i : i + WIDTH]
            start = word.start + i * per_character
            sure = word.confidence if i == 0 else 1.0  # once for all pieces
            yield Timed(piece, start, start + len(piece) * per_character, sure)
