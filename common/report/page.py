"""A report as one HTML file that needs nothing else: rates, errors, worst samples with sound or picture.

What was read of each sample stands in it as JSON, by which a later report is compared with it.
"""

from __future__ import annotations

import html
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from carousel.common.data.manifest import Sample
from carousel.common.domain import Work
from carousel.common.errors import InputError
from carousel.common.html import Media, element, write_page
from carousel.common.report import measures
from carousel.common.report.measures import Row
from carousel.common.text.metrics import aligned

TEMPLATE = Path(__file__).parent / "template.html"
LARGEST = 64 << 20  # bytes of a report that is compared with
DATA = re.compile(r'<script type="application/json" id="samples">(.*?)</script>', re.DOTALL)
WORST = 30  # samples that are shown with sound or picture
LISTED = 1000  # samples of the whole list
CONFUSED = 40  # pairs of symbols, and of words
CHANGED = 20  # samples that became better, and worse
MEDIA = 3_000_000  # bytes of sounds and pictures, so that a page can be sent by mail


def write_report(
    path: Path,
    title: str,
    facts: Mapping[str, str],
    rows: Sequence[Row],
    show: Callable[[Row], Media | None] = lambda row: None,
    pictures: Sequence[tuple[str, Media]] = (),
    before: Path | None = None,
) -> None:
    """Writes the page.

    facts: what was measured and how, by name; show: a sample to hear or to see; pictures: with captions;
    before: an earlier report of the same samples. Raises InputError for one that is no report, and where the
    page cannot be written.
    """
    shown: list[tuple[Row, str]] = []
    room = MEDIA
    for row in measures.worst(rows, WORST):
        media = show(row) if room > 0 else None
        room -= len(media[1]) if media else 0
        shown.append((row, element(media, row.place)))
    context = {
        "title": title,
        "facts": facts,
        "rates": measures.rates(rows),
        "compared": measures.compared(rows, read_rows(before)) if before else None,
        "before": before,
        "groups": measures.by_group(rows)[:LISTED],
        "lengths": measures.by_bin(rows, lambda row: row.chars, measures.LENGTHS),
        "sure": measures.by_bin(rows, lambda row: row.confidence, measures.CONFIDENCES),
        "symbols": measures.confusions(rows)[:CONFUSED],
        "words": measures.confusions(rows, words=True)[:CONFUSED],
        "worst": shown,
        "listed": sorted(rows, key=lambda row: -row.char_errors)[:LISTED],
        "pictures": [(caption, element(media, caption)) for caption, media in pictures],
        "changed": CHANGED,
        # < begins neither the end of the element nor another one then, and JSON reads the same
        "data": json.dumps(measures.as_json(rows), ensure_ascii=False).replace("<", "\\u003c"),
        "diff": diff,
        "percent": lambda rate: f"{100 * rate:.2f} %",
        "points": lambda rate: f"{100 * rate:+.2f}".replace("-", "\N{MINUS SIGN}"),
    }
    write_page(path, TEMPLATE, context)


def about(model: str, manifests: Sequence[str]) -> dict[str, str]:
    """The facts of a report."""
    return {
        "model": model,
        "samples of": ", ".join(manifests),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": f"{datetime.now():%Y-%m-%d %H:%M}",
    }


def shower(samples: Sequence[Sample], rows: Sequence[Row], work: Work) -> Callable[[Row], Media | None]:
    """How `write_report` shows the samples that rows are of."""
    of = {id(row): sample for sample, row in zip(samples, rows, strict=True)}

    def show(row: Row) -> Media | None:
        try:
            return work.shown(of[id(row)])
        except InputError:  # it was read, but is not there any more
            return None

    return show


def read_rows(path: Path) -> list[Row]:
    """The samples of a report. Raises InputError."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path}: is larger than {LARGEST >> 20} MB, which no report is")
        found = DATA.search(path.read_text(encoding="utf-8"))
        rows = measures.from_json(json.loads(found[1])) if found else []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct the path") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        rows = []
    if not rows:
        raise InputError(f"{path}: is not a report of `evaluate --report`, so it cannot be compared with")
    return rows


def diff(row: Row) -> str:
    """Reference and reading in one line of HTML: what was read wrong is struck out and inserted, by words;
    within a word that was read as another, by characters."""
    parts = []
    for said, read in aligned(row.reference.split(), row.text.split()):
        if said and read:
            parts.append(_runs(aligned(said, read)))
        else:
            parts.append(_marked(said or "", read or ""))
    return " ".join(parts)


def _runs(pairs: Sequence[tuple[str | None, str | None]]) -> str:
    """Runs of equal and of unequal pairs."""
    found: list[tuple[bool, str, str]] = []
    for said, read in pairs:
        same, left, right = said == read, said or "", read or ""
        if found and found[-1][0] == same:
            found[-1] = (same, found[-1][1] + left, found[-1][2] + right)
        else:
            found.append((same, left, right))
    return "".join(html.escape(said) if same else _marked(said, read) for same, said, read in found)


def _marked(said: str, read: str) -> str:
    gone = f"<del>{html.escape(said)}</del>" if said else ""
    return gone + (f"<ins>{html.escape(read)}</ins>" if read else "")
