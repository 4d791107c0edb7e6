"""Files of words, phrases and sentences, line by line."""

from __future__ import annotations

from pathlib import Path

from carousel.common.errors import InputError
from carousel.common.text.file import UNREADABLE, open_text

File = Path | str


def read_lines(path: Path, what: str) -> list[tuple[int, str]]:
    """(number, line) of a text file in UTF-8. Raises InputError naming the file and what it should be."""
    try:
        with open_text(path) as file:
            return list(enumerate(file.read().splitlines(), start=1))
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as a {what} ({error}); give a text file in UTF-8") from None
