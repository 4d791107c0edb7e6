"""What was understood of a folder, in lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from carousel.common.data.layouts.found import SPLITS, Found, group_of
from carousel.common.errors import InputError
from carousel.common.text.written import written

MOST = 8  # kinds of fault that are named


def report(found: Found) -> Iterator[str]:
    """Layout, amount, speakers or writers, splits, symbols, what was decided, what was left out and why."""
    rows = found.rows
    yield f"layout: {found.layout}"
    who = "speaker" if found.key == "audio" else "writer"
    known = {row[who] for row in rows if row.get(who) is not None}
    groups = {group for row in rows if (group := group_of(row)) is not None}
    size = [f"{len(rows):,} {'recordings or parts' if found.key == 'audio' else 'lines'}"]
    if found.key == "audio":
        size.append(f"{sum(row['duration'] for row in rows if row.get('duration')) / 3600:.2f} hours")
    size.append(f"{len(known):,} {who}s" if known else f"{who}s unknown")
    if groups and not known:
        size.append(f"{len(groups):,} {'recordings' if found.key == 'audio' else 'pages'}")
    yield ", ".join(size)
    splits = Counter(row["split"] for row in rows if row.get("split"))
    if splits:
        unsaid = [f"{len(rows) - splits.total():,} of no split"] * (splits.total() < len(rows))
        yield "splits: " + ", ".join([f"{name} {splits[name]:,}" for name in SPLITS if splits[name]] + unsaid)
    yield from told_texts(row["text"] for row in rows)
    yield from found.notes
    faults = found.faults()
    yield from (f"left out: {fault}" for fault in faults[:MOST])
    if len(faults) > MOST:
        yield f"left out: {len(faults) - MOST} more kinds of fault"


def rewrite(found: Found, settings: Mapping[str, Any]) -> None:
    """Writes the texts as settings (common.settings.text) say; what goes and is left out is told."""
    kept, gone = [], set()
    for row in found.rows:
        text = written(row["text"], settings)
        place = row[found.key] if found.key != "strokes" else row["text"]
        if not text:
            found.leave(place, "text with other characters than asked for" if text is None else "empty text")
            continue
        cased = written(row["text"], {**settings, "keep": None, "drop": None}) or ""
        gone |= set(cased) - {*text, " "}
        kept.append({**row, "text": text})
    found.rows[:] = kept
    if not kept:
        raise InputError(f"no text is left ({'; '.join(found.faults()[:1])}); ask for other characters")
    if gone:
        found.notes.append(f"characters dropped: {' '.join(sorted(gone))}")


def told_texts(texts: Iterable[str]) -> Iterator[str]:
    """The symbols of texts, and how many texts hold figures, which nobody says or hears as they stand."""
    counts: Counter[str] = Counter()
    texts = list(texts)
    for text in texts:
        counts.update(text)
    shown = "".join(sorted(symbol for symbol in counts if not symbol.isspace()))
    yield f"{len(counts)} symbols: {shown}"
    if rare := sorted(symbol for symbol, count in counts.items() if count < 5 <= len(texts) / 20):
        yield f"in fewer than five places: {' '.join(rare)}"
    yield from told_figures(texts)


def told_figures(texts: Sequence[str]) -> Iterator[str]:
    """A line where numbers stand as figures, which can be read aloud in several ways."""
    figures = [text for text in texts if any(symbol.isdigit() for symbol in text)]
    if figures:
        yield f"figures stand in {len(figures):,} of {len(texts):,} texts, as in {figures[0][:60]!r}"
