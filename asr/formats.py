"""The formats of what is said when: subtitles, tables of words, Praat's TextGrid; and all that `asr` has."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carousel.common.cli import formats as cli_formats
from carousel.common.cli.formats import PARAGRAPH, Format
from carousel.common.cli.inputs import Input

if TYPE_CHECKING:  # loading them brings numpy
    from carousel.common.decoding import Symbol
    from carousel.common.domain import Transcript

WIDTH = 42  # characters in a line of subtitles
LINES = 2  # lines in a cue
PAUSE = 0.8  # s: a longer pause starts a new cue
LONGEST_CUE = 7.0  # s
SHORTEST_CUE = 1.0  # s on the screen, if the next cue leaves it: a spoken word alone is too short to be read


READ = 20  # characters that are read in a second
PARAGRAPHS = ((2.0, 100), (PAUSE, 500))  # s: a pause that ends a paragraph of so many characters, or more


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen from start to end (seconds), in at most LINES lines of WIDTH characters.

    confidence: the chance that all its words are right, in 0 … 1: the product of theirs.
    """

    lines: tuple[str, ...]
    start: float
    end: float
    confidence: float = 1.0


def txt(transcript: Transcript, item: Input, model: str) -> str:
    """Paragraphs, an empty line between two; of channels that were read apart each turn with its name."""
    if transcript.found is not None:
        return cli_formats.txt(transcript, item, model)
    return PARAGRAPH.join(_shown(words) for words in paragraphs(transcript.words)) + "\n"


def timed_txt(transcript: Transcript, item: Input, model: str) -> str:
    """As `txt`, each paragraph with hours, minutes and seconds of its beginning."""
    found = paragraphs(transcript.words)
    return PARAGRAPH.join(f"[{clock(words[0].start, '.')[:-4]}] {_shown(words)}" for words in found) + "\n"


def _shown(words: Sequence[Symbol]) -> str:
    name = f"{words[0].channel}: " if words[0].channel else ""
    return name + " ".join(word.text for word in words)


def paragraphs(words: Sequence[Symbol]) -> list[list[Symbol]]:
    """Words parted where the channel changes, and at pauses by PARAGRAPHS."""
    found: list[list[Symbol]] = []
    length = 0
    for word in words:
        last = found[-1][-1] if found else None
        pause = word.start - last.end if last else 0.0
        ends = any(pause >= least and length >= long for least, long in PARAGRAPHS)
        if last is None or word.channel != last.channel or ends:
            found.append([])
            length = 0
        found[-1].append(word)
        length += len(word.text) + 1
    return found


def srt(transcript: Transcript, item: Input, model: str) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    blocks = []
    for number, cue in enumerate(cues(transcript.words, _end(transcript)), start=1):
        text = "\n".join(cue.lines).replace("-->", "→")  # SubRip cannot escape its own arrow
        blocks.append(f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def vtt(transcript: Transcript, item: Input, model: str) -> str:
    """WebVTT (W3C): &, < and > are escaped."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript.words, _end(transcript)):
        text = html.escape("\n".join(cue.lines), quote=False)
        blocks.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def tsv(transcript: Transcript, item: Input, model: str) -> str:
    """Cues as start and end in whole milliseconds and text, like whisper's, and their confidence."""
    rows = ["start\tend\ttext\tconfidence"]
    for cue in cues(transcript.words, _end(transcript)):
        times = f"{milliseconds(cue.start)}\t{milliseconds(cue.end)}"
        rows.append(f"{times}\t{' '.join(cue.lines)}\t{cue.confidence:.4f}")
    return "\n".join(rows) + "\n"


def ctm(transcript: Transcript, item: Input, model: str) -> str:
    """NIST CTM: recording, channel, start, duration (seconds), word, confidence; one word a line.

    A keyword of several words is joined by _.
    """
    recording = "_".join(item.stem.split())
    names = transcript.about.get("channels", [""])
    rows = []
    for word in sorted(transcript.words, key=lambda word: names.index(word.channel)):
        where = f"{recording} {'_'.join(word.channel.split()) or 1}"
        times = f"{word.start:.3f} {word.end - word.start:.3f}"
        rows.append(f"{where} {times} {'_'.join(word.text.split())} {word.confidence:.4f}\n")
    return "".join(rows)


def textgrid(transcript: Transcript, item: Input, model: str) -> str:
    """Praat's TextGrid, the long form, with interval tiers `words` and `characters`; pauses are empty.

    Channels that were read apart have their own, as `left words`.
    """
    duration = _end(transcript)
    letters = [symbol for symbol in transcript.best.symbols if not symbol.text.isspace()]
    tiers = [
        (f"{channel} {kind}".strip(), [symbol for symbol in symbols if symbol.channel == channel])
        for channel in transcript.about.get("channels", [""])
        for kind, symbols in (("words", transcript.words), ("characters", letters))
    ]
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {duration:.6f}",
        "tiers? <exists>",
        f"size = {len(tiers)}",
        "item []:",
    ]
    for number, (tier, items) in enumerate(tiers, start=1):
        intervals = list(_without_gaps(items, duration))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{tier}"',
            "        xmin = 0",
            f"        xmax = {duration:.6f}",
            f"        intervals: size = {len(intervals)}",
        ]
        for i, (start, end, text) in enumerate(intervals, start=1):
            quoted = text.replace('"', '""')
            lines += [
                f"        intervals [{i}]:",
                f"            xmin = {start}",
                f"            xmax = {end}",
                f'            text = "{quoted}"',
            ]
    return "\n".join(lines) + "\n"


