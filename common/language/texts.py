"""Texts that language models learn from, in the letters of a recogniser."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from carousel.common.errors import InputError
from carousel.common.language.ngram import SPACE
from carousel.common.text.alphabet import Alphabet, name_symbols, normalise
from carousel.common.text.file import UNREADABLE, open_text
from carousel.common.text.written import written

LINE = 1000  # tokens of a piece of running text; what begins a piece knows nothing of the one before


class Fit:
    """Texts in the letters of an alphabet, with a count of what it does not have."""

    def __init__(self, alphabet: Alphabet | None, settings: Mapping[str, Any] | None = None):
        """settings: of the model's texts (common.settings.text); what training leaves out is no text."""
        self.alphabet, self.settings = alphabet, settings or {}
        self.left_out: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        text = written(text, self.settings) or ""
        text = " ".join((self.alphabet.cased if self.alphabet else normalise)(text).split())
        if self.alphabet and (unknown := self.alphabet.unknown(text)):
            self.left_out.update(c for c in self.alphabet.split(text) if c in unknown)
            text = " ".join(self.alphabet.writable(text).split())
        return text

    def note(self) -> str:
        """How many characters were left out, and which."""
        most = [symbol for symbol, _ in self.left_out.most_common(8)]
        named = name_symbols(most) + (" …" if len(self.left_out) > len(most) else "")
        return f"left out {self.left_out.total():,} characters that the model cannot write: {named}"


def running(lines: Iterable[list[str]]) -> Iterator[list[str]]:
    """Lines of characters joined by spaces, in pieces of LINE tokens."""
    stream = itertools.chain.from_iterable(itertools.chain(line, [SPACE]) for line in lines)
    while piece := list(itertools.islice(stream, LINE)):
        yield piece


def read_texts(path: Path) -> Iterator[str]:
    """Lines of a text, or texts of a manifest. Raises InputError naming the file."""
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        from carousel.common.data.manifest import read_manifest

        yield from (sample.text for sample in read_manifest(path))
        return
    try:
        with open_text(path) as file:
            yield from file
    except UNREADABLE as error:
        raise InputError(
            f"{path}: cannot be read as text ({error}); give UTF-8 text, one sentence a line"
        ) from None