def _end(transcript: Transcript) -> float:
    """Seconds from the beginning of the file to the end of what was read of it."""
    return transcript.about.get("start", 0.0) + transcript.about["duration"]


def _without_gaps(items: Iterable[Symbol], duration: float) -> Iterable[tuple[str, str, str]]:
    """(start, end, text) of items and of what is between them, as Praat wants it; none is empty of time."""
    at, last = f"{0:.6f}", f"{duration:.6f}"
    for item in items:
        start, end = f"{item.start:.6f}", f"{item.end:.6f}"
        if float(start) > float(at):
            yield at, start, ""
        yield start, end, item.text
        at = end
    if float(at) < float(last):
        yield at, last, ""


FORMATS = {
    "txt": Format(txt, timed=timed_txt, shared=True, spotting=True),
    "ctm": Format(ctm, shared=True, spotting=True),
    "textgrid": Format(textgrid, suffix="TextGrid"),
    "json": cli_formats.FORMATS["json"],
    "srt": Format(srt),
    "vtt": Format(vtt),
    "tsv": Format(tsv),
}


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def clock(seconds: float, point: str) -> str:
    """HH:MM:SS,mmm (SubRip) or HH:MM:SS.mmm (WebVTT); hours grow beyond two digits."""
    total, thousandths = divmod(milliseconds(seconds), 1000)
    minutes, second = divmod(total, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{point}{thousandths:03d}"


def cues(words: Sequence[Symbol], duration: float) -> list[Cue]:
    """Words as subtitles: a new cue after a pause, when the lines are full, when LONGEST_CUE is reached, and
    where the channel changes, whose name stands before its text.

    A cue ends with its last word. One that is too short to be read goes on or begins before its words, into
    the silence there; where another channel has the next turn already, that one waits for it to be read.
    """
    runs: list[list[Symbol]] = []
    for word in _short_words(words):
        if runs and _belongs(runs[-1], word):
            runs[-1].append(word)
        else:
            runs.append([word])
    found: list[Cue] = []
    for i, run in enumerate(runs):
        free = found[-1].end if found else 0.0
        lines = tuple(wrap(run))
        follows = runs[i + 1][0].start if i + 1 < len(runs) else max(duration, run[-1].end)
        start = max(run[0].start, free)
        needed = max(SHORTEST_CUE, sum(map(len, lines)) / READ)
        crowded = i + 1 < len(runs) and follows - start < PAUSE
        latest = max(follows, start + needed) if crowded else follows
        end = min(max(run[-1].end, start + SHORTEST_CUE), latest, start + LONGEST_CUE)
        start = max(min(start, end - SHORTEST_CUE), free)
        sure = math.prod(word.confidence for word in run)
        found.append(Cue(lines, start, max(end, start + 0.001), sure))
    return found


def _belongs(run: list[Symbol], word: Symbol) -> bool:
    return (
        word.channel == run[-1].channel
        and word.start - run[-1].end <= PAUSE
        and word.end - run[0].start <= LONGEST_CUE
        and len(wrap([*run, word])) <= LINES
    )


def wrap(words: Sequence[Symbol]) -> list[str]:
    """Lines of at most WIDTH characters, as few as there can be, broken at spaces only."""
    return textwrap.wrap(_shown(words), WIDTH, break_long_words=False, break_on_hyphens=False)


def _short_words(words: Iterable[Symbol]) -> Iterable[Symbol]:
    """The words, those longer than a line cut into pieces that share the word's time by their length."""
    for word in words:
        per_character = (word.end - word.start) / len(word.text)
        for i in range(0, len(word.text), WIDTH):
            piece = word.text[i : i + WIDTH]
            start = word.start + i * per_character
            sure = word.confidence if i == 0 else 1.0  # once for all pieces
            yield word._replace(
                text=piece, start=start, end=start + len(piece) * per_character, confidence=sure
            )
